# SPDX-License-Identifier: Apache-2.0
"""torchvision's detectors with a feature pyramid, whose levels can be distilled. B batch, C channels, H W size."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torchvision.models import get_model_weights
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from road_kd_seg.bundle import WEIGHTS
from road_kd_seg.errors import RoadKdError
from road_kd_seg.files import read_file, write_file
from road_kd_seg.networks import FeatureInfo
from road_kd_seg.plain_data import MAX_BYTES, Field, parse_json
from road_kd_seg.weights import read_weights
from road_kd_training.errors import TrainingError, suggest

DESCRIPTION = "detector.json"
CHANNELS = 256
"""Of every level."""
PRETRAINED_LAYERS = 3
"""Of five that learn where the backbone starts from ImageNet weights: its stem and first stage stay."""
MAX_DETECTIONS = 100
"""Per image, as many as COCO counts."""
_MAX_BYTES = 2_000_000_000

Target = dict[str, Tensor]
"""Of one image: `boxes` (N, 4), `labels` (N,) from 1. Of a detection also `scores` (N,)."""


@dataclass(frozen=True)
class DetectorSpec:
    """What a detector is, as its description on disk has it."""

    name: str
    """In `DETECTORS`."""
    class_names: list[str]
    sides: tuple[int, int]
    """Pixels that an image's shorter side is resized to, and what its longer one may have at most."""
    provenance: dict[str, Any] = field(default_factory=dict)


class Detector(nn.Module):
    """A detector that shows its pyramid; images are lists of (3, H, W) from 0 to 1.

    Args:
        model: with random weights, or those of ImageNet in its backbone.
        finest: number of its finest level: 2 has stride 4, 3 has stride 8.
        num_classes: K, without background.
    """

    def __init__(self, model: FasterRCNN | RetinaNet, finest: int, num_classes: int) -> None:
        super().__init__()
        self.model = model
        self.num_classes = num_classes
        self.feature_info = {f"p{level}": FeatureInfo(CHANNELS, 2**level) for level in range(finest, finest + 5)}

    @property
    def num_parameters(self) -> int:
        """Of all weights, those of frozen norms included."""
        frozen = [buffer for name, buffer in self.named_buffers() if name.endswith((".weight", ".bias"))]
        return sum(tensor.numel() for tensor in (*self.parameters(), *frozen))

    def pyramid(self, images: Sequence[Tensor]) -> dict[str, Tensor]:
        """Every level (B, C, H / stride, W / stride) by name, finest first."""
        batch, _ = self.model.transform(list(images), None)
        return self._pyramid(batch.tensors)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The detector's own losses by name, and its pyramid, from one pass."""
        batch, resized = self.model.transform(list(images), list(targets))
        levels = self._pyramid(batch.tensors)
        if isinstance(self.model, RetinaNet):
            maps = list(levels.values())
            anchors = self.model.anchor_generator(batch, maps)
            return self.model.compute_loss(resized, self.model.head(maps), anchors), levels
        proposals, of_proposals = self.model.rpn(batch, levels, resized)
        named = {f"{index}": level for index, level in enumerate(levels.values())}  # as its box head knows them
        _, of_boxes = self.model.roi_heads(named, proposals, batch.image_sizes, resized)
        return {**of_proposals, **of_boxes}, levels

    def detect(self, images: Sequence[Tensor]) -> list[Target]:
        """Boxes, classes and scores of each image, in its own pixels."""
        with torch.inference_mode():
            found: list[Target] = self.eval().model(list(images))
        return found

    def _pyramid(self, batch: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.feature_info, self.model.backbone(batch).values(), strict=True))


def _retinanet(options: Mapping[str, Any], num_classes: int, **sizes: int) -> Detector:
    """Lin et al., ICCV 2017: levels 3 to 7, the sixth from the backbone's last map."""
    last = 512 if options["backbone_name"] == "resnet18" else 2048
    backbone = resnet_fpn_backbone(**options, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(last, CHANNELS))
    return Detector(RetinaNet(backbone, num_classes + 1, detections_per_img=MAX_DETECTIONS, **sizes), 3, num_classes)


def _faster_rcnn(options: Mapping[str, Any], num_classes: int, **sizes: int) -> Detector:
    """Ren et al., PAMI 2017, with the pyramid of Lin et al., CVPR 2017: levels 2 to 6."""
    backbone = resnet_fpn_backbone(**options)
    model = FasterRCNN(backbone, num_classes + 1, box_detections_per_img=MAX_DETECTIONS, **sizes)
    return Detector(model, 2, num_classes)


_FAMILIES = {"retinanet": _retinanet, "faster_rcnn": _faster_rcnn}
_BACKBONES = {"r18": "resnet18", "r50": "resnet50", "x101": "resnext101_64x4d"}
DETECTORS: Mapping[str, tuple[str, str]] = {
    f"{family}_{short}": (family, backbone) for family in _FAMILIES for short, backbone in _BACKBONES.items()
}
"""Family and backbone of every detector by name."""


def build_detector(
    name: str,
    num_classes: int,
    *,
    sides: tuple[int, int],
    pretrained: bool = False,
    frozen_norms: bool = False,
) -> Detector:
    """Build a detector.

    Args:
        name: in `DETECTORS`.
        num_classes: K, without background.
        sides: see `DetectorSpec`.
        pretrained: take the backbone's ImageNet weights, and leave its stem, first stage and batch norms as they are.
        frozen_norms: batch norms without statistics of their own, as a trained detector has them.

    Raises:
        TrainingError: an unknown name.
    """
    if name not in DETECTORS:
        raise TrainingError(f"detector '{name}' is unknown: {suggest(name, DETECTORS)}")
    family, backbone = DETECTORS[name]
    options = {
        "backbone_name": backbone,
        "weights": get_model_weights(backbone)["IMAGENET1K_V1"] if pretrained else None,
        "norm_layer": FrozenBatchNorm2d if pretrained or frozen_norms else nn.BatchNorm2d,
        "trainable_layers": PRETRAINED_LAYERS if pretrained else 5,
    }
    return _FAMILIES[family](options, num_classes, min_size=sides[0], max_size=sides[1])


def save_detector(folder: Path, detector: Detector, spec: DetectorSpec) -> None:
    """Write weights and description.

    Raises:
        TrainingError: the folder cannot be written.
    """
    state = detector.state_dict()
    weights = {name: value.contiguous() for name, value in state.items() if not name.endswith("num_batches_tracked")}
    write_file(folder / WEIGHTS, save(weights), error=TrainingError)
    write_file(folder / DESCRIPTION, (json.dumps(asdict(spec), indent=1) + "\n").encode(), error=TrainingError)


def load_detector(folder: Path) -> tuple[Detector, DetectorSpec]:
    """A trained detector, in eval mode.

    Raises:
        TrainingError: files that are missing or do not fit.
    """
    try:
        described = Field(parse_json(read_file(folder / DESCRIPTION, MAX_BYTES), "it"), "")
        height, width = (side.integer(8, 4096) for side in described["sides"].items(2, 2))
        spec = DetectorSpec(
            described["name"].choice(DETECTORS),
            [name.text() for name in described["class_names"].items(1, 1000)],
            (height, width),
            described["provenance"].map(),
        )
        weights = read_file(folder / WEIGHTS, _MAX_BYTES)
        detector = build_detector(spec.name, len(spec.class_names), sides=spec.sides, frozen_norms=True)
        detector.load_state_dict(read_weights(weights, detector.state_dict()))
    except RoadKdError as error:
        raise TrainingError(f"{folder} holds no detector ({error}): train it again") from error
    return detector.eval(), spec
