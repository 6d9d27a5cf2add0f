# SPDX-License-Identifier: Apache-2.0
"""What holds for CWD, LIX and every baseline of their tables, beside the contract that holds for all methods."""

import pytest
import torch

from road_kd_seg.errors import ShapeMismatch
from road_kd_seg.networks import SegOutput
from road_kd_training.errors import TrainingError

TAPS = (("mid", "mid"), ("deep", "deep"))
FEATURES = (
    *("cwd", "arfd", "lix", "at", "pa", "sp", "rkd", "fitnet", "local", "ifvd"),
    *("nst", "vid", "pad", "ft", "afdcd", "diffkd"),
)
LOGITS = ("cwkd", "pi", "dkd", "dwld", "dist", "wsld", "maskd", "ho")
METHODS = FEATURES + LOGITS
BETWEEN_IMAGES = ("arfd", "lix", "sp", "rkd")
AT_RANDOM = ("afdcd", "diffkd", "ho")
BY_PIXEL = ("pi", "dkd", "dwld", "dist", "wsld")


@pytest.fixture
def build(tiny_pair):
    def build_method(name, **options):
        if name in FEATURES:
            options["taps"] = TAPS
        if name == "ho":
            options["width"] = 8
        return tiny_pair.build(name, **options)

    return build_method


def leaves(output):
    return (output.logits, *output.features.values())


@pytest.mark.parametrize("name", METHODS)
class TestEveryMethod:
    def test_terms_are_scalars_under_the_names_of_the_weights(self, tiny_pair, build, name):
        distiller = build(name)
        student, teachers = tiny_pair.outputs()
        terms = distiller(student, teachers, tiny_pair.target(), 0)
        assert set(terms) == set(distiller.default_weights)
        assert all(term.shape == () and term.dtype == torch.float32 and term.isfinite() for term in terms.values())

    def test_student_and_adapters_learn_and_teachers_do_not(self, tiny_pair, build, name):
        distiller = build(name)
        student, teachers = tiny_pair.outputs()
        sum(distiller(student, teachers, tiny_pair.target(), 0).values()).backward()
        gradients = [leaf.grad for leaf in leaves(student) if leaf.grad is not None]
        assert any(gradient.abs().max() > 0 for gradient in gradients)
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert all(parameter.grad is not None for parameter in distiller.parameters())
        assert all(leaf.grad is None for leaf in leaves(teachers[0]))

    def test_autocast_keeps_terms_finite(self, tiny_pair, build, name):
        student, teachers = tiny_pair.outputs()
        distiller = build(name)
        with torch.autocast("cpu", torch.bfloat16):
            terms = distiller(student, teachers, tiny_pair.target(), 0)
        sum(terms.values()).backward()
        assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())

    def test_constant_activations_stay_finite(self, tiny_pair, build, name):
        """A dead student and a dead teacher: no division by a norm of zero."""
        student, teachers = tiny_pair.outputs(scale=0.0)
        terms = build(name)(student, teachers, tiny_pair.target(), 0)
        sum(terms.values()).backward()
        assert all(term.isfinite() for term in terms.values())
        assert all(leaf.grad.isfinite().all() for leaf in leaves(student) if leaf.grad is not None)

    def test_a_batch_wholly_ignored_stays_finite(self, tiny_pair, build, name):
        student, teachers = tiny_pair.outputs()
        terms = build(name)(student, teachers, torch.full((3, 32, 48), 255), 0)
        sum(terms.values()).backward()
        assert all(term.isfinite() for term in terms.values())
        assert all(leaf.grad.isfinite().all() for leaf in leaves(student) if leaf.grad is not None)

    def test_other_batches_of_teacher_and_student_are_named(self, tiny_pair, build, name):
        student, _ = tiny_pair.outputs()
        _, teachers = tiny_pair.outputs(batch=2)
        with pytest.raises(ShapeMismatch, match=r"got shape \(3, \d+, \d+, \d+\), expected \(2, \d+, \d+, \d+\)"):
            build(name)(student, teachers, tiny_pair.target(), 0)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in BETWEEN_IMAGES + AT_RANDOM])
def test_doubling_the_batch_changes_nothing(tiny_pair, build, name):
    student, teachers = tiny_pair.outputs(batch=2)
    target = tiny_pair.target(batch=2)

    def double(output):
        features = {tap: torch.cat((x, x)) for tap, x in output.features.items()}
        return SegOutput(torch.cat((output.logits, output.logits)), features)

    distiller = build(name)
    once = distiller(student, teachers, target, 0)
    twice = distiller(double(student), [double(teachers[0])], torch.cat((target, target)), 0)
    torch.testing.assert_close(twice, once, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", FEATURES)
class TestFeatureMethods:
    def test_no_tap_at_all_is_refused(self, tiny_pair, name):
        with pytest.raises(TrainingError, match="no taps are configured"):
            tiny_pair.build(name, taps=())

    def test_logits_are_a_tap_too(self, tiny_pair, name):
        student, teachers = tiny_pair.outputs()
        terms = tiny_pair.build(name, taps=(("logits", "logits"),))(student, teachers, tiny_pair.target(), 0)
        sum(terms.values()).backward()
        assert student.logits.grad.abs().max() > 0


@pytest.mark.parametrize("name", BY_PIXEL)
class TestPixelMethods:
    def test_ignored_pixels_are_inert(self, tiny_pair, build, name):
        student, teachers = tiny_pair.outputs()
        target = tiny_pair.target()
        distiller = build(name)
        before = distiller(student, teachers, target, 0)
        sum(before.values()).backward()
        assert student.logits.grad[:, :, :6].abs().max() == 0
        changed, changed_teacher = tiny_pair.outputs(seed=7)
        ignored = (target == 255)[:, None]
        student = student._replace(logits=changed.logits.where(ignored, student.logits))
        teacher = teachers[0]._replace(logits=changed_teacher[0].logits.where(ignored, teachers[0].logits))
        torch.testing.assert_close(distiller(student, [teacher], target, 0), before)

    def test_wrong_logits_are_named(self, tiny_pair, build, name):
        student, teachers = tiny_pair.outputs()
        wrong = teachers[0]._replace(logits=torch.zeros(3, 4, 32, 48))
        with pytest.raises(ShapeMismatch, match=r"logits.*\(3, 4, 32, 48\)"):
            build(name)(student, [wrong], tiny_pair.target(), 0)
