"""What every registered method is and asks for, as data: for `road-kd list distillers` and the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from road_kd_training.distillers import DISTILLERS
from road_kd_training.distillers.common.base import Needs


@dataclass(frozen=True)
class MethodSummary:
    """One method."""

    name: str
    """As recipes call it."""
    paper: str
    """Authors, venue, year."""
    needs: Needs
    """Features, labels, unlabeled images, teachers and classes."""
    terms: Mapping[str, float]
    """Default weight of each term of its loss."""

    def describe_needs(self) -> str:
        """Such as "features, labels, 1 teacher, 3 classes or more"."""
        needs = self.needs
        words = [word for word in ("features", "labels") if getattr(needs, word)]
        if needs.unlabeled:
            words.append("unlabeled images")
        words.append(_teachers(needs))
        if needs.min_classes > 1:
            words.append(f"{needs.min_classes} classes or more")
        return ", ".join(words)

    def describe_terms(self) -> str:
        """Such as "target 1, non_target 8"."""
        return ", ".join(f"{term} {weight:g}" for term, weight in self.terms.items())


def summarize_methods() -> list[MethodSummary]:
    """Every registered method, by name."""
    return [
        MethodSummary(name, kind.paper, kind.needs, dict(kind.default_weights))
        for name, kind in sorted(DISTILLERS.items())
    ]


def _teachers(needs: Needs) -> str:
    if needs.max_teachers == 0:
        return "no teacher"
    if needs.min_teachers == needs.max_teachers:
        return "1 teacher" if needs.max_teachers == 1 else f"{needs.max_teachers} teachers"
    return f"{needs.min_teachers} to {needs.max_teachers} teachers"
