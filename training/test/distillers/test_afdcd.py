# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from noise import noise
from road_kd_training.distillers.afdcd import dense_contrast, largest_divisor
from road_kd_training.errors import TrainingError


class TestDenseContrast:
    def test_one_pixel_of_two_groups_by_hand(self):
        """Student (0, 0), teacher (0, 2), τ = 1: positives at distance 0 and 2, negatives at 2 and 0."""
        student, teacher = torch.zeros(1, 2, 1, 1), torch.tensor([0.0, 2.0]).view(1, 2, 1, 1)
        expected = math.log(1 + math.exp(-2)) + math.log(math.exp(-2) + 1) + 2
        assert float(dense_contrast(student, teacher, groups=2, temperature=1.0)) == pytest.approx(expected, rel=1e-5)

    def test_equals_the_loop_of_the_definition(self):
        student, teacher, groups, side = noise(2, 6, 4, 4), noise(2, 6, 4, 4, seed=1), 3, 2
        total = 0.0
        for image in range(2):
            for top in range(0, 4, side):
                for left in range(0, 4, side):
                    cells = [(r, c) for r in range(top, top + side) for c in range(left, left + side)]

                    def part(x, cell, group, image=image):
                        return x[image, 2 * group : 2 * group + 2, cell[0], cell[1]]

                    for cell in cells:
                        for group in range(groups):
                            anchor = part(student, cell, group)
                            positive = -(anchor - part(teacher, cell, group)).abs().sum()
                            negatives = [
                                -(anchor - part(teacher, other, g)).abs().sum()
                                for other in cells
                                for g in range(groups)
                                if g != group
                            ]
                            total += torch.stack([positive, *negatives]).logsumexp(0) - positive
        expected = total / (2 * 4 * 4)
        torch.testing.assert_close(dense_contrast(student, teacher, groups, side, 1.0), expected)

    def test_a_student_equal_to_a_distinct_teacher_costs_nothing(self):
        teacher = 100 * torch.arange(4.0).view(1, 4, 1, 1) + noise(1, 4, 4, 4)
        assert float(dense_contrast(teacher, teacher, 4)) == pytest.approx(0, abs=1e-6)

    def test_a_map_smaller_than_a_patch_is_one_patch(self):
        student, teacher = noise(1, 4, 2, 3), noise(1, 4, 2, 3, seed=1)
        assert dense_contrast(student, teacher, 2, patch=4).isfinite()

    def test_gradcheck(self):
        student = noise(1, 4, 2, 2).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: dense_contrast(x, noise(1, 4, 2, 2, seed=1), 2, 2, 1.0), student)

    def test_no_gradient_reaches_the_teacher(self):
        student, teacher = noise(1, 4, 4, 4).requires_grad_(), noise(1, 4, 4, 4, seed=1).requires_grad_()
        dense_contrast(student, teacher, 2).backward()
        assert teacher.grad is None


class TestAfdcd:
    @pytest.mark.parametrize(("number", "expected"), [(2048, 16), (10, 10), (19, 1), (24, 12), (5, 5)])
    def test_groups_divide_the_channels(self, number, expected):
        assert largest_divisor(number, 16) == expected

    def test_generation_sees_a_quarter_of_the_student(self, tiny_pair):
        afdcd = tiny_pair.build("afdcd", taps=(("mid", "mid"),))
        seen = []
        afdcd.generators[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        student, teachers = tiny_pair.outputs(batch=8)
        afdcd(student, teachers, None, 0)
        kept = (seen[0] != 0).any(dim=1).float().mean().item()
        # 768 pixels: a standard deviation of 0.016.
        assert kept == pytest.approx(0.25, abs=0.08)

    def test_a_tap_that_cannot_be_grouped_is_refused(self, make_tiny_pair):
        with pytest.raises(TrainingError, match="afdcd: a teacher's tap has channels in one group only"):
            make_tiny_pair(num_classes=19).build("afdcd", taps=(("logits", "logits"),))

    @pytest.mark.parametrize("ratio", [-0.1, 1.0])
    def test_an_impossible_mask_is_refused(self, tiny_pair, ratio):
        with pytest.raises(TrainingError, match="afdcd: mask_ratio is .*, expected at least 0 and less than 1"):
            tiny_pair.build("afdcd", taps=(("mid", "mid"),), mask_ratio=ratio)
