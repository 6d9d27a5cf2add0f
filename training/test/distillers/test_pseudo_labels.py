# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from noise import noise
from road_kd_training.distillers.pseudo_labels import (
    PseudoLabels,
    PseudoLabelsConfig,
    confident_labels,
    pseudo_label_loss,
)
from road_kd_training.errors import TrainingError


def certain(*classes):
    """Logits (1, 3, 1, N) of a teacher that is certain of a class in each pixel; None: of nothing."""
    columns = [[0.0] * 3 if k is None else [20.0 * (i == k) for i in range(3)] for k in classes]
    return torch.tensor(columns, dtype=torch.float64).T.view(1, 3, 1, -1)


class TestConfidentLabels:
    def test_a_doubtful_pixel_is_ignored(self):
        assert confident_labels(certain(2, None, 0), 0.8).tolist() == [[[2, 255, 0]]]

    def test_a_labeled_pixel_is_left_to_its_label(self):
        target = torch.tensor([[[255, 1, 255]]])
        assert confident_labels(certain(2, 2, 0), 0.8, target).tolist() == [[[2, 255, 0]]]


class TestPseudoLabelLoss:
    def test_it_is_the_cross_entropy_against_the_teachers_classes(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        torch.testing.assert_close(
            pseudo_label_loss(student, teacher, 0.0), F.cross_entropy(student, teacher.argmax(1))
        )

    def test_classes_weigh_as_in_the_cross_entropy(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
        expected = F.cross_entropy(student, teacher.argmax(1), weights)
        torch.testing.assert_close(pseudo_label_loss(student, teacher, 0.0, class_weights=weights), expected)

    def test_it_is_zero_where_the_teacher_is_sure_of_nothing(self):
        student = noise(1, 3, 1, 2).requires_grad_()
        loss = pseudo_label_loss(student, certain(None, None))
        loss.backward()
        assert loss == 0
        assert student.grad.abs().max() == 0

    def test_no_gradient_reaches_the_teacher(self):
        student, teacher = noise(1, 3, 2, 2).requires_grad_(), noise(1, 3, 2, 2, seed=1).requires_grad_()
        pseudo_label_loss(student, teacher, 0.0).backward()
        assert teacher.grad is None
        assert student.grad.abs().max() > 0

    def test_gradcheck(self):
        teacher = noise(1, 3, 2, 2, seed=1)
        assert torch.autograd.gradcheck(
            lambda x: pseudo_label_loss(x, teacher, 0.4), noise(1, 3, 2, 2).requires_grad_()
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_confidence": 1.5}, "min_confidence is 1.5, expected 0 to 1"),
        ({"class_weights": (1.0,)}, "class_weights are .*, expected 5 positive numbers"),
    ],
)
def test_settings_out_of_range_are_refused(tiny_pair, options, message):
    with pytest.raises(TrainingError, match=message):
        PseudoLabels(PseudoLabelsConfig(**options), tiny_pair.student, [tiny_pair.teacher])
