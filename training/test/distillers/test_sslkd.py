# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from noise import noise
from road_kd_seg.errors import ShapeMismatch
from road_kd_seg.networks import FeatureInfo
from road_kd_training.distillers import NetworkInfo
from road_kd_training.distillers.cct import Cct, CctConfig, consistency_loss, ramp_up
from road_kd_training.distillers.cms import Cms, CmsConfig, cross_model_loss
from road_kd_training.distillers.common.perturbations import (
    PERTURBATIONS,
    adversarial_noise,
    feature_drop,
    guided_cutout,
)
from road_kd_training.distillers.cps import Cps, CpsConfig
from road_kd_training.distillers.sslkd import (
    Sslkd,
    SslkdConfig,
    cross_pseudo_loss,
    ensemble_probabilities,
    feature_mae,
)
from road_kd_training.errors import TrainingError


def pixel(*logits):
    """Logits of one image of one pixel."""
    return torch.tensor(logits, dtype=torch.float64).view(1, -1, 1, 1)


class TestFeatureMae:
    def test_it_is_the_mean_absolute_difference(self):
        student = torch.tensor([[[[1.0, -2.0]]]])
        teacher = torch.tensor([[[[0.0, 1.0]]]])
        assert feature_mae(student, teacher) == (1 + 3) / 2

    def test_no_gradient_reaches_the_teacher(self):
        student, teacher = noise(1, 2, 3, 4).requires_grad_(), noise(1, 2, 3, 4, seed=1).requires_grad_()
        feature_mae(student, teacher).backward()
        assert teacher.grad is None
        torch.testing.assert_close(student.grad, (student - teacher).sign().detach() / 24)

    def test_unequal_shapes_are_named(self):
        message = (
            r"^feature_mae: got shape \(1, 2, 3, 3\), expected \(1, 4, 3, 3\): align the student with an adapter\.$"
        )
        with pytest.raises(ShapeMismatch, match=message):
            feature_mae(torch.zeros(1, 2, 3, 3), torch.zeros(1, 4, 3, 3))

    def test_gradcheck(self):
        teacher = noise(1, 2, 3, 4, seed=1)
        assert torch.autograd.gradcheck(lambda s: feature_mae(s, teacher), noise(1, 2, 3, 4).requires_grad_())


class TestEnsembleProbabilities:
    @pytest.mark.parametrize("count", [2, 3, 5])
    def test_they_sum_to_one_for_any_number_of_teachers(self, count):
        probabilities = ensemble_probabilities([noise(2, 4, 3, 5, seed=i) for i in range(count)])
        torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 3, 5, dtype=torch.float64))

    def test_two_teachers_by_hand(self):
        sure, torn = pixel(math.log(9), 0), pixel(0, 0)
        torch.testing.assert_close(ensemble_probabilities([sure, torn]), pixel(0.7, 0.3))

    def test_no_gradient_flows(self):
        assert not ensemble_probabilities([noise(1, 2, 3, 4).requires_grad_()] * 2).requires_grad

    def test_teachers_of_different_shapes_are_named(self):
        with pytest.raises(
            ShapeMismatch, match=r"ensemble_probabilities: got shape \(1, 3, 1, 1\), expected \(1, 2, 1, 1"
        ):
            ensemble_probabilities([pixel(0, 0), pixel(0, 0, 0)])


class TestCrossPseudoLoss:
    def test_two_networks_that_disagree_by_hand(self):
        left, right = pixel(math.log(3), 0), pixel(0, math.log(4))  # left says class 0 with 3/4, right class 1 with 4/5
        torch.testing.assert_close(
            cross_pseudo_loss(left, right), torch.tensor(-math.log(1 / 4) - math.log(1 / 5), dtype=torch.float64)
        )

    def test_it_is_symmetric(self):
        left, right = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        assert cross_pseudo_loss(left, right) == cross_pseudo_loss(right, left)

    def test_pseudo_labels_carry_no_gradient(self):
        left, right = noise(1, 3, 2, 2).requires_grad_(), noise(1, 3, 2, 2, seed=1).requires_grad_()
        cross_pseudo_loss(left, right).backward()
        labels = right.detach().argmax(1)
        alone = left.detach().clone().requires_grad_()
        torch.nn.functional.cross_entropy(alone, labels).backward()
        torch.testing.assert_close(left.grad, alone.grad)

    def test_gradcheck(self):
        inputs = noise(1, 3, 2, 2).requires_grad_(), noise(1, 3, 2, 2, seed=1).requires_grad_()
        assert torch.autograd.gradcheck(cross_pseudo_loss, inputs)

    def test_unequal_shapes_are_named(self):
        with pytest.raises(
            ShapeMismatch, match=r"^cross_pseudo_loss: got shape \(1, 2, 1, 1\), expected \(1, 3, 1, 1\)"
        ):
            cross_pseudo_loss(pixel(0, 0), pixel(0, 0, 0))


class TestSslkd:
    TAPS = (("mid", "mid"),)

    def build(self, tiny_pair, count=2, **options):
        torch.manual_seed(0)
        config = SslkdConfig(**{"taps": self.TAPS, **options})
        return Sslkd(config, tiny_pair.student, [tiny_pair.teacher] * count)

    def outputs(self, tiny_pair, count=2):
        student, _ = tiny_pair.outputs()
        return student, [tiny_pair.output(tiny_pair.teacher, seed=100 + i) for i in range(count)]

    @pytest.mark.parametrize("count", [2, 3, 4])
    def test_the_terms_are_the_functions(self, tiny_pair, count):
        student, teachers = self.outputs(tiny_pair, count)
        terms = self.build(tiny_pair, count)(student, teachers, None, 0)
        mean = ensemble_probabilities([one.logits for one in teachers])
        log_p = student.logits.log_softmax(1)
        mae = (student.features["mid"] - teachers[0].features["mid"]).abs().mean()
        torch.testing.assert_close(terms["feature_mae"], mae)
        torch.testing.assert_close(terms["probability_mae"], (log_p.exp() - mean).abs().mean())
        torch.testing.assert_close(terms["pseudo_label_ce"], -log_p.gather(1, mean.argmax(1, keepdim=True)).mean())

    def test_the_default_total_is_the_unweighted_sum(self):
        assert set(Sslkd.default_weights.values()) == {1.0}

    def test_labels_change_nothing(self, tiny_pair):
        student, teachers = self.outputs(tiny_pair)
        distiller = self.build(tiny_pair)
        assert distiller(student, teachers, tiny_pair.target(), 0) == distiller(student, teachers, None, 0)

    def test_another_teacher_can_give_the_features(self, tiny_pair):
        student, teachers = self.outputs(tiny_pair)
        swapped = self.build(tiny_pair, feature_teacher=1)(student, teachers[::-1], None, 0)["feature_mae"]
        assert swapped == self.build(tiny_pair)(student, teachers, None, 0)["feature_mae"]

    def test_unequal_features_get_an_adapter_that_learns(self, tiny_pair):
        distiller = self.build(tiny_pair, taps=(("deep", "deep"),))
        student, teachers = self.outputs(tiny_pair)
        distiller(student, teachers, None, 0)["feature_mae"].backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in distiller.parameters())

    def test_equal_features_get_none(self, tiny_pair):
        assert not list(self.build(tiny_pair).parameters())

    def test_a_missing_feature_teacher_is_refused(self, tiny_pair):
        with pytest.raises(TrainingError, match="feature_teacher is 2, expected 0 to 1"):
            self.build(tiny_pair, feature_teacher=2)

    def test_one_teacher_is_refused(self, tiny_pair):
        with pytest.raises(TrainingError, match="got 1 teachers, expected 2 to 8"):
            self.build(tiny_pair, count=1)


class TestPeers:
    def test_both_networks_of_cps_learn(self, tiny_pair):
        student, peer = tiny_pair.outputs()[0], tiny_pair.output(tiny_pair.student, seed=5, requires_grad=True)
        terms = Cps(CpsConfig(), tiny_pair.student, [tiny_pair.student])(student, [peer], None, 0)
        torch.testing.assert_close(terms["cross_pseudo_ce"], cross_pseudo_loss(student.logits, peer.logits))
        terms["cross_pseudo_ce"].backward()
        assert student.logits.grad.abs().sum() > 0
        assert peer.logits.grad.abs().sum() > 0

    def test_cms_of_two_networks_is_cross_pseudo_supervision(self):
        left, right = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        torch.testing.assert_close(cross_model_loss([left, right]), cross_pseudo_loss(left, right))

    def test_cms_of_three_networks_is_the_sum_over_pairs(self):
        networks = [noise(2, 3, 4, 5, seed=i) for i in range(3)]
        pairs = [cross_pseudo_loss(networks[i], networks[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
        torch.testing.assert_close(cross_model_loss(networks), sum(pairs))

    def test_cms_drops_pseudo_labels_that_are_not_confident(self):
        sure, torn = pixel(math.log(9), 0), pixel(0, math.log(1.5))  # 0.9 and 0.6
        torch.testing.assert_close(
            cross_model_loss([sure, torn], 0.7), torch.tensor(-math.log(0.4), dtype=torch.float64)
        )

    def test_a_confidence_above_one_is_refused(self, tiny_pair):
        with pytest.raises(TrainingError, match=r"min_confidence is 1.5, expected a probability"):
            Cms(CmsConfig(min_confidence=1.5), tiny_pair.student, [tiny_pair.teacher])

    def test_cross_model_gradcheck(self):
        inputs = [noise(1, 3, 2, 2, seed=i).requires_grad_() for i in range(2)]
        assert torch.autograd.gradcheck(lambda *logits: cross_model_loss(logits), inputs)


class TestCct:
    MAIN = noise(2, 4, 8, 12).softmax(1)

    def test_two_classes_by_hand(self):
        auxiliary, main = pixel(math.log(3), 0), pixel(0.5, 0.5)  # 3/4 and 1/4
        torch.testing.assert_close(consistency_loss(auxiliary, main), torch.tensor(1 / 16, dtype=torch.float64))

    def test_gradcheck(self):
        assert torch.autograd.gradcheck(
            lambda x: consistency_loss(x, self.MAIN), noise(2, 4, 4, 6, seed=1).requires_grad_()
        )

    def test_the_main_prediction_is_a_target_without_gradient(self, tiny_pair):
        student, _ = tiny_pair.outputs()
        distiller = build_cct(tiny_pair)
        distiller(student, [], None, 10**6)["consistency"].backward()
        assert student.logits.grad is None
        assert student.features["deep"].grad.abs().sum() > 0
        assert all(parameter.grad.abs().sum() > 0 for parameter in distiller.parameters())

    def test_the_ramp_begins_small_and_ends_at_one(self):
        ramp = [ramp_up(step, 100) for step in range(0, 201, 20)]
        assert ramp[0] == pytest.approx(math.exp(-5))
        assert ramp == sorted(ramp)
        assert ramp[5:] == [1.0] * 6
        assert ramp_up(0, 0) == 1

    @pytest.mark.parametrize("name", PERTURBATIONS)
    def test_a_perturbation_keeps_the_shape_and_changes_the_features(self, name):
        torch.manual_seed(0)
        features = noise(2, 6, 4, 6, seed=1).float() + 3
        perturbed = PERTURBATIONS[name](features, self.MAIN.float())
        assert perturbed.shape == features.shape
        assert not torch.equal(perturbed, features)

    def test_objects_and_context_share_the_features_out(self):
        features = noise(2, 6, 4, 6)
        parts = [PERTURBATIONS[name](features, self.MAIN) for name in ("object_masking", "context_masking")]
        torch.testing.assert_close(parts[0] + parts[1], features)

    def test_the_most_active_place_is_dropped(self):
        features = torch.ones(1, 2, 3, 3)
        features[:, :, 1, 2] = 10
        dropped = feature_drop(features, features)
        assert dropped[0, 0, 1, 2] == 0
        assert dropped.sum() == 16

    def test_the_cutout_lies_within_the_foreground_and_is_two_fifths_of_its_sides(self):
        torch.manual_seed(0)
        main = torch.zeros(1, 2, 40, 60)
        main[:, 0] = 1
        main[:, :, 10:20, 20:40] = torch.tensor([0.0, 1.0]).view(2, 1, 1)
        hidden = (guided_cutout(torch.ones(1, 1, 40, 60), main) == 0)[0, 0].nonzero()
        (top, left), (bottom, right) = hidden.amin(0).tolist(), hidden.amax(0).tolist()
        assert top >= 10
        assert left >= 20
        assert bottom < 20
        assert right < 40
        assert bottom - top + 1 in (3, 4, 5)
        assert right - left + 1 in (7, 8, 9)

    def test_nothing_is_cut_without_foreground(self):
        main = torch.zeros(2, 3, 4, 6)
        main[:, 0] = 1
        features = noise(2, 6, 4, 6)
        assert torch.equal(guided_cutout(features, main), features)

    def test_adversarial_noise_has_its_length_and_changes_the_prediction_more_than_chance(self):
        torch.manual_seed(0)
        decoder = torch.nn.Conv2d(6, 3, 1).double()
        features = noise(1, 6, 4, 6)
        step = adversarial_noise(features, decoder) - features
        assert step.norm().item() == pytest.approx(2)
        random = torch.nn.functional.normalize(noise(1, 6, 4, 6, seed=2).flatten(1)).view_as(step) * 2

        def divergence(move):
            p = decoder(features).log_softmax(1)
            return torch.nn.functional.kl_div(
                decoder(features + move).log_softmax(1), p, log_target=True, reduction="sum"
            )

        assert divergence(step) > 2 * divergence(random)

    def test_an_unknown_perturbation_is_refused(self, tiny_pair):
        with pytest.raises(TrainingError, match="expected one or more of feature_noise"):
            build_cct(tiny_pair, perturbations=("blur",))


def build_cct(tiny_pair, **options):
    torch.manual_seed(0)
    return Cct(CctConfig(tap="deep", **options), tiny_pair.student, [])


def test_networks_of_other_classes_are_refused(tiny_pair):
    other = NetworkInfo("other", 3, {"mid": FeatureInfo(6, 4)})
    with pytest.raises(TrainingError, match="teacher 'other' has 3 classes"):
        Sslkd(SslkdConfig(taps=(("mid", "mid"),)), tiny_pair.student, [tiny_pair.teacher, other])
