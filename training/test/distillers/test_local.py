# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from noise import noise
from road_kd_training.distillers.local import local_similarity


class TestLocalSimilarity:
    def test_one_bright_pixel_by_hand(self):
        """The bright pixel differs from 8 neighbors by 2, each neighbor from it alone."""
        x = torch.zeros(1, 1, 3, 3)
        x[0, 0, 1, 1] = 2
        expected = torch.full((1, 3, 3), 2.0)
        expected[0, 1, 1] = 16
        torch.testing.assert_close(local_similarity(x), expected)

    def test_equals_the_loop_of_the_definition(self):
        x = noise(2, 3, 4, 5)
        expected = torch.zeros(2, 4, 5, dtype=torch.float64)
        for row in range(4):
            for column in range(5):
                for down in (-1, 0, 1):
                    for right in (-1, 0, 1):
                        if 0 <= row + down < 4 and 0 <= column + right < 5:
                            difference = x[:, :, row, column] - x[:, :, row + down, column + right]
                            expected[:, row, column] += difference.norm(dim=1)
        torch.testing.assert_close(local_similarity(x), expected)

    @pytest.mark.parametrize("shape", [(1, 2, 1, 4), (1, 2, 4, 1), (1, 2, 1, 1)])
    def test_narrow_maps_have_fewer_neighbors(self, shape):
        assert local_similarity(noise(*shape)).shape == (1, *shape[2:])

    def test_adding_a_constant_changes_nothing(self):
        x = noise(2, 3, 4, 5)
        torch.testing.assert_close(local_similarity(x + noise(1, 3, 1, 1, seed=1)), local_similarity(x))

    def test_gradcheck(self):
        assert torch.autograd.gradcheck(local_similarity, noise(1, 2, 3, 3).requires_grad_())


class TestLocal:
    def test_one_bright_pixel_by_hand(self, tiny_pair):
        """A student of 0 everywhere against a teacher's 2 in one of 8x12 pixels, in 6 equal channels."""
        student, teachers = tiny_pair.outputs(batch=1)
        bright = torch.zeros(1, 6, 8, 12)
        bright[:, :, 4, 5] = 2
        student = student._replace(features={**student.features, "mid": torch.zeros(1, 6, 8, 12)})
        teacher = teachers[0]._replace(features={**teachers[0].features, "mid": bright})
        term = tiny_pair.build("local", taps=(("mid", "mid"),))(student, [teacher], None, 0)["local_similarity"]
        assert term.item() == pytest.approx((2**2 + 8 * 0.25**2) / 96, rel=1e-5)
