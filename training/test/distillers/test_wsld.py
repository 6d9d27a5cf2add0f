# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from noise import noise
from road_kd_training.distillers.wsld import soft_label_weight
from road_kd_training.errors import TrainingError


class TestSoftLabelWeight:
    def test_one_pixel_by_hand(self):
        """Cross entropies ln 4 (student, p = ¼) and ln 2 (teacher, p = ½): 1 - e^-2."""
        student = torch.tensor([[0.0, math.log(3.0)]])
        teacher = torch.tensor([[0.0, 0.0]])
        weight = soft_label_weight(student, teacher, torch.tensor([0]))
        assert float(weight) == pytest.approx(1 - math.exp(-2), rel=1e-5)

    def test_it_grows_with_the_students_error_within_one(self):
        teacher = torch.zeros(5, 3)
        student = torch.zeros(5, 3)
        student[:, 0] = torch.tensor([4.0, 2.0, 0.0, -2.0, -40.0])
        weight = soft_label_weight(student, teacher, torch.zeros(5, dtype=torch.long))
        assert (weight.diff() > 0).all()
        assert weight.min() > 0
        assert weight.max() <= 1

    def test_it_passes_no_gradient(self):
        student = noise(4, 3).requires_grad_()
        assert not soft_label_weight(student, noise(4, 3), torch.zeros(4, dtype=torch.long)).requires_grad

    def test_a_perfect_teacher_does_not_divide_by_zero(self):
        teacher = torch.tensor([[1e4, 0.0]])
        assert soft_label_weight(torch.zeros(1, 2), teacher, torch.tensor([0])).item() == 1


class TestWsld:
    def test_the_gradient_is_that_of_the_published_cross_entropy(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        target = tiny_pair.target(ignored=False)
        tiny_pair.build("wsld")(student, teachers, target, 0)["weighted_kl"].backward()
        logits = student.logits.detach().clone().requires_grad_()
        ours, theirs = (x.movedim(1, -1).flatten(0, 2) for x in (logits, teachers[0].logits.detach()))
        weight = soft_label_weight(ours, theirs, target.flatten())
        soft = -((theirs / 2).softmax(1) * (ours / 2).log_softmax(1)).sum(1)
        (4 * (weight * soft).mean()).backward()
        torch.testing.assert_close(student.logits.grad, logits.grad)

    def test_images_without_labels_are_refused(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        with pytest.raises(TrainingError, match="wsld: needs labels"):
            tiny_pair.build("wsld")(student, teachers, None, 0)
