# SPDX-License-Identifier: Apache-2.0
"""CPS: semi-supervised semantic segmentation with cross pseudo supervision (Chen et al., CVPR 2021).

The second network is a peer, of the student's architecture and another initialization, that learns from the
student as the student learns from it: its outputs carry gradient. The functions are `sslkd`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs
from road_kd_training.distillers.common.functional import check_same_shape, full_precision
from road_kd_training.distillers.sslkd import cross_pseudo_loss


def peer_logits(student: SegOutput, peers: Sequence[SegOutput]) -> list[Tensor]:
    """The logits of the student and its peers, at least in float32, all with their gradients.

    Raises:
        ShapeMismatch: a peer's logits have another shape.
    """
    for peer in peers:
        check_same_shape(
            "student logits against a peer's logits",
            student.logits,
            peer.logits,
            hint="feed all networks the same images and classes",
        )
    return [full_precision(one.logits) for one in (student, *peers)]


@dataclass(frozen=True)
class CpsConfig:
    """Settings of CPS: none beside its weight."""


class Cps(Distiller):
    """CPS (Chen et al., CVPR 2021): student and peer label every image, labeled or not, for each other.

    The term teaches both; the cross entropy of both on labeled images is the engine's. Weight 1.5 is the authors' for
    VOC; for Cityscapes they take 6.
    """

    Config = CpsConfig
    paper = "Chen et al., CVPR 2021"
    needs = Needs(unlabeled=True)
    default_weights: ClassVar = {"cross_pseudo_ce": 1.5}
    trains_peers = True

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; the peer's output carries gradient."""
        ours, peers = peer_logits(student, teachers)
        return {"cross_pseudo_ce": cross_pseudo_loss(ours, peers)}
