# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from noise import noise
from road_kd_training.distillers.similarity_preserving import similarity_loss


class TestSimilarityLoss:
    def test_two_images_by_hand(self):
        """Orthogonal student: rows (1, 0), (0, 1). Equal teachers: rows (1, 1)/√2."""
        student, teacher = torch.eye(2), torch.ones(2, 5)
        expected = ((1 - 0.5**0.5) ** 2 + 0.5) / 2
        assert float(similarity_loss(student, teacher)) == pytest.approx(expected)

    def test_rotation_and_scale_change_nothing(self):
        student, teacher = noise(4, 6), noise(4, 9, seed=1)
        rotation = torch.linalg.qr(noise(6, 6, seed=2))[0]
        torch.testing.assert_close(
            similarity_loss(1e6 * student @ rotation, teacher), similarity_loss(student, teacher)
        )

    def test_gradcheck(self):
        """The common scale is detached, but cancels, so the gradient is exact."""
        assert torch.autograd.gradcheck(lambda x: similarity_loss(x, noise(3, 5, seed=1)), noise(3, 4).requires_grad_())

    def test_no_gradient_reaches_the_teacher(self):
        student, teacher = noise(3, 4).requires_grad_(), noise(3, 4, seed=1).requires_grad_()
        similarity_loss(student, teacher).backward()
        assert teacher.grad is None
