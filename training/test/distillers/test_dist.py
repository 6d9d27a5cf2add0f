# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from noise import noise
from road_kd_training.distillers.dist import pearson_distance
from road_kd_training.errors import TrainingError


class TestPearsonDistance:
    def test_by_hand(self):
        """(0, 1, 2) against (0, 0, 1): correlation √(3/4); against its negative: 2."""
        x = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
        y = torch.tensor([[0.0, 0.0, 1.0], [0.0, -1.0, -2.0], [5.0, 7.0, 9.0]])
        torch.testing.assert_close(pearson_distance(x, y), torch.tensor([1 - 0.75**0.5, 2.0, 0.0]))

    def test_scale_and_shift_of_a_row_do_not_matter(self):
        x, y = noise(4, 6), noise(4, 6, seed=1)
        torch.testing.assert_close(pearson_distance(3 * x + 7, y), pearson_distance(x, y))

    def test_a_constant_row_correlates_with_nothing(self):
        x = torch.ones(1, 4, requires_grad=True)
        value = pearson_distance(x, torch.arange(4.0)[None])
        value.sum().backward()
        assert value.item() == 1
        assert x.grad.isfinite().all()

    def test_gradcheck(self):
        assert torch.autograd.gradcheck(
            lambda x: pearson_distance(x, noise(3, 5, seed=1)), noise(3, 5).requires_grad_()
        )


class TestDist:
    def test_terms_are_correlations_of_rows_and_columns(self, tiny_pair):
        student, teachers = tiny_pair.outputs(batch=1)
        terms = tiny_pair.build("dist")(student, teachers, None, 0)
        ours, theirs = (x.detach().softmax(1)[0].flatten(1).T for x in (student.logits, teachers[0].logits))
        per_pixel = [1 - torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(ours, theirs, strict=True)]
        per_class = [1 - torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(ours.T, theirs.T, strict=True)]
        torch.testing.assert_close(terms["inter_class"], torch.stack(per_pixel).mean(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(terms["intra_class"], torch.stack(per_class).mean(), rtol=1e-4, atol=1e-5)

    def test_two_classes_are_refused(self, make_tiny_pair):
        with pytest.raises(TrainingError, match="the student has 2 classes, expected at least 3"):
            make_tiny_pair(num_classes=2).build("dist")
