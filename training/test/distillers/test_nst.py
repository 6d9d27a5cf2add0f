# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from noise import noise
from road_kd_training.distillers.nst import selectivity_distance


class TestSelectivityDistance:
    def test_one_channel_each_by_hand(self):
        """Unit maps with cosine c: 1 + 1 - 2c². (1, 0) against (3, 4)/5: c = 0.6."""
        student, teacher = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2), torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
        assert float(selectivity_distance(student, teacher)) == pytest.approx(2 - 2 * 0.36)

    def test_the_order_and_scale_and_number_of_channels_do_not_matter(self):
        """Distributions are compared: doubling every channel changes none."""
        student, teacher = noise(2, 3, 4, 5), noise(2, 6, 4, 5, seed=1)
        doubled = 9 * torch.cat((student, student.flip(1)), dim=1)
        torch.testing.assert_close(selectivity_distance(doubled, teacher), selectivity_distance(student, teacher))
        assert float(selectivity_distance(doubled, student)) == pytest.approx(0, abs=1e-12)

    def test_it_is_never_negative(self):
        for seed in range(5):
            assert selectivity_distance(noise(2, 3, 4, 5, seed=seed), noise(2, 4, 4, 5, seed=seed + 9)) > 0

    def test_gradcheck(self):
        student = noise(1, 2, 2, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: selectivity_distance(x, noise(1, 3, 2, 3, seed=1)), student)

    def test_no_gradient_reaches_the_teacher(self):
        student, teacher = noise(1, 2, 2, 3).requires_grad_(), noise(1, 2, 2, 3, seed=1).requires_grad_()
        selectivity_distance(student, teacher).backward()
        assert teacher.grad is None
