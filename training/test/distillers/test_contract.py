"""What every registered method promises the engine; a new method is covered by its line in DISTILLERS."""

import dataclasses
import math

import pytest
import torch

from road_kd_seg.errors import ShapeMismatch
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.networks import FeatureInfo, SegOutput
from road_kd_training.distillers import DISTILLERS, NetworkInfo
from road_kd_training.errors import TrainingError

HEIGHT, WIDTH, CLASSES = 32, 64, 5
LATE_STEP = 10**6  # past every warm-up
STRIDES = {
    "encoder1": 2,
    "encoder2": 4,
    "encoder3": 8,
    "encoder4": 8,
    "encoder5": 8,
    "block2": 4,
    "block3": 8,
    "pyramid": 8,
    "aspp": 8,
    "decoder4": 8,
    "decoder2": 2,
    "decoder": 2,
    "mid": 4,
    "deep": 8,
}
STUDENT = NetworkInfo("small", CLASSES, {name: FeatureInfo(6, stride) for name, stride in STRIDES.items()})
TEACHER = NetworkInfo("large", CLASSES, {name: FeatureInfo(10, max(2, s // 2)) for name, s in STRIDES.items()})

pytestmark = pytest.mark.parametrize("method", sorted(DISTILLERS))


def config_of(method, **changes):
    """The method's own defaults; taps where it has none."""
    config_class = DISTILLERS[method].Config
    for field in dataclasses.fields(config_class):
        if field.name == "taps" and field.default is field.default_factory is dataclasses.MISSING:
            changes.setdefault("taps", (("encoder3", "encoder3"), ("encoder5", "encoder5")))
    return config_class(**changes)


def build(method, config=None):
    torch.manual_seed(0)
    teachers = [TEACHER] * DISTILLERS[method].needs.min_teachers
    return DISTILLERS[method](config or config_of(method), STUDENT, teachers)


def output_of(info, batch, seed, scale=1.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)

    def noise(channels, stride):
        shape = (batch, channels, HEIGHT // stride, WIDTH // stride)
        return (torch.randn(shape, generator=generator) * scale).to(dtype).requires_grad_()

    return SegOutput(noise(info.num_classes, 1), {name: noise(*tap) for name, tap in info.feature_info.items()})


def outputs_of(method, batch=3, **options):
    teachers = range(DISTILLERS[method].needs.min_teachers)
    return output_of(STUDENT, batch, 1, **options), [output_of(TEACHER, batch, 2 + i, **options) for i in teachers]


def target_of(batch=3, seed=0):
    """Class 4 is absent from the first sample; the top rows are ignored."""
    target = torch.randint(0, CLASSES, (batch, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(seed))
    target[0][target[0] == CLASSES - 1] = 0
    target[:, : HEIGHT // 4] = IGNORE_INDEX
    return target


def terms_of(method, student, teachers, target, step=LATE_STEP):
    distiller = build(method)
    torch.manual_seed(1)  # of the methods that sample
    return distiller(student, teachers, target, step)


def assert_finite_with_gradient(terms, student):
    for name, term in terms.items():
        assert term.shape == (), name
        assert torch.isfinite(term), f"{name} is {term}"
    sum(terms.values()).backward()
    gradients = [x.grad for x in (student.logits, *student.features.values()) if x.grad is not None]
    assert gradients, "no gradient reaches the student"
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


def test_it_says_what_it_is(method):
    kind = DISTILLERS[method]
    assert kind.paper
    assert kind.__doc__
    assert all(math.isfinite(weight) and weight >= 0 for weight in kind.default_weights.values())
    assert any(weight > 0 for weight in kind.default_weights.values())


def test_terms_are_the_announced_finite_scalars_and_teach_the_student(method):
    student, teachers = outputs_of(method)
    terms = terms_of(method, student, teachers, target_of())
    assert set(terms) == set(DISTILLERS[method].default_weights)
    assert_finite_with_gradient(terms, student)


def test_terms_are_finite_at_the_first_step(method):
    student, teachers = outputs_of(method)
    terms = terms_of(method, student, teachers, target_of(), step=0)
    assert set(terms) == set(DISTILLERS[method].default_weights)
    assert all(torch.isfinite(term) for term in terms.values())


def test_no_gradient_reaches_a_frozen_teacher(method):
    if DISTILLERS[method].trains_peers:
        pytest.skip("its second network is a peer that learns too")
    student, teachers = outputs_of(method)
    sum(terms_of(method, student, teachers, target_of()).values()).backward()
    for teacher in teachers:
        assert all(x.grad is None for x in (teacher.logits, *teacher.features.values()))


def test_bfloat16_activations_give_finite_terms(method):
    student, teachers = outputs_of(method, dtype=torch.bfloat16)
    assert_finite_with_gradient(terms_of(method, student, teachers, target_of()), student)


def test_huge_activations_give_finite_terms(method):
    student, teachers = outputs_of(method, scale=1e4)
    terms = terms_of(method, student, teachers, target_of())
    assert all(torch.isfinite(term) for term in terms.values())
    sum(terms.values()).backward()
    for x in (student.logits, *student.features.values()):
        assert x.grad is None or torch.isfinite(x.grad).all()


def test_a_batch_of_one_works_or_is_refused_with_a_reason(method):
    student, teachers = outputs_of(method, batch=1)
    refusal = None
    try:
        terms = terms_of(method, student, teachers, target_of(batch=1))
    except TrainingError as error:
        refusal = str(error)
    if refusal is None:
        assert_finite_with_gradient(terms, student)
    else:
        assert "batch" in refusal


def test_one_class_alone_in_the_image_gives_finite_terms(method):
    student, teachers = outputs_of(method)
    terms = terms_of(method, student, teachers, torch.zeros_like(target_of()))
    assert all(torch.isfinite(term) for term in terms.values())


def test_a_batch_without_any_label_gives_finite_terms(method):
    student, teachers = outputs_of(method)
    terms = terms_of(method, student, teachers, torch.full_like(target_of(), IGNORE_INDEX))
    assert all(torch.isfinite(term) for term in terms.values())


def test_missing_labels_are_taken_unless_the_method_needs_them(method):
    student, teachers = outputs_of(method)
    if DISTILLERS[method].needs.labels:
        with pytest.raises(TrainingError, match="label"):
            terms_of(method, student, teachers, None)
    else:
        assert all(torch.isfinite(term) for term in terms_of(method, student, teachers, None).values())


def test_logits_of_ignored_pixels_are_inert_in_terms_that_use_labels(method):
    student, teachers = outputs_of(method)
    target = target_of()
    ignored = (target == IGNORE_INDEX)[:, None]
    before = terms_of(method, student, teachers, target)
    relabeled = terms_of(method, student, teachers, torch.where(target == IGNORE_INDEX, target, (target + 1) % CLASSES))
    student = student._replace(logits=student.logits + ignored * torch.randn_like(student.logits))
    teachers = [one._replace(logits=one.logits + ignored * torch.randn_like(one.logits)) for one in teachers]
    after = terms_of(method, student, teachers, target)
    for name in before:
        if before[name] != relabeled[name]:
            # float32 sums over some thousand pixels may be taken in another order
            torch.testing.assert_close(after[name], before[name], rtol=1e-5, atol=1e-7, msg=name)


def test_an_unknown_tap_is_refused_before_the_first_step(method):
    config = config_of(method)
    if not getattr(config, "taps", None):
        pytest.skip("it uses no taps")
    wrong = "wing" if isinstance(config.taps[0], str) else ("wing", config.taps[0][1])
    with pytest.raises(TrainingError, match=r"network 'small' has no tap 'wing': use one of encoder1"):
        build(method, dataclasses.replace(config, taps=(wrong, *config.taps[1:])))


def test_features_of_the_wrong_shape_are_named_with_their_tap_and_both_shapes(method):
    if not DISTILLERS[method].needs.features or not getattr(config_of(method), "taps", None):
        pytest.skip("it uses no taps")
    student, teachers = outputs_of(method)
    wrong = SegOutput(student.logits, {name: x[:, :-1] for name, x in student.features.items()})
    first = config_of(method).taps[0]
    name = first if isinstance(first, str) else first[0]
    if name == "logits":
        pytest.skip("its default tap is the logits")
    h, w = student.features[name].shape[-2:]
    message = rf"tap '{name}' of 'small': got shape \(3, 5, {h}, {w}\), expected \(3, 6, {h}, {w}\)"
    with pytest.raises(ShapeMismatch, match=message):
        terms_of(method, wrong, teachers, target_of())


def test_a_teacher_too_few_is_refused(method):
    needs = DISTILLERS[method].needs
    if needs.min_teachers == 0:
        pytest.skip("it needs no teacher")
    with pytest.raises(TrainingError, match=f"got {needs.min_teachers - 1} teachers"):
        DISTILLERS[method](config_of(method), STUDENT, [TEACHER] * (needs.min_teachers - 1))


def test_a_teacher_of_another_taxonomy_is_refused(method):
    needs = DISTILLERS[method].needs
    if needs.min_teachers == 0:
        pytest.skip("it needs no teacher")
    other = dataclasses.replace(TEACHER, num_classes=CLASSES + 1)
    with pytest.raises(TrainingError, match=f"has {CLASSES + 1} classes, the student {CLASSES}"):
        DISTILLERS[method](config_of(method), STUDENT, [other] * needs.min_teachers)
