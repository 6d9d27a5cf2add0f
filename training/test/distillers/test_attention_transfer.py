# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from noise import noise
from road_kd_training.distillers.attention_transfer import attention_transfer


class TestAttentionTransfer:
    def test_two_pixels_by_hand(self):
        """Σ x² gives (9, 16) → (9, 16)/√337 for the student and (1, 0) for the teacher."""
        student = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
        teacher = torch.tensor([[2.0, 0.0], [1.0, 0.0]]).view(1, 2, 1, 2)
        root = 337**0.5
        expected = ((9 / root - 1) ** 2 + (16 / root) ** 2) / 2
        assert float(attention_transfer(student, teacher)) == pytest.approx(expected, rel=1e-5)

    def test_scale_and_sign_and_order_of_channels_do_not_matter(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 6, 4, 5, seed=1)
        torch.testing.assert_close(
            attention_transfer(-7 * student.flip(1), teacher), attention_transfer(student, teacher)
        )

    def test_the_mean_is_over_images(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 6, 4, 5, seed=1)
        single = torch.stack([attention_transfer(student[n : n + 1], teacher[n : n + 1]) for n in range(2)])
        torch.testing.assert_close(attention_transfer(student, teacher), single.mean())

    def test_gradcheck(self):
        student = noise(2, 2, 2, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: attention_transfer(x, noise(2, 3, 4, 6, seed=1)), student)

    def test_no_gradient_reaches_the_teacher(self):
        student, teacher = noise(1, 2, 3, 3).requires_grad_(), noise(1, 2, 3, 3, seed=1).requires_grad_()
        attention_transfer(student, teacher).backward()
        assert teacher.grad is None
