# SPDX-License-Identifier: Apache-2.0
"""The papers' metrics, from what one run scored. K classes; everything in percent unless it says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from road_kd_seg import metrics
from road_kd_seg.metrics import Counts

NAN = float("nan")


@dataclass(frozen=True)
class SetScore:
    """One test set."""

    counts: Counts
    """(K, K), truth by prediction, in pixels."""
    classes: Sequence[str]
    dataset_metrics: Mapping[str, float] = field(default_factory=dict)
    """The dataset's own metrics, e.g. CULane's f1."""


@dataclass(frozen=True)
class Outcome:
    """What is known of one finished run."""

    tests: Mapping[str, SetScore]
    """By the protocol's names; the first one is the table's own."""
    parameters: int
    gflops: float = NAN
    """Of a forward pass at the experiment's size, a multiplication and its addition counted as one, as papers do."""
    forward_ms: float = NAN
    """Median time of one forward pass, batch 1, timed beside the table's other networks."""

    @property
    def main(self) -> SetScore:
        """The table's own test set."""
        return next(iter(self.tests.values()))


Measure = Callable[[Outcome], float]


def of_all(derive: Callable[[Counts], float], *, test: str = "") -> Measure:
    """A number of all classes at once.

    Args:
        derive: `metrics.mean_iou`, `mean_f1`, `frequency_weighted_iou`, …
        test: name of the test set; empty for the table's own. NaN where a run has none of that name.
    """

    def measure(outcome: Outcome) -> float:
        score = outcome.tests.get(test) if test else outcome.main
        return NAN if score is None else 100 * derive(score.counts)

    return measure


def of_classes(names: Sequence[str], derive: Callable[[Counts], metrics.PerClass], *, test: str = "") -> Measure:
    """The mean over some classes of `of_class`."""
    measures = [of_class(name, derive, test=test) for name in names]
    return lambda outcome: sum(measure(outcome) for measure in measures) / len(measures)


def of_both(name: str, derive: Callable[[Counts], float]) -> Measure:
    """The same of one class and of all others as one: the mean over classes of a paper that knows two."""
    return lambda outcome: 100 * derive(against_rest(outcome.main, name))


def overall_accuracy(name: str) -> Measure:
    """Share of the pixels that are right, of one class against all others."""

    def measure(outcome: Outcome) -> float:
        counts = against_rest(outcome.main, name)
        return 100 * float(np.trace(counts) / counts.sum()) if counts.sum() else NAN

    return measure


def of_class(name: str, derive: Callable[[Counts], metrics.PerClass], *, test: str = "", rest: bool = False) -> Measure:
    """A number of one class against all others.

    Args:
        name: of the class.
        derive: `metrics.iou`, `precision`, `recall` or `f1`.
        test: name of the test set; empty for the table's own. NaN where a run has none of that name.
        rest: of the others instead, as if they were one class.
    """

    def measure(outcome: Outcome) -> float:
        score = outcome.tests.get(test) if test else outcome.main
        if score is None:
            return NAN
        counts, index = against_rest(score, name), 0 if rest else 1
        value = float(derive(counts)[index])
        # A class that occurs and is never predicted has a precision of 0, not none.
        return 0.0 if np.isnan(value) and counts[index].any() else 100 * value

    return measure


def false_positives(name: str, test: str) -> Measure:
    """Share of the pixels of a test set that are predicted as one class."""

    def measure(outcome: Outcome) -> float:
        score = outcome.tests.get(test)
        if score is None or not score.counts.sum():
            return NAN
        return 100 * float(score.counts[:, list(score.classes).index(name)].sum() / score.counts.sum())

    return measure


def dataset_metric(name: str, factor: float, stand_in: Measure) -> Measure:
    """The dataset's own metric, or, where a test set has none, another metric."""

    def measure(outcome: Outcome) -> float:
        value = outcome.main.dataset_metrics.get(name)
        return stand_in(outcome) if value is None else factor * value

    return measure


def box_metric(name: str) -> Measure:
    """One of COCO's metrics."""
    return lambda outcome: 100 * outcome.main.dataset_metrics.get(name, NAN)


def frames_per_second(outcome: Outcome) -> float:
    """Of one image at a time, see `Outcome.forward_ms`."""
    return 1000 / outcome.forward_ms


def parameters_m(outcome: Outcome) -> float:
    """Millions."""
    return outcome.parameters / 1e6


def gflops(outcome: Outcome) -> float:
    """See `Outcome.gflops`."""
    return outcome.gflops


def forward_ms(outcome: Outcome) -> float:
    """See `Outcome.forward_ms`."""
    return outcome.forward_ms


def share(measure: Measure) -> Measure:
    """The same between 0 and 1."""
    return lambda outcome: measure(outcome) / 100


def against_rest(score: SetScore, name: str) -> Counts:
    """(2, 2) counts of all other classes (0) and the named one (1)."""
    is_class = np.array([other == name for other in score.classes])
    fold = np.stack([~is_class, is_class]).astype(np.int64)
    folded: Counts = fold @ score.counts @ fold.T
    return folded
