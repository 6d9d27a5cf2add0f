# SPDX-License-Identifier: Apache-2.0
"""One method of each of the five papers as rows of our own tables, at the papers' weights and at an equal share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.distillers.common.taps import LOGITS_TO_LOGITS
from road_kd_training.experiments.base import Method, Row

EQUAL_SHARE = 1.0
"""Of the gradient: each method pulls as much as the cross entropy does."""
AT_EQUAL_SHARE = "At an equal share of the gradient, and with labels"
AT_PAPERS_WEIGHTS = "At the papers' weights"

CWD_LOGITS = Method("cwd", {"taps": LOGITS_TO_LOGITS, "temperature": 4.0}, {"channel_kl": 3.0})
"""As the authors' README has it for logits."""


def methods_of_the_papers(
    deep: Sequence[TapPair], every: Sequence[TapPair], *, feature_teacher: int = 0
) -> Mapping[str, tuple[str, Method]]:
    """Label and method by key.

    Args:
        deep: the end of the encoders, what SSLKD and IntRA-KD compare.
        every: taps along the network, from the encoders to the decoders, what CPKD and LIX compare.
        feature_teacher: which of SSLKD's two teachers has the student's architecture.
    """
    sslkd = {"taps": tuple(deep), "feature_teacher": feature_teacher}
    return {
        "cpkd": ("CPKD", Method("cpkd", {"taps": tuple(every)})),
        "sslkd": ("SSLKD", Method("sslkd", sslkd)),
        "intra_kd": ("IntRA-KD", Method("intra_kd", {"taps": tuple(deep)})),
        "cwd": ("CWD", CWD_LOGITS),
        "lix": ("LIX", Method("lix", {"taps": tuple(every)})),
    }


def rows_of_the_papers(
    methods: Mapping[str, tuple[str, Method]], *, share: float | None = None, **fields: Any
) -> Iterator[Row]:
    """A row for each method; keys end in `_share` where weights are scaled.

    Args:
        methods: as `methods_of_the_papers` has them. CPKD learns without labels at its paper's weights.
        share: see `Row.gradient_share`; None for the papers' weights.
        fields: of every row.
    """
    for key, (label, method) in methods.items():
        yield Row(
            key if share is None else f"{key}_share",
            f"+ {label}",
            "distilled",
            methods=(method,),
            teachers=("teacher", "teacher2") if key == "sslkd" else ("teacher",),
            cross_entropy=0.0 if key == "cpkd" and share is None else 1.0,
            gradient_share=share,
            group=AT_PAPERS_WEIGHTS if share is None else AT_EQUAL_SHARE,
            **fields,
        )
