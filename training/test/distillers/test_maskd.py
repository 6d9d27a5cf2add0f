# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from noise import noise
from road_kd_training.distillers.maskd import mask_overlap, masked_error, token_masks
from road_kd_training.errors import TrainingError


class TestTokenMasks:
    def test_a_token_attends_where_it_points(self):
        features = torch.tensor([[5.0, -5.0], [0.0, 0.0]]).view(1, 2, 1, 2)
        masks = token_masks(features, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        torch.testing.assert_close(masks[0, 0, 0], torch.tensor([5.0, -5.0]).sigmoid())
        torch.testing.assert_close(masks[0, 1, 0], torch.tensor([0.5, 0.5]))


class TestMaskedError:
    def test_by_hand(self):
        """Errors 1 and 3; the masks take one pixel each: (1 + 9) / 2 masks / 2."""
        student = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)
        masks = torch.eye(2).view(1, 2, 1, 2)
        assert float(masked_error(student, torch.zeros(1, 1, 1, 2), masks)) == pytest.approx(2.5, rel=1e-4)

    def test_equals_the_masked_features_of_the_definition(self):
        student, teacher, masks = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1), noise(2, 6, 4, 5, seed=2).sigmoid()
        difference = (student - teacher)[:, None] * masks[:, :, None]
        per_mask = difference.square().sum((3, 4)) / (masks.sum((2, 3)) + 1e-5)[:, :, None]
        torch.testing.assert_close(masked_error(student, teacher, masks), per_mask.mean() / 2)

    def test_gradcheck(self):
        masks = noise(1, 2, 2, 3, seed=2).sigmoid()
        student = noise(1, 2, 2, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: masked_error(x, noise(1, 2, 2, 3, seed=1), masks), student)

    def test_neither_teacher_nor_masks_learn_from_it(self):
        student, teacher = noise(1, 2, 2, 3).requires_grad_(), noise(1, 2, 2, 3, seed=1).requires_grad_()
        masks = noise(1, 2, 2, 3, seed=2).sigmoid().requires_grad_()
        masked_error(student, teacher, masks).backward()
        assert teacher.grad is None
        assert masks.grad is None


class TestMaskOverlap:
    def test_disjoint_masks_do_not_overlap_and_equal_ones_do_fully(self):
        assert float(mask_overlap(torch.eye(3).view(1, 3, 1, 3))) == 0
        assert float(mask_overlap(torch.ones(1, 3, 1, 3))) == pytest.approx(1)

    def test_by_hand(self):
        """Dice of (1, 1) and (1, 0): 2 · 1 / (2 + 1)."""
        masks = torch.tensor([[1.0, 1.0], [1.0, 0.0]]).view(1, 2, 1, 2)
        assert float(mask_overlap(masks)) == pytest.approx(2 / 3)

    def test_gradcheck(self):
        assert torch.autograd.gradcheck(mask_overlap, noise(2, 3, 2, 2).sigmoid().requires_grad_())


class TestMaskd:
    @pytest.mark.parametrize("taps", [(("logits", "logits"),), (("deep", "deep"),)])
    def test_tokens_learn_from_the_task_and_their_overlap_only(self, tiny_pair, taps):
        maskd = tiny_pair.build("maskd", taps=taps)
        student, teachers = tiny_pair.outputs()
        terms = maskd(student, teachers, tiny_pair.target(), 0)
        tokens = maskd.tokens[0]
        for term in ("mask_task", "mask_overlap"):
            assert torch.autograd.grad(terms[term], tokens, retain_graph=True)[0].abs().max() > 0
        assert torch.autograd.grad(terms["masked_error"], tokens, retain_graph=True, allow_unused=True)[0] is None

    def test_ignored_pixels_do_not_teach_the_tokens(self, tiny_pair):
        maskd = tiny_pair.build("maskd")
        student, teachers = tiny_pair.outputs()
        terms = maskd(student, teachers, torch.full((3, 32, 48), 255), 0)
        assert terms["mask_task"].item() == 0

    def test_a_single_token_is_refused(self, tiny_pair):
        with pytest.raises(TrainingError, match="maskd: tokens is 1, expected 2 or more"):
            tiny_pair.build("maskd", tokens=1)
