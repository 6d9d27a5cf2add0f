"""CPS: semi-supervised semantic segmentation with cross pseudo supervision (Chen et al., CVPR 2021).

The second network is a peer, of the student's architecture and another initialization, that learns from the
student as the student learns from it: its outputs carry gradient. The functions are `sslkd`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.frame import IGNORE_INDEX
from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.common.functional import check_same_shape, full_precision, mean_over, valid_pixels
from road_kd_training.distillers.sslkd import cross_pseudo_loss


def supervised_loss(logits: Sequence[Tensor], target: Tensor | None) -> Tensor:
    """Cross entropy of several networks against the ground truth, added; 0 without labels.

    Args:
        logits: (B, K, H, W) each.
        target: class ids (B, H, W), 255 = ignore, or None.
    """
    if target is None:
        return logits[0].new_zeros(())
    losses = [F.cross_entropy(one, target, ignore_index=IGNORE_INDEX, reduction="none") for one in logits]
    return torch.stack([mean_over(loss, valid_pixels(target)) for loss in losses]).sum()


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

    `cross_pseudo_ce` teaches both; `peer_ce` is the peer's own cross entropy on labeled images, as the student's
    is the engine's. Weight 1.5 is the authors' for VOC; for Cityscapes they take 6.
    """

    paper: ClassVar[str] = "Chen et al., CVPR 2021"
    needs: ClassVar[Needs] = Needs(unlabeled=True)
    default_weights: ClassVar[Mapping[str, float]] = {"cross_pseudo_ce": 1.5, "peer_ce": 1.0}
    trains_peers: ClassVar[bool] = True
    """The "teachers" learn too: give them gradient, and the optimizer their parameters."""
    config: CpsConfig

    def __init__(self, config: CpsConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; the peer's output carries gradient."""
        ours, peers = peer_logits(student, teachers)
        return {"cross_pseudo_ce": cross_pseudo_loss(ours, peers), "peer_ce": supervised_loss([peers], target)}
