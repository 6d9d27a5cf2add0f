# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest
import torch

from noise import noise
from road_kd_training.distillers.rkd import relations


class TestRelations:
    def test_a_right_triangle_by_hand(self):
        """Sides 3, 4, 5; cosines 0 at the right angle, 3/5 and 4/5 at the others, each seen from both sides."""
        found = relations(torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64))
        assert sorted(found.distances.tolist()) == pytest.approx([0.75, 0.75, 1, 1, 1.25, 1.25])
        assert sorted(found.angles.tolist()) == pytest.approx([0, 0, 0.6, 0.6, 0.8, 0.8], abs=1e-9)

    def test_equals_the_loop_of_the_definition(self):
        x = noise(5, 7)
        expected = []
        for j, i, k in itertools.product(range(5), repeat=3):
            if len({i, j, k}) == 3:
                expected.append(torch.cosine_similarity(x[i] - x[j], x[k] - x[j], dim=0))
        torch.testing.assert_close(relations(x).angles, torch.stack(expected))

    def test_rotation_scale_and_shift_change_nothing(self):
        x = noise(4, 6)
        moved = 1e4 * x @ torch.linalg.qr(noise(6, 6, seed=2))[0] + 3
        torch.testing.assert_close(relations(moved), relations(x), rtol=1e-7, atol=1e-7)

    def test_gradcheck(self):
        assert torch.autograd.gradcheck(lambda x: tuple(relations(x)), noise(4, 3).requires_grad_())


class TestRkd:
    def test_a_batch_of_two_is_warned_of(self, tiny_pair):
        student, teachers = tiny_pair.outputs(batch=2)
        with pytest.warns(UserWarning, match="rkd: the relation of a batch of 2 teaches nothing: use 3 or more"):
            terms = tiny_pair.build("rkd", taps=(("deep", "deep"),))(student, teachers, None, 0)
        assert [term.item() for term in terms.values()] == pytest.approx([0, 0], abs=1e-6)

    def test_equal_features_cost_nothing(self, tiny_pair):
        student, _ = tiny_pair.outputs()
        rkd = tiny_pair.build("rkd", taps=(("mid", "mid"),))
        terms = rkd(student, [student._replace(features={**student.features, "deep": None})], None, 0)
        assert [term.item() for term in terms.values()] == pytest.approx([0, 0], abs=1e-6)
