# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch import nn

from noise import noise
from road_kd_seg.errors import ShapeMismatch
from road_kd_training.distillers.cwd import (
    channel_wise_bhattacharyya,
    channel_wise_kl,
    channel_wise_squared_error,
    squared_error,
    swapped_channel_wise_kl,
)
from road_kd_training.distillers.soft_targets import soft_target_kl
from road_kd_training.errors import TrainingError

VARIANTS = [
    channel_wise_kl,
    soft_target_kl,
    squared_error,
    channel_wise_squared_error,
    channel_wise_bhattacharyya,
]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


class TestChannelWiseKl:
    @pytest.mark.parametrize("temperature", [1.0, 3.0])
    def test_two_pixels_equal_the_bernoulli_divergence(self, temperature):
        student = torch.tensor([0.3, -1.1], dtype=torch.float64).view(1, 1, 1, 2)
        teacher = torch.tensor([2.0, 0.5], dtype=torch.float64).view(1, 1, 1, 2)
        p, q = sigmoid(1.5 / temperature), sigmoid(1.4 / temperature)
        expected = temperature**2 * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))
        assert float(channel_wise_kl(student, teacher, temperature)) == pytest.approx(expected, rel=1e-10)

    def test_equal_activations_cost_nothing(self):
        x = noise(2, 3, 4, 5)
        assert float(channel_wise_kl(x, x)) == pytest.approx(0, abs=1e-12)

    def test_adding_a_constant_to_a_channel_changes_nothing(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        shift = noise(1, 3, 1, 1, seed=2) * 10
        torch.testing.assert_close(channel_wise_kl(student + shift, teacher), channel_wise_kl(student, teacher))

    def test_permuting_the_pixels_of_both_changes_nothing(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        order = torch.randperm(20, generator=torch.Generator().manual_seed(3))

        def permute(x):
            return x.flatten(2)[..., order].view_as(x)

        torch.testing.assert_close(
            channel_wise_kl(permute(student), permute(teacher)), channel_wise_kl(student, teacher)
        )

    def test_is_the_mean_over_batch_and_channels(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        single = [
            channel_wise_kl(student[n, c][None, None], teacher[n, c][None, None]) for n in range(2) for c in range(3)
        ]
        torch.testing.assert_close(channel_wise_kl(student, teacher), torch.stack(single).mean())

    def test_it_is_not_symmetric(self):
        student, teacher = noise(1, 2, 4, 5), 3 * noise(1, 2, 4, 5, seed=1)
        assert not torch.isclose(channel_wise_kl(student, teacher), channel_wise_kl(teacher, student), rtol=0.05)


class TestVariants:
    def test_squared_error_by_hand(self):
        student = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 2, 1, 2)
        assert float(squared_error(student, torch.zeros(1, 2, 1, 2))) == pytest.approx((1 + 4 + 9 + 16) / 2)

    def test_channel_wise_squared_error_by_hand(self):
        student = torch.tensor([0.0, math.log(3.0)]).view(1, 1, 1, 2)
        assert float(channel_wise_squared_error(student, torch.zeros(1, 1, 1, 2))) == pytest.approx(2 * 0.25**2)

    def test_bhattacharyya_by_hand(self):
        student = torch.tensor([0.0, math.log(3.0)]).view(1, 1, 1, 2)
        expected = -math.log(math.sqrt(0.25 * 0.5) + math.sqrt(0.75 * 0.5))
        got = channel_wise_bhattacharyya(student, torch.zeros(1, 1, 1, 2), 1.0)
        assert float(got) == pytest.approx(expected, rel=1e-5)

    def test_bhattacharyya_is_symmetric(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        torch.testing.assert_close(
            channel_wise_bhattacharyya(student, teacher), channel_wise_bhattacharyya(teacher, student)
        )

    def test_pixel_wise_is_channel_wise_with_the_axes_exchanged(self):
        student, teacher = noise(1, 3, 1, 4), noise(1, 3, 1, 4, seed=1)
        torch.testing.assert_close(
            soft_target_kl(student, teacher, 2.0),
            channel_wise_kl(student.transpose(1, 3), teacher.transpose(1, 3), 2.0),
        )

    @pytest.mark.parametrize("loss", VARIANTS)
    def test_gradcheck(self, loss):
        student = noise(2, 2, 2, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: loss(x, noise(2, 2, 2, 3, seed=1)), student)

    @pytest.mark.parametrize("loss", VARIANTS)
    def test_no_gradient_reaches_the_teacher(self, loss):
        student, teacher = noise(1, 2, 3, 3).requires_grad_(), noise(1, 2, 3, 3, seed=1).requires_grad_()
        loss(student, teacher).backward()
        assert student.grad is not None
        assert teacher.grad is None

    @pytest.mark.parametrize("loss", VARIANTS)
    def test_huge_activations_stay_finite(self, loss):
        student = (noise(1, 2, 3, 3).sign() * 1e4).float().requires_grad_()
        value = loss(student, -student.detach())
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()

    @pytest.mark.parametrize("loss", VARIANTS)
    def test_unequal_shapes_are_named(self, loss):
        shapes = r"got shape \(1, 2, 3, 3\), expected \(1, 4, 3, 3\)"
        hint = "(align the student with an adapter|feed both networks the same images)"
        with pytest.raises(ShapeMismatch, match=rf"^{loss.__name__}: {shapes}: {hint}\.$"):
            loss(torch.zeros(1, 2, 3, 3), torch.zeros(1, 4, 3, 3))


class TestCwd:
    def test_an_adapter_stands_only_where_channels_differ(self, tiny_pair):
        cwd = tiny_pair.build("cwd", taps=(("mid", "mid"), ("deep", "deep"), ("logits", "logits")))
        assert [isinstance(adapter, nn.Conv2d) for adapter in cwd.adapters] == [False, True, False]

    def test_the_published_adapter_has_no_bias_but_a_norm(self, tiny_pair):
        cwd = tiny_pair.build("cwd", taps=(("deep", "deep"),), adapter="conv_bn_relu")
        assert cwd.adapters[0][0].bias is None
        assert isinstance(cwd.adapters[0][1], nn.BatchNorm2d)
        student, teachers = tiny_pair.outputs()
        assert cwd(student, teachers, None, 0)["channel_kl"].isfinite()

    def test_equal_score_maps_cost_nothing(self, tiny_pair):
        student, _ = tiny_pair.outputs()
        terms = tiny_pair.build("cwkd")(student, [student], None, 0)
        assert terms["channel_kl"].item() == pytest.approx(0, abs=1e-5)

    def test_every_variant_is_another_loss(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        values = []
        for variant in ("kl", "pi", "l2", "l2_channel", "bhattacharyya"):
            cwd = tiny_pair.build("cwd", taps=(("deep", "deep"),), variant=variant)
            values.append(cwd(student, teachers, None, 0)["channel_kl"].item())
        assert len({round(value, 6) for value in values}) == 5

    @pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_temperature_that_divides_nothing_is_refused(self, tiny_pair, temperature):
        with pytest.raises(TrainingError, match="cwd: temperature is .*, expected a positive number"):
            tiny_pair.build("cwd", taps=(("deep", "deep"),), temperature=temperature)


class TestSwappedKl:
    def test_it_is_the_divergence_with_student_and_teacher_changed_over(self):
        """Section 4.3: "changing the order of the input in the KL divergence"."""
        student, teacher = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        torch.testing.assert_close(swapped_channel_wise_kl(student, teacher), channel_wise_kl(teacher, student))

    def test_gradient_flows_into_the_student_alone(self):
        student, teacher = noise(1, 2, 3, 3).requires_grad_(), noise(1, 2, 3, 3, seed=1).requires_grad_()
        swapped_channel_wise_kl(student, teacher).backward()
        assert student.grad.abs().max() > 0
        assert teacher.grad is None

    def test_gradcheck(self):
        teacher = noise(1, 2, 3, 3, seed=1)
        assert torch.autograd.gradcheck(
            lambda x: swapped_channel_wise_kl(x, teacher), noise(1, 2, 3, 3).requires_grad_()
        )
