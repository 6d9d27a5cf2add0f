# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from noise import noise
from road_kd_training.distillers.pair_wise import affinity, node_grid, pair_wise_loss


class TestPairWiseLoss:
    def test_two_pixels_by_hand(self):
        """Cosine of (1, 0) and (1, 1) is 1/√2, of the teacher's pixels 0: two of the four pairs differ."""
        student = torch.tensor([[1.0, 1.0], [0.0, 1.0]]).view(1, 2, 1, 2)
        teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 2, 1, 2)
        assert float(pair_wise_loss(student, teacher, 1)) == pytest.approx(2 * 0.5 / 4)

    def test_affinity_is_a_cosine(self):
        a = affinity(noise(2, 3, 4, 5) * 100)
        torch.testing.assert_close(a.diagonal(dim1=1, dim2=2), torch.ones(2, 20, dtype=torch.float64))
        torch.testing.assert_close(a, a.transpose(1, 2))
        assert a.abs().max() <= 1 + 1e-12

    def test_rotating_or_scaling_the_channels_changes_nothing(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 6, 4, 5, seed=1)
        rotation = torch.linalg.qr(noise(3, 3, seed=2))[0]
        rotated = 5 * torch.einsum("dc,bchw->bdhw", rotation, student)
        torch.testing.assert_close(pair_wise_loss(rotated, teacher, 1), pair_wise_loss(student, teacher, 1))

    def test_gradcheck(self):
        student = noise(1, 2, 2, 2).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: pair_wise_loss(x, noise(1, 3, 2, 2, seed=1), 1), student)

    def test_no_gradient_reaches_the_teacher(self):
        student, teacher = noise(1, 2, 2, 2).requires_grad_(), noise(1, 2, 2, 2, seed=1).requires_grad_()
        pair_wise_loss(student, teacher, 1).backward()
        assert teacher.grad is None


class TestNodeGrid:
    @pytest.mark.parametrize(
        ("size", "expected"), [((72, 128), (36, 64)), ((5, 7), (3, 4)), ((1, 1), (1, 1)), ((576, 1024), (36, 64))]
    )
    def test_nodes_are_squares_unless_there_would_be_too_many(self, size, expected):
        assert node_grid(size, 2, 2304) == expected

    def test_memory_is_bounded_for_any_map(self):
        for size in ((1, 10**6), (10**6, 1), (2000, 3000), (576, 1024)):
            rows, columns = node_grid(size, 2, 2304)
            assert rows * columns <= 2304
