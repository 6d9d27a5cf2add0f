# SPDX-License-Identifier: Apache-2.0
"""What every distillation method promises the engine."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from road_kd_seg.errors import ShapeMismatch
from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.networks import FeatureInfo, SegOutput
from road_kd_training.distillers import Distiller, NetworkInfo
from road_kd_training.errors import TrainingError
from road_kd_training.testing.checks import Check, expect, expect_error

HEIGHT, WIDTH, NUM_CLASSES = 32, 64, 5
LATE_STEP = 10**6
"""Past every warm-up."""


def check_distiller(
    kind: type[Distiller], taps: Sequence[tuple[str, str]] = (("mid", "mid"), ("deep", "deep")), **options: Any
) -> Iterator[Check]:
    """What every method promises the engine.

    Args:
        kind: the method.
        taps: used where its Config has `taps` without a default; names of `_TAPS`.
        **options: of its Config.
    """
    bench = _DistillerBench(kind, taps, options)
    needs = kind.needs
    yield Check("it says what it is", bench.says_what_it_is)
    yield Check("its terms are the announced finite scalars and teach the student", bench.teaches)
    yield Check("its terms are finite at the first step", partial(bench.is_finite, step=0))
    yield Check("bfloat16 activations give finite terms", partial(bench.teaches, dtype=torch.bfloat16))
    yield Check("huge activations give finite terms and gradients", bench.survives_huge_activations)
    yield Check("a batch of one works or is refused with a reason", bench.takes_or_refuses_one_sample)
    yield Check("one class alone in the image gives finite terms", partial(bench.is_finite, fill=0))
    yield Check("a batch without any label gives finite terms", partial(bench.is_finite, fill=IGNORE_INDEX))
    yield Check("logits of ignored pixels are inert in terms that use labels", bench.ignores_ignored_pixels)
    if needs.labels:
        yield Check("missing labels are refused", bench.refuses_missing_labels)
    else:
        yield Check("missing labels are taken", partial(bench.is_finite, labels=False))
    if not kind.trains_peers:
        yield Check("no gradient reaches a frozen teacher", bench.spares_teachers)
    if getattr(bench.config, "taps", None):
        yield Check("an unknown tap is refused before the first step", bench.refuses_unknown_tap)
    if needs.features and bench.first_tap not in (None, "logits"):
        yield Check("features of the wrong shape are named with their tap", bench.names_wrong_features)
    if needs.min_teachers:
        yield Check("a teacher too few is refused", bench.refuses_too_few_teachers)
        yield Check("a teacher of another taxonomy is refused", bench.refuses_another_taxonomy)


_TAPS = {
    **dict.fromkeys(("encoder1", "decoder2", "decoder"), 2),
    **dict.fromkeys(("encoder2", "block2", "mid"), 4),
    **dict.fromkeys(("encoder3", "encoder4", "encoder5", "block3", "pyramid", "aspp", "decoder4", "deep"), 8),
}
"""Names that methods have as defaults, and their strides."""
_STUDENT = NetworkInfo("small", NUM_CLASSES, {name: FeatureInfo(6, stride) for name, stride in _TAPS.items()})
_TEACHER = NetworkInfo("large", NUM_CLASSES, {name: FeatureInfo(10, max(2, s // 2)) for name, s in _TAPS.items()})


class _DistillerBench:
    """One method between a student and teachers whose outputs are noise."""

    def __init__(self, kind: type[Distiller], taps: Sequence[tuple[str, str]], options: Mapping[str, Any]) -> None:
        self.kind = kind
        self.config = _settings(kind, taps, options)
        chosen = getattr(self.config, "taps", None)
        first = chosen[0] if chosen else None
        self.first_tap = first if first is None or isinstance(first, str) else first[0]

    def says_what_it_is(self) -> None:
        expect(bool(self.kind.paper), "paper is empty")
        expect(bool(self.kind.__doc__), "it has no docstring")
        weights = self.kind.default_weights.values()
        expect(all(math.isfinite(weight) and weight >= 0 for weight in weights), "a default weight is negative")
        expect(any(weight > 0 for weight in weights), "all default weights are 0")

    def teaches(self, *, dtype: torch.dtype = torch.float32, batch: int = 3) -> None:
        student, teachers = self._outputs(batch, dtype=dtype)
        self._expect_gradient(self._terms(student, teachers, _target(batch)), student)

    def is_finite(self, *, step: int = LATE_STEP, fill: int | None = None, labels: bool = True) -> None:
        student, teachers = self._outputs()
        target = _target() if fill is None else torch.full_like(_target(), fill)
        self._expect_finite(self._terms(student, teachers, target if labels else None, step))

    def survives_huge_activations(self) -> None:
        student, teachers = self._outputs(scale=1e4)
        terms = self._terms(student, teachers, _target())
        self._expect_finite(terms)
        _total(terms).backward()
        gradients = [x.grad for x in (student.logits, *student.features.values()) if x.grad is not None]
        expect(all(bool(gradient.isfinite().all()) for gradient in gradients), "a gradient is not finite")

    def takes_or_refuses_one_sample(self) -> None:
        try:
            self.teaches(batch=1)
        except TrainingError as error:
            expect("batch" in str(error), f"the refusal of a batch of one does not say so: {error}")

    def ignores_ignored_pixels(self) -> None:
        student, teachers = self._outputs()
        target = _target()
        relabeled = torch.where(target == IGNORE_INDEX, target, (target + 1) % NUM_CLASSES)
        ignored = (target == IGNORE_INDEX)[:, None]
        before, other = (self._terms(student, teachers, labels) for labels in (target, relabeled))
        after = self._terms(_disturbed(student, ignored), [_disturbed(one, ignored) for one in teachers], target)
        for name in before:
            if before[name] != other[name]:
                # float32 sums over some thousand pixels may be taken in another order
                torch.testing.assert_close(after[name], before[name], rtol=1e-5, atol=1e-7, msg=name)

    def refuses_missing_labels(self) -> None:
        student, teachers = self._outputs()
        expect_error(lambda: self._terms(student, teachers, None), TrainingError, "label")

    def spares_teachers(self) -> None:
        student, teachers = self._outputs()
        _total(self._terms(student, teachers, _target())).backward()
        reached = [x.grad is not None for one in teachers for x in (one.logits, *one.features.values())]
        expect(not any(reached), "a gradient reaches the teacher: detach it")

    def refuses_unknown_tap(self) -> None:
        taps = self.config.taps
        wrong = "wing" if isinstance(taps[0], str) else ("wing", taps[0][1])
        config = dataclasses.replace(self.config, taps=(wrong, *taps[1:]))
        expect_error(lambda: self._build(config), TrainingError, "network 'small' has no tap 'wing': use one of")

    def names_wrong_features(self) -> None:
        student, teachers = self._outputs()
        wrong = SegOutput(student.logits, {name: x[:, :-1] for name, x in student.features.items()})
        expect_error(
            lambda: self._terms(wrong, teachers, _target()), ShapeMismatch, f"tap '{self.first_tap}' of 'small': got"
        )

    def refuses_too_few_teachers(self) -> None:
        few = self.kind.needs.min_teachers - 1
        expect_error(lambda: self.kind(self.config, _STUDENT, [_TEACHER] * few), TrainingError, f"got {few} teachers")

    def refuses_another_taxonomy(self) -> None:
        other = [dataclasses.replace(_TEACHER, num_classes=NUM_CLASSES + 1)] * self.kind.needs.min_teachers
        expect_error(lambda: self.kind(self.config, _STUDENT, other), TrainingError, f"has {NUM_CLASSES + 1} classes")

    def _build(self, config: Any) -> Distiller:
        torch.manual_seed(0)
        return self.kind(config, _STUDENT, [_TEACHER] * self.kind.needs.min_teachers)

    def _terms(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int = LATE_STEP
    ) -> dict[str, Tensor]:
        distiller = self._build(self.config)
        torch.manual_seed(1)  # of the methods that sample
        terms: dict[str, Tensor] = distiller(student, teachers, target, step)
        return terms

    def _outputs(
        self, batch: int = 3, *, dtype: torch.dtype = torch.float32, scale: float = 1.0
    ) -> tuple[SegOutput, list[SegOutput]]:
        seeds = itertools.count(1)
        infos = [_STUDENT, *[_TEACHER] * self.kind.needs.min_teachers]
        student, *teachers = (_noise(info, batch, next(seeds), dtype, scale) for info in infos)
        return student, teachers

    def _expect_finite(self, terms: Mapping[str, Tensor]) -> None:
        names, announced = set(terms), set(self.kind.default_weights)
        expect(names == announced, f"terms are {sorted(names)}, default_weights announce {sorted(announced)}")
        for name, term in terms.items():
            expect(term.shape == (), f"term {name} has shape {tuple(term.shape)}, expected a scalar")
            expect(bool(term.isfinite()), f"term {name} is {term}")

    def _expect_gradient(self, terms: Mapping[str, Tensor], student: SegOutput) -> None:
        self._expect_finite(terms)
        _total(terms).backward()
        gradients = [x.grad for x in (student.logits, *student.features.values()) if x.grad is not None]
        expect(all(bool(gradient.isfinite().all()) for gradient in gradients), "a gradient is not finite")
        expect(any(bool(gradient.abs().sum() > 0) for gradient in gradients), "no gradient reaches the student")


def _settings(kind: type[Distiller], taps: Sequence[tuple[str, str]], options: Mapping[str, Any]) -> Any:
    given = dict(options)
    for field in dataclasses.fields(kind.Config):
        if field.name == "taps" and field.default is field.default_factory is dataclasses.MISSING:
            given.setdefault("taps", tuple(taps))
    return kind.Config(**given)


def _noise(info: NetworkInfo, batch: int, seed: int, dtype: torch.dtype, scale: float) -> SegOutput:
    generator = torch.Generator().manual_seed(seed)

    def noise(channels: int, stride: int) -> Tensor:
        shape = (batch, channels, HEIGHT // stride, WIDTH // stride)
        return (torch.randn(shape, generator=generator) * scale).to(dtype).requires_grad_()

    return SegOutput(noise(info.num_classes, 1), {name: noise(*tap) for name, tap in info.feature_info.items()})


def _target(batch: int = 3) -> Tensor:
    """Class ids; class 4 is absent from the first sample, and the top rows are ignored."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, NUM_CLASSES, (batch, HEIGHT, WIDTH), generator=generator)
    target[0][target[0] == NUM_CLASSES - 1] = 0
    target[:, : HEIGHT // 4] = IGNORE_INDEX
    return target


def _disturbed(output: SegOutput, where: Tensor) -> SegOutput:
    noise = torch.randn(output.logits.shape, generator=torch.Generator().manual_seed(9))
    return output._replace(logits=output.logits + where * noise)


def _total(terms: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([term.float() for term in terms.values()]).sum()
