# SPDX-License-Identifier: Apache-2.0
"""IntRA-KD (Hou et al., CVPR 2020): Fig. 10, and what Sections 4.1 and 4.2 say of its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.experiments.base import Experiment, Metric, Protocol
from road_kd_training.experiments.intra_kd import (
    APOLLOSCAPE,
    CULANE,
    F1,
    HIGH,
    LLAMAS,
    MAP,
    MIDDLE,
    MIOU,
    erfnet_row,
    intra,
    student_row,
    teacher_row,
)

_LEVELS: Mapping[str, tuple[TapPair, ...]] = {"middle": (MIDDLE,), "high": (HIGH,), "both": (MIDDLE, HIGH)}
_TERMS: Mapping[str, tuple[str, tuple[int, ...], float, float]] = {
    "mu1": ("L_μ1", (1,), 0.1, 0.0),
    "mu2": ("L_μ2", (2,), 0.1, 0.0),
    "mu3": ("L_μ3", (3,), 0.1, 0.0),
    "moments": ("L_μ1 + L_μ2 + L_μ3", (1, 2, 3), 0.1, 0.0),
    "attention": ("L_a", (1, 2, 3), 0.0, 0.1),
}

FIG_10 = Experiment(
    id="intra_kd/fig10",
    title="IntRA-KD, Fig. 10: loss terms and levels of features",
    dataset="ApolloScape lane marks, test",
    metrics=(MIOU,),
    rows=(
        teacher_row({"mIoU": 46.6}),
        student_row({"mIoU": 40.4}),
        *(
            erfnet_row(
                f"{term}_{level}", f"{label}, {level}", {"mIoU": None}, intra(taps, moments, affinity, attention)
            )
            for term, (label, moments, affinity, attention) in _TERMS.items()
            for level, taps in _LEVELS.items()
        ),
        erfnet_row("all", "L_μ1 + L_μ2 + L_μ3 + L_a, both", {"mIoU": 43.2}, intra()),
    ),
    full=APOLLOSCAPE,
    notes=(
        "the figure's bars are not printed beyond 40.4 and 43.2; it says that all moments from both levels"
        " bring most, that high-level features bring more than middle-level ones, and that attention adds to affinity",
    ),
)


def _coefficients(id_: str, dataset: str, full: Protocol, metric: Metric, reported: Sequence[float]) -> Experiment:
    """`reported`: of ERFNet, and of IntRA-KD with each coefficient."""
    return Experiment(
        id=id_,
        title="IntRA-KD, Section 4.2: both loss coefficients",
        dataset=dataset,
        metrics=(metric,),
        rows=(
            teacher_row({}),
            student_row({metric.name: reported[0]}),
            *(
                erfnet_row(
                    f"alpha_{alpha:g}",
                    f"α1 = α2 = {alpha:.2f}",
                    {metric.name: value},
                    intra(affinity=alpha, attention=alpha),
                )
                for alpha, value in zip((0.05, 0.10, 0.15), reported[1:], strict=True)
            ),
        ),
        full=full,
    )


KERNEL_SIZE = Experiment(
    id="intra_kd/kernel_size",
    title="IntRA-KD, Section 4.1: the averaging kernel of the areas of interest",
    dataset="ApolloScape lane marks, test",
    metrics=(MIOU,),
    rows=(
        teacher_row({"mIoU": 46.6}),
        student_row({"mIoU": 40.4}),
        *(
            erfnet_row(
                f"kernel{size}",
                f"{size}x{size}" if size > 1 else "bare labels",
                {"mIoU": 43.2 if size == 5 else None},
                intra(kernel_size=size),
            )
            for size in (1, 3, 5, 7, 9, 15)
        ),
    ),
    full=APOLLOSCAPE,
    notes=(
        'the paper has 5x5 and says "our results are not sensitive to the kernel size", with no numbers: rows that'
        " differ by less than the table can tell apart agree with it",
    ),
)

EXPERIMENTS = (
    FIG_10,
    KERNEL_SIZE,
    _coefficients(
        "intra_kd/coefficients",
        "ApolloScape lane marks, test",
        APOLLOSCAPE,
        dataclasses.replace(MIOU, decimals=2),
        (40.4, 43.18, 43.20, 43.17),
    ),
    _coefficients(
        "intra_kd/coefficients_culane",
        "CULane, test",
        CULANE,
        dataclasses.replace(F1, decimals=2),
        (70.2, 72.36, 72.39, 72.38),
    ),
    _coefficients("intra_kd/coefficients_llamas", "LLAMAS, test", LLAMAS, MAP, (0.570, 0.597, 0.598, 0.598)),
)
