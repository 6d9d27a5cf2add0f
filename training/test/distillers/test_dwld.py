# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg.errors import ShapeMismatch
from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.dwld import hold_mean, weighable_divergence
from road_kd_training.distillers.lix import DynamicWeightController, dkd_terms
from road_kd_training.errors import TrainingError


def noise(*shape, seed=0, scale=2.0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def labels(*shape, num_classes=4, seed=0):
    return torch.randint(0, num_classes, shape, generator=torch.Generator().manual_seed(seed))


class TestDkdTerms:
    @pytest.mark.parametrize("temperature", [1.0, 4.0])
    @pytest.mark.parametrize("num_classes", [3, 7])
    def test_decoupling_is_exact(self, num_classes, temperature):
        """TCLD + (1 - p_t) NCLD = KL, at every pixel."""
        student, teacher = noise(2, num_classes, 3, 4), noise(2, num_classes, 3, 4, seed=1)
        target = labels(2, 3, 4, num_classes=num_classes)
        terms = dkd_terms(student, teacher, target, temperature)
        log_s, log_t = (student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1)
        full = F.kl_div(log_s, log_t, log_target=True, reduction="none").sum(1).flatten()
        p_target = log_t.exp().gather(1, target[:, None]).flatten()
        torch.testing.assert_close(terms.target + (1 - p_target) * terms.non_target, full, rtol=1e-10, atol=1e-12)

    def test_gradcheck(self):
        student = noise(1, 3, 2, 2).requires_grad_()
        target = labels(1, 2, 2, num_classes=3)
        assert torch.autograd.gradcheck(lambda x: tuple(dkd_terms(x, noise(1, 3, 2, 2, seed=1), target, 2.0)), student)

    def test_the_target_term_has_the_published_gradient(self):
        """d(target term)/d(target logit) = p_t of the student - p_t of the teacher (Eq. 5)."""
        student, teacher, target = noise(1, 4, 3, 3).requires_grad_(), noise(1, 4, 3, 3, seed=1), labels(1, 3, 3)
        terms = dkd_terms(student, teacher, target)
        (terms.target.sum() + 8 * terms.non_target.sum()).backward()
        index = target[:, None]
        expected = student.detach().softmax(1).gather(1, index) - teacher.softmax(1).gather(1, index)
        torch.testing.assert_close(student.grad.gather(1, index), expected)

    def test_no_gradient_reaches_the_teacher(self):
        student, teacher = noise(1, 4, 3, 3).requires_grad_(), noise(1, 4, 3, 3, seed=1).requires_grad_()
        sum(term.sum() for term in dkd_terms(student, teacher, labels(1, 3, 3))).backward()
        assert teacher.grad is None

    def test_ignored_pixels_are_dropped(self):
        student, teacher, target = noise(1, 4, 2, 3), noise(1, 4, 2, 3, seed=1), labels(1, 2, 3)
        target[0, 1, 1] = 255
        terms = dkd_terms(student, teacher, target)
        assert terms.target.shape == (5,)
        changed = student.clone()
        changed[0, :, 1, 1] = 1e6
        torch.testing.assert_close(dkd_terms(changed, teacher, target), terms)

    @pytest.mark.parametrize("size", [1e4, 1e6])
    def test_huge_logits_stay_finite_and_exact(self, size):
        """Masking the target by -1000 fails here: the masked logit would still be the largest."""
        student = torch.tensor([size, 0.0, 1.0]).view(1, 3, 1, 1).requires_grad_()
        teacher = torch.tensor([size, 1.0, 0.0]).view(1, 3, 1, 1)
        terms = dkd_terms(student, teacher, torch.zeros(1, 1, 1, dtype=torch.long))
        (terms.target.sum() + terms.non_target.sum()).backward()
        assert student.grad.isfinite().all()
        expected = F.kl_div(
            torch.tensor([0.0, 1.0]).log_softmax(0), torch.tensor([1.0, 0.0]).softmax(0), reduction="sum"
        )
        torch.testing.assert_close(terms.non_target[0], expected)

    def test_two_classes_are_refused(self):
        with pytest.raises(TrainingError, match="dkd_terms: 2 classes, expected at least 3"):
            dkd_terms(noise(1, 2, 2, 2), noise(1, 2, 2, 2), labels(1, 2, 2, num_classes=2))

    def test_wrong_shapes_are_named(self):
        with pytest.raises(ShapeMismatch, match=r"dkd_terms: got shape \(1, 4, 2, 2\), expected \(1, 4, 2, 3\)"):
            dkd_terms(noise(1, 4, 2, 2), noise(1, 4, 2, 3), labels(1, 2, 2))
        with pytest.raises(ShapeMismatch, match=r"dkd_terms: target: got shape \(1, 3, 3\), expected \(1, 2, 2\)"):
            dkd_terms(noise(1, 4, 2, 2), noise(1, 4, 2, 2), labels(1, 3, 3))


class TestDynamicWeightController:
    @settings(deadline=None, max_examples=20)
    @given(st.integers(3, 20), st.floats(0.01, 1e4), st.booleans())
    def test_weights_lie_between_one_and_ten(self, num_classes, scale, with_confidence):
        controller = DynamicWeightController(num_classes, with_confidence=with_confidence)
        weights = controller(noise(6, num_classes, scale=scale).float()).detach()
        assert weights.shape == (6, num_classes)
        assert float(weights.min()) >= 1
        assert float(weights.max()) <= 10

    def test_maps_and_rows_are_weighted_alike(self):
        controller = DynamicWeightController(4)
        maps = noise(2, 4, 3, 5).float()
        rows = controller(maps.movedim(1, -1).flatten(0, 2))
        torch.testing.assert_close(controller(maps).movedim(1, -1).flatten(0, 2), rows)

    @pytest.mark.parametrize(("layers", "dropout"), [(1, 0.0), (3, 0.0), (5, 0.5)])
    def test_it_has_as_many_linear_layers_as_asked_and_dropout_between_them(self, layers, dropout):
        modules = list(DynamicWeightController(4, layers=layers, dropout=dropout).layers)
        assert sum(isinstance(module, torch.nn.Linear) for module in modules) == layers
        assert sum(isinstance(module, torch.nn.Dropout) for module in modules) == (layers - 1 if dropout else 0)
        assert isinstance(modules[0], torch.nn.Linear)
        assert isinstance(modules[-1], torch.nn.Linear)

    def test_it_differs_per_logit_and_pixel(self):
        torch.manual_seed(0)
        weights = DynamicWeightController(4)(noise(5, 4).float())
        assert len(weights.flatten().unique()) == 20


class TestWeighableDivergence:
    def test_no_entry_is_negative_and_their_sum_is_the_kl_divergence(self):
        log_s, log_t = noise(6, 4).log_softmax(1), noise(6, 4, seed=1).log_softmax(1)
        entries = weighable_divergence(log_s, log_t)
        assert entries.min() >= 0
        torch.testing.assert_close(entries.sum(1), F.kl_div(log_s, log_t, log_target=True, reduction="none").sum(1))

    def test_unequal_weights_are_least_at_the_teacher_here_and_elsewhere_as_written(self):
        log_t = torch.tensor([[0.5, 0.5]], dtype=torch.float64).log()
        weights = torch.tensor([[1.0, 10.0]], dtype=torch.float64)
        logits = log_t.clone().requires_grad_()
        log_s = logits.log_softmax(1)
        (ours,) = torch.autograd.grad((weights * weighable_divergence(log_s, log_t)).sum(), logits, retain_graph=True)
        written = (weights * F.kl_div(log_s, log_t, log_target=True, reduction="none")).sum()
        (theirs,) = torch.autograd.grad(written, logits)
        assert ours.abs().max() < 1e-12
        assert theirs.abs().max() > 1
        follower = (weights * log_t.exp()).log().log_softmax(1)
        assert (weights * F.kl_div(follower, log_t, log_target=True, reduction="none")).sum() < 0

    def test_gradcheck(self):
        log_t = noise(3, 4, seed=1).log_softmax(1)
        assert torch.autograd.gradcheck(
            lambda x: weighable_divergence(x.log_softmax(1), log_t), noise(3, 4).requires_grad_()
        )


class TestHoldMean:
    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.floats(1, 10), min_size=2, max_size=12), st.floats(1, 10))
    def test_the_mean_is_held_within_the_range(self, values, mean):
        weights = hold_mean(torch.tensor(values, dtype=torch.float64), mean)
        assert float(weights.mean()) == pytest.approx(mean, abs=1e-5)
        assert float(weights.min()) >= 1
        assert float(weights.max()) <= 10

    def test_the_order_is_kept(self):
        weights = hold_mean(torch.tensor([1.0, 2.0, 3.0, 9.0]), 6.0)
        assert (weights.diff() > 0).all()


class TestDwld:
    @pytest.mark.parametrize(("as_published", "weight"), [(False, 8.0), (True, 5.5)])
    def test_constant_weights_reproduce_dkd(self, tiny_pair, as_published, weight):
        student, teachers = tiny_pair.outputs()
        target = tiny_pair.target()
        dwld = tiny_pair.build("dwld", temperature=2.0, mean_weight=8.0, as_published=as_published)
        for parameter in dwld.controller.parameters():
            torch.nn.init.zeros_(parameter)
        ours = dwld(student, teachers, target, 0)
        dkd = tiny_pair.build("dkd", temperature=2.0)(student, teachers, target, 0)
        torch.testing.assert_close(ours["target"], dkd["target"])
        torch.testing.assert_close(ours["non_target"], weight * dkd["non_target"])

    def test_a_free_controller_collapses_and_a_held_one_does_not(self, tiny_pair):
        """Why `as_published` is not the default."""
        student, teachers = tiny_pair.outputs(batch=1)
        target = tiny_pair.target(batch=1)
        means = {}
        for as_published in (True, False):
            dwld = tiny_pair.build("dwld", as_published=as_published)
            optimizer = torch.optim.Adam(dwld.parameters(), 0.1)
            for _ in range(30):
                optimizer.zero_grad()
                dwld(student, teachers, target, 0)["non_target"].backward()
                optimizer.step()
            means[as_published] = dwld.statistics["weight_mean"].item()
        assert means[True] < 1.5
        assert means[False] == pytest.approx(5.5, abs=1e-3)

    def test_student_and_controller_together_cannot_make_it_negative(self, tiny_pair):
        """With entries as written and a held mean, this very run ends below -1."""
        student, teachers = tiny_pair.outputs(batch=1)
        target = tiny_pair.target(batch=1)
        dwld = tiny_pair.build("dwld")
        optimizer = torch.optim.Adam([student.logits, *dwld.parameters()], 0.1)
        terms = []
        for _ in range(30):
            optimizer.zero_grad()
            term = dwld(student, teachers, target, 0)["non_target"]
            term.backward()
            optimizer.step()
            terms.append(term.item())
        assert min(terms) >= 0
        assert terms[-1] < terms[0] / 10

    @pytest.mark.parametrize("as_published", [True, False])
    def test_only_literal_weights_pass_gradient_to_the_student(self, tiny_pair, as_published):
        dwld = tiny_pair.build("dwld", as_published=as_published)
        logits = noise(6, 5).float().requires_grad_()
        weights = dwld.weights(logits, labels(6, num_classes=5))
        # A weighted sum: the plain one is fixed where the mean is held.
        (weights * noise(6, 4)).sum().backward()
        assert (logits.grad is not None) == as_published
        assert all(parameter.grad is not None for parameter in dwld.controller.parameters())

    def test_gradcheck(self, make_tiny_pair):
        """As written: with the gradient through the weights."""
        pair = make_tiny_pair(num_classes=3)
        dwld = pair.build("dwld", as_published=True).double()
        teacher, target = noise(1, 3, 2, 2, seed=1), labels(1, 2, 2, num_classes=3)

        def terms(x):
            return tuple(dwld(SegOutput(x, {}), [SegOutput(teacher, {})], target, 0).values())

        assert torch.autograd.gradcheck(terms, noise(1, 3, 2, 2).requires_grad_())

    def test_statistics_describe_the_latest_weights(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        dwld = tiny_pair.build("dwld")
        dwld(student, teachers, tiny_pair.target(), 0)
        low, mean, high = (dwld.statistics[f"weight_{name}"].item() for name in ("min", "mean", "max"))
        assert 1 <= low < mean < high <= 10
        assert mean == pytest.approx(5.5, abs=1e-4)

    def test_a_batch_without_one_label_costs_nothing(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        terms = tiny_pair.build("dwld")(student, teachers, torch.full((3, 32, 48), 255), 0)
        assert [term.item() for term in terms.values()] == [0, 0]
        sum(terms.values()).backward()
        assert student.logits.grad.abs().max() == 0

    def test_two_classes_are_refused(self, make_tiny_pair):
        with pytest.raises(TrainingError, match="the student has 2 classes, expected at least 3"):
            make_tiny_pair(num_classes=2).build("dwld")

    def test_a_controller_fed_by_the_teacher_weighs_alike_whatever_the_student_says(self, tiny_pair):
        dwld = tiny_pair.build("dwld", controller_input="teacher")
        _, teachers = tiny_pair.outputs()
        seen = []
        for seed in (1, 2):
            student, _ = tiny_pair.outputs(seed=seed)
            dwld(student, teachers, tiny_pair.target(), 0)
            seen.append({name: value.item() for name, value in dwld.statistics.items()})
        assert seen[0] == seen[1]

    @pytest.mark.parametrize("options", [{"layers": 0}, {"dropout": 1.0}])
    def test_an_impossible_controller_is_refused(self, tiny_pair, options):
        with pytest.raises(TrainingError, match="dwld: layers is .* and dropout .*: expected 1 layer or more"):
            tiny_pair.build("dwld", **options)

    def test_an_impossible_mean_is_refused(self, tiny_pair):
        with pytest.raises(TrainingError, match="mean_weight is 11, expected 1 to 10"):
            tiny_pair.build("dwld", mean_weight=11)
