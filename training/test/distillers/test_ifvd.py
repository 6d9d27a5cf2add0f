# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from noise import noise
from road_kd_training.distillers.ifvd import intra_class_similarity
from road_kd_training.errors import TrainingError


class TestIntraClassSimilarity:
    def test_three_pixels_by_hand(self):
        """Class 0 has (1, 0) and (0, 1), whose prototype lies at 45° to both; class 1 has one pixel, its own."""
        features = torch.tensor([[1.0, 0.0, 3.0], [0.0, 1.0, 4.0]]).view(1, 2, 1, 3)
        labels = torch.tensor([[[0, 0, 1]]])
        expected = torch.tensor([[[0.5**0.5, 0.5**0.5, 1.0]]])
        torch.testing.assert_close(intra_class_similarity(features, labels, 2), expected)

    def test_equals_the_loop_of_the_definition(self):
        """With a class absent from one image and ignored pixels."""
        features = noise(2, 3, 4, 5)
        labels = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
        labels[0][labels[0] == 2] = 0
        labels[:, 0] = 255
        expected = torch.zeros(2, 4, 5, dtype=torch.float64)
        for image in range(2):
            for index in range(3):
                mask = labels[image] == index
                if mask.any():
                    pixels = features[image][:, mask]
                    expected[image][mask] = F.cosine_similarity(pixels, pixels.mean(1, keepdim=True), dim=0)
        torch.testing.assert_close(intra_class_similarity(features, labels, 3), expected)

    def test_gradcheck(self):
        labels = torch.tensor([[[0, 0, 1], [1, 255, 0]]])
        features = noise(1, 2, 2, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: intra_class_similarity(x, labels, 3), features)


class TestIfvd:
    def test_ignored_cells_are_inert(self, tiny_pair):
        ifvd = tiny_pair.build("ifvd", taps=(("mid", "mid"),))
        student, teachers = tiny_pair.outputs()
        target = tiny_pair.target()
        target[:, :16] = 255
        before = ifvd(student, teachers, target, 0)
        before["intra_class_variation"].backward()
        assert student.features["mid"].grad[:, :, :4].abs().max() == 0
        changed = student.features["mid"].detach().clone()
        changed[:, :, :4] += 10
        student = student._replace(features={**student.features, "mid": changed})
        torch.testing.assert_close(ifvd(student, teachers, target, 0), before)

    def test_scaling_the_student_changes_nothing(self, tiny_pair):
        ifvd = tiny_pair.build("ifvd", taps=(("deep", "deep"),))
        student, teachers = tiny_pair.outputs()
        scaled = student._replace(features={name: 100 * x for name, x in student.features.items()})
        target = tiny_pair.target()
        torch.testing.assert_close(ifvd(scaled, teachers, target, 0), ifvd(student, teachers, target, 0))

    def test_images_without_labels_are_refused(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        with pytest.raises(TrainingError, match="ifvd: needs labels"):
            tiny_pair.build("ifvd", taps=(("deep", "deep"),))(student, teachers, None, 0)
