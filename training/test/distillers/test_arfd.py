# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from noise import noise
from road_kd_training.distillers.arfd import CONSISTENCY, align, negative_distance, pearson_correlation
from road_kd_training.distillers.lix import cka, recalibrate
from road_kd_training.errors import TrainingError


def rotation(size, seed=9):
    return torch.linalg.qr(noise(size, size, seed=seed))[0]


class TestCka:
    def test_equal_features_agree_fully(self):
        assert float(cka(noise(5, 7), noise(5, 7))) == pytest.approx(1, abs=1e-12)

    def test_rotation_scaling_and_shift_change_nothing(self):
        x, y = noise(5, 7), noise(5, 4, seed=1)
        torch.testing.assert_close(cka(x @ rotation(7) * 3 + 2, y), cka(x, y))
        torch.testing.assert_close(cka(x, -0.1 * y @ rotation(4)), cka(x, y))

    def test_three_examples_by_hand(self):
        """x = (0, 1, 2) and y = (0, 0, 1), centered (-1, 0, 1) and (-1, -1, 2) / 3: their squared correlation."""
        x, y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [0.0], [1.0]])
        assert float(cka(x, y)) == pytest.approx(0.75)

    def test_equals_the_published_formula(self):
        """tr(KHLH) / (n - 1)², normalized."""
        x, y, n = noise(6, 9), noise(6, 4, seed=1), 6
        center = torch.eye(n, dtype=torch.float64) - 1 / n

        def hsic(k, m):
            return torch.trace(k @ center @ m @ center) / (n - 1) ** 2

        k, m = x @ x.T, y @ y.T
        torch.testing.assert_close(cka(x, y), hsic(k, m) / (hsic(k, k) * hsic(m, m)).sqrt())

    def test_two_examples_always_agree(self):
        """Why ARFD warns of a batch of 2."""
        assert float(cka(noise(2, 7), noise(2, 4, seed=1))) == pytest.approx(1, abs=1e-12)

    def test_unrelated_wide_features_of_few_images_score_high_too(self):
        """The published estimate is biased: four random vectors are nearly orthogonal, whatever they stand for."""
        assert float(cka(noise(4, 4000), noise(4, 4000, seed=1))) > 0.99

    def test_features_that_do_not_vary_have_no_alignment(self):
        x = torch.ones(4, 3, requires_grad=True)
        value = cka(x, noise(4, 3).float())
        value.backward()
        assert value.item() == 0
        assert x.grad.isfinite().all()

    def test_gradcheck(self):
        assert torch.autograd.gradcheck(lambda x: cka(x, noise(4, 2, seed=1)), noise(4, 3).requires_grad_())

    def test_one_example_is_refused(self):
        with pytest.raises(TrainingError, match="cka: got 1 and 1 examples, expected the same number, at least 2"):
            cka(noise(1, 7), noise(1, 7))

    @pytest.mark.parametrize("scale", [1e-4, 1e4])
    def test_any_magnitude_gives_the_same_float32_value(self, scale):
        x, y = noise(5, 300).float(), noise(5, 200, seed=1).float()
        torch.testing.assert_close(cka(x * scale, y * scale), cka(x, y), rtol=1e-4, atol=1e-6)


class TestRecalibrate:
    def test_values_by_hand(self):
        x = torch.tensor([0.0, 1.0, -2.0])
        torch.testing.assert_close(recalibrate(x, "laplace", 2.0), torch.tensor([1, math.exp(-0.5), math.exp(-1)]))
        torch.testing.assert_close(recalibrate(x, "gaussian", 2.0), torch.tensor([1, math.exp(-0.125), math.exp(-0.5)]))
        torch.testing.assert_close(recalibrate(x, "linear", 2.0), torch.tensor([1, 0.5, 0]))
        assert recalibrate(x, "none") is x

    @pytest.mark.parametrize("kernel", ["laplace", "gaussian", "linear"])
    def test_a_larger_magnitude_never_counts_more(self, kernel):
        values = recalibrate(torch.linspace(0, 5, 50), kernel)
        assert (values.diff() <= 0).all()
        assert values.max() == 1
        assert values.min() >= 0

    @pytest.mark.parametrize("kernel", ["laplace", "gaussian", "linear"])
    def test_gradcheck(self, kernel):
        assert torch.autograd.gradcheck(lambda x: recalibrate(x, kernel, 2.0), noise(8).requires_grad_())


class TestConsistency:
    @pytest.mark.parametrize("measure", ["cka", "cosine", "euclidean", "pearson"])
    def test_equal_features_are_fully_consistent(self, measure):
        x = noise(4, 6)
        assert float(CONSISTENCY[measure](x, x)) == pytest.approx(1, abs=1e-5)

    def test_pearson_ignores_offset_and_scale(self):
        x, y = noise(4, 6), noise(4, 6, seed=1)
        torch.testing.assert_close(pearson_correlation(3 * x + 2, y), pearson_correlation(x, y))

    def test_distance_by_hand(self):
        x, y = torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([[4.0, 5.0], [0.0, 0.0]])
        assert float(negative_distance(x, y)) == pytest.approx(1 - math.sqrt(12.5) / 2, abs=1e-5)


class TestAlign:
    def test_the_larger_map_shrinks_whichever_it_is(self):
        small, large = noise(2, 3, 4, 6), noise(2, 3, 8, 12, seed=1)
        assert align(small, large)[1].shape == (2, 72)
        assert align(large, small)[0].shape == (2, 72)

    def test_scale_does_not_matter(self):
        student, teacher = noise(2, 3, 4, 6), noise(2, 3, 4, 6, seed=1)
        torch.testing.assert_close(align(student * 1000, teacher), align(student, teacher))


class TestArfd:
    @pytest.mark.parametrize("kernel", ["laplace", "gaussian", "linear", "none"])
    @pytest.mark.parametrize("consistency", ["cka", "cosine", "euclidean", "pearson"])
    def test_every_cell_of_table_five_learns(self, tiny_pair, kernel, consistency):
        student, teachers = tiny_pair.outputs()
        arfd = tiny_pair.build("arfd", taps=(("deep", "deep"),), kernel=kernel, consistency=consistency)
        value = arfd(student, teachers, None, 0)["feature_consistency"]
        value.backward()
        assert 0 < value.item() < 2
        assert student.features["deep"].grad.abs().max() > 0
        assert teachers[0].features["deep"].grad is None

    def test_the_loss_is_the_mean_over_taps(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        taps = (("mid", "mid"), ("deep", "deep"))
        both = tiny_pair.build("arfd", taps=taps)
        each = [tiny_pair.build("arfd", taps=(pair,)) for pair in taps]
        for index, one in enumerate(each):
            one.adapters[0].load_state_dict(both.adapters[index].state_dict())
        terms = [one(student, teachers, None, 0)["feature_consistency"] for one in each]
        together = both(student, teachers, None, 0)["feature_consistency"]
        torch.testing.assert_close(together, torch.stack(terms).mean())

    def test_a_batch_of_one_is_refused_with_cka_only(self, tiny_pair):
        student, teachers = tiny_pair.outputs(batch=1)
        with pytest.raises(TrainingError, match="arfd: got a batch of 1, expected 3 or more"):
            tiny_pair.build("arfd", taps=(("deep", "deep"),))(student, teachers, None, 0)
        cosine = tiny_pair.build("arfd", taps=(("deep", "deep"),), consistency="cosine")
        assert cosine(student, teachers, None, 0)["feature_consistency"].isfinite()

    def test_a_batch_of_two_is_warned_of(self, tiny_pair):
        student, teachers = tiny_pair.outputs(batch=2)
        with pytest.warns(UserWarning, match="arfd: the CKA, always 1, of a batch of 2 teaches nothing"):
            value = tiny_pair.build("arfd", taps=(("deep", "deep"),))(student, teachers, None, 0)["feature_consistency"]
        assert value.item() == pytest.approx(0, abs=1e-5)

    def test_a_bandwidth_of_zero_is_refused(self, tiny_pair):
        with pytest.raises(TrainingError, match="arfd: bandwidth is 0, expected a positive number"):
            tiny_pair.build("arfd", taps=(("deep", "deep"),), bandwidth=0)


class TestLix:
    def test_has_the_terms_of_both_halves(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        target = tiny_pair.target()
        taps = (("deep", "deep"),)
        lix = tiny_pair.build("lix", taps=taps)
        terms = lix(student, teachers, target, 0)
        assert set(terms) == set(lix.default_weights) == {"target", "non_target", "feature_consistency"}
        halves = {**lix.logit(student, teachers, target, 0), **lix.feature(student, teachers, target, 0)}
        torch.testing.assert_close(terms, halves)
        assert set(lix.statistics) == {"weight_mean", "weight_min", "weight_max"}
