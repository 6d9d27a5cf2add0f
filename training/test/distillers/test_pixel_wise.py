# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from road_kd_training.distillers.soft_targets import soft_target_kl


class TestPi:
    def test_one_pixel_by_hand(self, make_tiny_pair):
        """Two classes, logits (0, ln 3) against (0, 0): ½ ln(½ / ¼) + ½ ln(½ / ¾) at every pixel."""
        pair = make_tiny_pair(num_classes=2)
        student, teachers = pair.outputs(batch=1)
        logits = torch.tensor([0.0, math.log(3.0)]).view(1, 2, 1, 1).expand(1, 2, 32, 48)
        student, teacher = student._replace(logits=logits), teachers[0]._replace(logits=torch.zeros(1, 2, 32, 48))
        expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
        assert pair.build("pi")(student, [teacher], None, 0)["pixel_kl"].item() == pytest.approx(expected, rel=1e-5)

    def test_without_labels_every_pixel_counts(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        value = tiny_pair.build("pi", temperature=2.0)(student, teachers, None, 0)["pixel_kl"]
        torch.testing.assert_close(value, soft_target_kl(student.logits, teachers[0].logits, 2.0))

    def test_gradcheck(self, tiny_pair):
        pi = tiny_pair.build("pi", taps=(("mid", "mid"),))
        target = torch.tensor([[[0, 255], [1, 2]]])
        generator = torch.Generator().manual_seed(0)
        student, teacher = torch.randn((2, 1, 3, 2, 2), generator=generator, dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda x: pi.compare(0, x, teacher, target), student.requires_grad_())
