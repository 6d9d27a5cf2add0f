# SPDX-License-Identifier: Apache-2.0
"""Requirements such as `iou/negative_obstacle>=0.6`, checked against a report."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from road_kd_seg.errors import RoadKdError

PER_CLASS = ("iou", "precision", "recall", "f1", "boundary_f1", "object_recall")
"""Quantities of one class, as `iou/CLASS`."""
BANDED = ("recall", "object_recall")
"""Those that `@NEAR-FARm` restricts to a range of distances."""
OVERALL = ("miou", "fwiou", "boundary_f1", "predicted")
"""`predicted` is the share of the bag's color images that got a prediction."""
LATENCY = ("p50", "p95", "p99", "mean", "max")

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_PATTERN = re.compile(
    r"(?P<quantity>\w+)(?:/(?P<name>[\w-]+))?(?:@(?P<near>[\d.]+)-(?P<far>[\d.]+|inf)m)?"
    r"\s*(?P<operator>>=|<=|>|<)\s*(?P<bound>[-+.\deE]+)"
)


@dataclass(frozen=True, slots=True)
class Gate:
    """One requirement."""

    text: str
    """As it was given."""
    quantity: str
    name: str
    """A class, a percentile of the latency, or empty."""
    band_m: tuple[float, float] | None
    operator: str
    bound: float

    def check(self, report: dict[str, Any]) -> GateResult:
        """Whether a report meets it; a quantity that was not measured does not."""
        value = self._value(report)
        met = value is not None and _OPERATORS[self.operator](value, self.bound)
        return GateResult(self.text, value, met)

    def _value(self, report: dict[str, Any]) -> float | None:
        if self.quantity == "latency_ms":
            return _number(report["latency_ms"][self.name])
        if self.quantity == "predicted":
            frames = report["frames"]
            return frames["published"] / frames["sent"] if frames["sent"] else None
        metrics = report["metrics"]
        if metrics is None:
            return None
        if self.band_m is not None:
            row = next((row for row in metrics["by_distance"] if row["band_m"] == list(self.band_m)), None)
            return None if row is None else _number(row[self.quantity].get(self.name))
        if not self.name:
            return _number(metrics["mean_boundary_f1" if self.quantity == "boundary_f1" else self.quantity])
        return _number(metrics[self.quantity].get(self.name))


@dataclass(frozen=True, slots=True)
class GateResult:
    """What became of a requirement."""

    gate: str
    value: float | None
    met: bool

    def __str__(self) -> str:
        found = "not measured" if self.value is None else f"{self.value:.4g}"
        return f"{self.gate}: {'met' if self.met else 'NOT MET'}, measured {found}"


def parse_gate(text: str, class_names: Sequence[str]) -> Gate:
    """Read a requirement: `QUANTITY[/NAME][@NEAR-FARm] OPERATOR NUMBER`.

    Args:
        text: for example `recall/negative_obstacle@0-5m>=0.9` or `latency_ms/p99<=50`.
        class_names: the model's.

    Raises:
        RoadKdError: it cannot be read, or names a quantity or class that there is not; found before the run.
    """
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise RoadKdError(
            f"--require '{text}': expected QUANTITY/NAME>=NUMBER, such as 'iou/{class_names[-1]}>=0.6',"
            f" 'recall/{class_names[-1]}@0-5m>=0.9' or 'latency_ms/p99<=50'"
        )
    quantity, name = match["quantity"], match["name"] or ""
    known = {f"{q}/{c}" for q in PER_CLASS for c in class_names} | {f"latency_ms/{p}" for p in LATENCY} | set(OVERALL)
    if (f"{quantity}/{name}" if name else quantity) not in known:
        raise RoadKdError(
            f"--require '{text}': '{quantity}{'/' + name if name else ''}' is not measured:"
            f" expected {', '.join(OVERALL)}, latency_ms/{{{','.join(LATENCY)}}}"
            f" or {{{','.join(PER_CLASS)}}}/{{{','.join(class_names)}}}"
        )
    try:
        band_m = (float(match["near"]), float(match["far"])) if match["near"] else None
        bound = float(match["bound"])
    except ValueError as error:
        raise RoadKdError(f"--require '{text}': {error}") from error
    if not math.isfinite(bound):
        raise RoadKdError(f"--require '{text}': {bound} is no bound, expected a finite number")
    if band_m is not None and (quantity not in BANDED or not band_m[0] < band_m[1]):
        raise RoadKdError(
            f"--require '{text}': a distance goes with {' or '.join(BANDED)} of a class, the nearer end first: @0-5m"
        )
    return Gate(text.strip(), quantity, name, band_m, match["operator"], bound)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
