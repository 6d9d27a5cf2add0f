"""Everything a training run can be told, typed. Recipes are YAML files of these fields; flags override them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class DataConfig:
    """One source of samples."""

    dataset: str
    """Name in `DATASETS`."""
    options: dict[str, Any] = field(default_factory=dict)
    """The dataset's own arguments: root, split, …"""
    weight: float = 1.0
    """Share of the training samples drawn from here, relative to the other sources. Unused in validation."""


@dataclass(frozen=True)
class NetworkConfig:
    """What is trained."""

    name: str
    """Name in `NETWORKS`."""
    options: dict[str, Any] = field(default_factory=dict)
    """The network's own arguments, without num_classes."""


@dataclass(frozen=True)
class InputConfig:
    """What the network is fed; written into the bundle."""

    height: int = 288
    """Pixels; multiple of the network's stride."""
    width: int = 512
    """Pixels."""
    depth: Literal["none", "metric", "inverse", "plane_residual", "jet"] = "plane_residual"
    """Encoding of depth; none for an RGB network."""
    depth_low: float = 0.0
    """Lower end of the encoding's range (metres for metric, 1/m for inverse)."""
    depth_high: float = 0.05
    """Upper end of the range (metres for metric, else 1/m)."""


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training samples; geometry is shared by image, depth and label."""

    min_scale: float = 0.25
    """Smallest crop, as a share of the image's area; 1 never crops."""
    flip: float = 0.5
    """Probability of a mirror image."""
    brightness: float = 0.4
    """Up to ± this share."""
    contrast: float = 0.4
    """Up to ± this share."""
    saturation: float = 0.4
    """Up to ± this share."""
    hue: float = 0.05
    """Up to ± this turn of the colour wheel."""
    drop_depth: float = 0.0
    """Probability that a sample loses its depth altogether, so that the student also learns to do without."""


@dataclass(frozen=True)
class TrainConfig:
    """One run."""

    name: str
    """Name of the bundle."""
    network: NetworkConfig
    train: list[DataConfig]
    validation: list[DataConfig]
    """Scored separately, in this order; the mean of their mIoU picks the best weights."""
    output: str
    """Folder of the run: checkpoints, logs, the resolved configuration, and in the end the bundle."""
    init_from: str | None = None
    """Bundle (folder or name) whose weights the run starts from; None: random weights."""
    input: InputConfig = field(default_factory=InputConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    steps: int = 2000
    """Optimizer steps."""
    batch_size: int = 8
    """Samples per step and process."""
    learning_rate: float = 1e-3
    """Peak, of AdamW."""
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    """Steps of linear warm-up; then polynomial decay (power 0.9) to zero."""
    class_weights: list[float] | None = None
    """Weight of each class in the cross entropy; None for equal weights."""
    max_grad_norm: float = 5.0
    """Gradients are clipped to this norm."""
    ema_decay: float = 0.99
    """Decay per step of the averaged weights that are validated and shipped; 0 ships the raw ones."""
    mixed_precision: Literal["no", "bf16", "fp16"] = "bf16"
    num_workers: int = 2
    """Loader processes."""
    validate_every: int = 500
    """Steps between validations, each followed by a checkpoint."""
    seed: int = 0
