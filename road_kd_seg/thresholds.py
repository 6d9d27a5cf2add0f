# SPDX-License-Identifier: Apache-2.0
"""Thresholds of obstacle classes: from which probability on a pixel is one, though another class is likelier.

They lie beside a bundle's weights as an attachment, with what they promise. They only add obstacles: a pixel that is an
obstacle without them stays one. H W size of the camera's image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import cv2
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from road_kd_seg.bundle import ATTACHMENTS, Bundle
from road_kd_seg.classify import probabilities_of
from road_kd_seg.errors import BundleError, RoadKdError
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.ground import beyond_depth
from road_kd_seg.plain_data import Field, parse_yaml
from road_kd_seg.taxonomy import Role, Taxonomy

KEY = "thresholds"
"""Of the bundle's attachment."""
_MAX_BLOCKS = 1_000_000


@dataclass(frozen=True, slots=True)
class ClassThreshold:
    """Of one obstacle class."""

    probability: float
    blocks: int
    """Blocks with this class that it was picked on."""


@dataclass(frozen=True)
class Thresholds:
    """A bundle's thresholds and their promise: of another block of such a drive, at most `max_missed` of a class's
    pixels are labeled as no obstacle, with a probability of `share`."""

    max_missed: float
    share: float
    block_s: float
    """Length of a block of frames, seconds."""
    precision: str
    """Of the engine that ran."""
    recording: str
    """Name of the labeled drive."""
    classes: Mapping[str, ClassThreshold] = field(default_factory=dict)
    """By name; classes without a threshold have no promise."""

    def to_yaml(self) -> bytes:
        """The attachment's content."""
        return yaml.safe_dump(asdict(self), sort_keys=False).encode()

    def by_id(self, taxonomy: Taxonomy) -> dict[int, np.float32]:
        """Probability by class id; in float32, as networks give theirs."""
        return {c.id: np.float32(self.classes[c.name].probability) for c in taxonomy.classes if c.name in self.classes}


def read_thresholds(bundle: Bundle) -> Thresholds | None:
    """The thresholds of a bundle; None if it has none.

    Raises:
        BundleError: they cannot be read, or are of classes that are no obstacles of this bundle.
    """
    if KEY not in bundle.attachments:
        return None
    obstacles = [c.name for c in bundle.taxonomy.classes if c.role is Role.OBSTACLE]
    try:
        data = Field(parse_yaml(bundle.read_attachment(KEY), "it"), "")
        classes = data["classes"]
        return Thresholds(
            max_missed=data["max_missed"].number(0, 1),
            share=data["share"].number(0, 1),
            block_s=data["block_s"].number(0.001, 1e6),
            precision=data["precision"].text(),
            recording=data["recording"].text(),
            classes={
                Field(name, "a class").choice(obstacles): ClassThreshold(
                    classes[name]["probability"].number(0, 1), classes[name]["blocks"].integer(1, _MAX_BLOCKS)
                )
                for name in classes.map()
            },
        )
    except RoadKdError as error:
        raise BundleError(
            f"model bundle {bundle.path}: {ATTACHMENTS[KEY]}: {error}: write it again with replay_eval --calibrate"
        ) from error


class ObstacleRaiser:
    """Applies thresholds to what a bundle's network gives."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._table = bundle.taxonomy.role_table(Role.OBSTACLE)

    def raised(
        self,
        label: NDArray[np.uint8],
        logits: Tensor,
        frame: RgbdFrame,
        thresholds: Mapping[int, np.float32],
    ) -> NDArray[np.uint8]:
        """The label with obstacles where their probability reaches its threshold; of several, the one furthest above.

        Args:
            label: (H, W) class ids, which is changed.
            logits: (1, K, h, w), of this frame.
            frame: what was segmented.
            thresholds: by class id.
        """
        if not thresholds or not self._may_reach(logits, thresholds):
            return label
        best = np.ones(label.shape, np.float32)
        for class_id, scores in self.scores(label, logits, frame, list(thresholds)).items():
            threshold = thresholds[class_id]
            reached = np.isfinite(scores) & (scores >= threshold)
            excess = np.where(reached, scores / max(threshold, np.float32(1e-6)), 0)
            chosen = reached & (excess >= best)
            label[chosen], best[chosen] = class_id, excess[chosen]
        return label

    def scores(
        self, label: NDArray[np.uint8], logits: Tensor, frame: RgbdFrame, class_ids: list[int]
    ) -> dict[int, NDArray[np.float32]]:
        """By class: the highest threshold at which each pixel is labeled as an obstacle, (H, W).

        Its probability; inf where it is an obstacle without any, -inf where no threshold makes it one, because a hole
        that begins where depth ends is none.
        """
        anyway = cv2.LUT(label, self._table) > 0
        every = probabilities_of(class_ids, logits, frame.size, self._bundle.input)[0].cpu().numpy()
        found = {}
        for class_id, probability in zip(class_ids, every, strict=True):
            scores = np.where(anyway, np.float32(np.inf), probability)
            if (
                class_id in self._bundle.taxonomy.negative_ids
                and self._bundle.input.depth is not None
                and frame.depth_m is not None
            ):
                scores[beyond_depth(frame.depth_m) & ~anyway] = -np.inf
            found[class_id] = scores
        return found

    @staticmethod
    def _may_reach(logits: Tensor, thresholds: Mapping[int, np.float32]) -> bool:
        """Whether a threshold is reached anywhere: upsampling never exceeds what lies around."""
        highest = torch.softmax(logits, 1).amax((0, 2, 3))
        return any(float(highest[class_id]) >= threshold - 1e-4 for class_id, threshold in thresholds.items())
