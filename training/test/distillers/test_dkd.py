# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from road_kd_training.errors import TrainingError


class TestDkd:
    def test_a_pixel_by_hand(self, make_tiny_pair):
        pair = make_tiny_pair(num_classes=3)
        student, teachers = pair.outputs(batch=1)
        ours, theirs = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 3.0])
        student = student._replace(logits=ours.view(1, 3, 1, 1).expand(1, 3, 32, 48))
        teacher = teachers[0]._replace(logits=theirs.view(1, 3, 1, 1).expand(1, 3, 32, 48))
        terms = pair.build("dkd", temperature=2.0)(student, [teacher], torch.zeros(1, 32, 48, dtype=torch.long), 0)
        p, q = (theirs / 2).softmax(0), (ours / 2).softmax(0)
        pair_t, pair_s = torch.stack((p[0], 1 - p[0])), torch.stack((q[0], 1 - q[0]))
        rest_t, rest_s = (theirs[1:] / 2).softmax(0), (ours[1:] / 2).softmax(0)
        torch.testing.assert_close(terms["target"], 4 * (pair_t * (pair_t / pair_s).log()).sum())
        torch.testing.assert_close(terms["non_target"], 4 * (rest_t * (rest_t / rest_s).log()).sum())

    def test_the_non_target_term_gives_the_target_logit_no_gradient(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        target = tiny_pair.target()
        tiny_pair.build("dkd")(student, teachers, target, 0)["non_target"].backward()
        kept = target != 255
        one_hot = F.one_hot(target.where(kept, 0), 5).movedim(-1, 1).bool() & kept[:, None]
        assert student.logits.grad[one_hot].abs().max() == 0
        assert student.logits.grad.abs().max() > 0

    def test_warm_up_scales_both_terms(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        target = tiny_pair.target()
        plain = tiny_pair.build("dkd")(student, teachers, target, 0)
        warming = tiny_pair.build("dkd", warmup_steps=10)
        for step, share in ((0, 0.1), (4, 0.5), (9, 1.0), (99, 1.0)):
            terms = warming(student, teachers, target, step)
            for name in ("target", "non_target"):
                torch.testing.assert_close(terms[name], plain[name] * share)

    def test_two_classes_are_refused(self, make_tiny_pair):
        with pytest.raises(TrainingError, match="the student has 2 classes, expected at least 3"):
            make_tiny_pair(num_classes=2).build("dkd")

    def test_images_without_labels_are_refused(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        with pytest.raises(TrainingError, match="dkd: needs labels"):
            tiny_pair.build("dkd")(student, teachers, None, 0)
