# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from noise import noise
from road_kd_training.distillers.dense_kd import DenseKd, DenseKdConfig, best_teacher, class_weighted_kl
from road_kd_training.distillers.soft_targets import soft_target_kl
from road_kd_training.errors import TrainingError


class TestClassWeightedKl:
    def test_equal_weights_are_no_weights(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        equal = torch.full((3,), 7.0, dtype=torch.float64)
        expected = soft_target_kl(student, teacher, 2.0)
        torch.testing.assert_close(class_weighted_kl(student, teacher, 2.0), expected)
        torch.testing.assert_close(class_weighted_kl(student, teacher, 2.0, equal), expected)

    def test_a_pixel_weighs_what_its_classes_do(self):
        """Two pixels, the teacher certain of class 0 and of class 1: their divergences, averaged 1 to 3."""
        student, teacher = noise(1, 2, 1, 2), torch.tensor([[60.0, -60.0], [-60.0, 60.0]], dtype=torch.float64)
        teacher = teacher.view(1, 2, 1, 2)
        apart = [soft_target_kl(student[..., i : i + 1], teacher[..., i : i + 1]) for i in range(2)]
        weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
        expected = (apart[0] + 3 * apart[1]) / 4
        torch.testing.assert_close(class_weighted_kl(student, teacher, 1.0, weights), expected)

    def test_the_scale_of_the_weights_changes_nothing(self):
        student, teacher, weights = noise(1, 3, 4, 5), noise(1, 3, 4, 5, seed=1), noise(3, seed=2).exp()
        one, ten = (class_weighted_kl(student, teacher, 2.0, factor * weights) for factor in (1, 10))
        torch.testing.assert_close(one, ten)

    def test_no_gradient_reaches_the_teacher(self):
        student, teacher = noise(1, 3, 4, 5).requires_grad_(), noise(1, 3, 4, 5, seed=1).requires_grad_()
        class_weighted_kl(student, teacher, 2.0, torch.ones(3, dtype=torch.float64)).backward()
        assert teacher.grad is None
        assert student.grad.abs().max() > 0

    def test_gradcheck(self):
        weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
        teacher = noise(1, 3, 2, 2, seed=1)
        student = noise(1, 3, 2, 2).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: class_weighted_kl(x, teacher, 2.0, weights), (student,))


class TestBestTeacher:
    def test_each_image_has_the_teacher_that_knows_its_labels(self):
        """Two teachers, each certain and right on one of two images."""
        target = torch.tensor([[[0, 1]], [[1, 0]]])
        right = 9 * torch.nn.functional.one_hot(target, 2).permute(0, 3, 1, 2).double()
        first, second = right.clone(), right.clone()
        first[1], second[0] = -first[1], -second[0]
        torch.testing.assert_close(best_teacher((first, second), target), right)

    def test_class_weights_decide_what_knowing_means(self):
        """One teacher misses the rare class at one pixel, the other the common one at two."""
        target = torch.tensor([[[0, 0, 1]]])
        right = 9 * torch.nn.functional.one_hot(target, 2).permute(0, 3, 1, 2).double()
        misses_rare, misses_common = right.clone(), right.clone()
        misses_rare[..., 2], misses_common[..., :2] = -right[..., 2], -right[..., :2]
        both = (misses_rare, misses_common)
        torch.testing.assert_close(best_teacher(both, target), misses_rare)
        weights = torch.tensor([1.0, 5.0], dtype=torch.float64)
        torch.testing.assert_close(best_teacher(both, target, weights), misses_common)

    def test_images_without_labels_have_the_mean(self):
        teachers = (noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1))
        mean = (teachers[0] + teachers[1]) / 2
        torch.testing.assert_close(best_teacher(teachers), mean)
        torch.testing.assert_close(best_teacher(teachers, torch.full((2, 4, 5), 255)), mean)

    def test_one_teacher_is_the_best(self):
        teacher = noise(2, 3, 4, 5)
        torch.testing.assert_close(best_teacher((teacher,), torch.zeros(2, 4, 5, dtype=torch.int64)), teacher)


class TestDenseKd:
    def test_several_teachers_teach_what_the_best_of_each_image_would(self, tiny_pair):
        student, teacher = tiny_pair.output(tiny_pair.student), tiny_pair.output(tiny_pair.teacher)
        worse = teacher._replace(logits=-teacher.logits)
        target = teacher.logits.argmax(1)
        one = DenseKd(DenseKdConfig(), tiny_pair.student, [tiny_pair.teacher])
        two = DenseKd(DenseKdConfig(), tiny_pair.student, [tiny_pair.teacher] * 2)
        expected = one(student, [teacher], target, 0)["soft_target_kl"]
        torch.testing.assert_close(two(student, [worse, teacher], target, 0)["soft_target_kl"], expected)

    def test_pixels_that_labels_ignore_teach_too(self, tiny_pair):
        student, teachers = tiny_pair.output(tiny_pair.student), [tiny_pair.output(tiny_pair.teacher)]
        method = DenseKd(DenseKdConfig(), tiny_pair.student, [tiny_pair.teacher])
        ignored = torch.full(student.logits[:, 0].shape, 255)
        one, none = (method(student, teachers, target, 0)["soft_target_kl"] for target in (ignored, None))
        torch.testing.assert_close(one, none)
        assert one > 0

    @pytest.mark.parametrize("weights", [(1.0, 2.0), (0.0,) * 5])
    def test_weights_must_fit_the_classes(self, tiny_pair, weights):
        with pytest.raises(TrainingError, match="dense_kd: class_weights are .*, expected . positive numbers"):
            DenseKd(DenseKdConfig(class_weights=weights), tiny_pair.student, [tiny_pair.teacher])
