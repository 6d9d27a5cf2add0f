# SPDX-License-Identifier: Apache-2.0
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
    depth: (
        Literal["none", "metric", "inverse", "plane_residual", "relative_height", "jet", "jet_depth", "normals"] | None
    ) = "plane_residual"
    """Encoding of depth; none (or null, as model.yaml has it) for an RGB network."""
    depth_low: float = 0.0
    """Lower end of the encoding's range (meters for metric, 1/m for inverse)."""
    depth_high: float = 0.05
    """Upper end of the range (meters for metric, camera heights for relative_height, else 1/m)."""
    depth_focal: float = 0.5
    """Of normals: focal length of the nominal camera, as `DepthEncoding` has it."""
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """(top, left, bottom, right) of the region that is used, as fractions of the camera image."""


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training samples; geometry is shared by image, depth and label."""

    min_scale: float = 1.0
    """Smallest size of the whole image, relative to `input`; what the crop then lacks is padded and ignored."""
    max_scale: float = 2.0
    """Largest size of the whole image, relative to `input`."""
    crop_height: int | None = None
    """Height of the training window that is cut from it, in pixels; None: `input`'s."""
    crop_width: int | None = None
    """Width of the window, in pixels; None: `input`'s."""
    flip: float = 0.5
    """Probability of a mirror image."""
    brightness: float = 0.4
    """Up to ± this share."""
    contrast: float = 0.4
    """Up to ± this share."""
    saturation: float = 0.4
    """Up to ± this share."""
    hue: float = 0.05
    """Up to ± this turn of the color wheel."""
    depth_scale: float = 0.0
    """Depth is multiplied by 1 ± up to this share, as if the camera were higher or lower: how deep a pothole is, in its
    own measure, then counts more than its depth in meters."""
    relief_scale: float = 0.0
    """What lies above or below the road plane is multiplied by 1 ± up to this share in inverse depth: for depth whose
    scale against its plane is unknown, as that of stereo_pothole."""
    weather: float = 0.0
    """Probability that color suffers from snow, rain, blur, darkness, compression or a projector's dots."""
    depth_noise: float = 0.0
    """Probability that depth has the noise, holes and lost rows of a worse stereo camera."""
    far_road: float = 0.0
    """Probability of a window of 1.5 to 2 times `input`'s scale around the far end of the labeled road."""
    drop_depth: float = 0.0
    """Probability that a sample loses its depth altogether, so that the student also learns to do without."""


MIRRORED_ONLY = AugmentConfig(max_scale=1.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
"""Mirror images and nothing else, as detectors train with."""


@dataclass(frozen=True)
class TeacherConfig:
    """Whom the student learns from: a trained bundle, or a peer that learns beside it."""

    bundle: str | None = None
    """A bundle's folder, or the name of a shipped one: frozen, fed as its own model.yaml says."""
    network: NetworkConfig | None = None
    """A peer with random weights, for methods that train their teachers (CPS, CMS)."""
    input: InputConfig | None = None
    """What a peer is fed; None: the student's. Its size is always the student's."""


@dataclass(frozen=True)
class DistillerConfig:
    """One distillation method; several may act at once."""

    method: str
    """Name in `DISTILLERS`."""
    options: dict[str, Any] = field(default_factory=dict)
    """The method's own settings: taps, temperature, …"""
    weights: dict[str, float] | None = None
    """Weight of every term; None for the paper's."""
    teachers: list[int] | None = None
    """Which of the run's teachers it uses, counted from 0; None: all."""
    start_step: int = 0
    """First step of the method; before it, its terms are 0."""


@dataclass(frozen=True)
class TrainConfig:
    """One run: supervised, distilled, cross supervised or semi-supervised, as its fields say."""

    name: str
    """Name of the bundle."""
    network: NetworkConfig
    train: list[DataConfig]
    """Sources of labeled samples."""
    validation: list[DataConfig]
    """Scored separately, in this order; the mean of their `Score.selection` (mIoU, by distance too) picks the best
    weights."""
    output: str
    """Folder of the run: checkpoints, logs, the resolved configuration, and in the end the bundle."""
    init_from: str | None = None
    """Bundle (folder or name) whose weights the run starts from; None: random weights."""
    freeze: list[str] = field(default_factory=list)
    """Modules of the student that stay as they are, statistics of batch normalization included, such as
    `stages`, RoadLite's encoder."""
    teachers: list[TeacherConfig] = field(default_factory=list)
    distillers: list[DistillerConfig] = field(default_factory=list)
    gradient_share: float | None = None
    """Scale each method's weights, once after the warm-up, with which the methods then begin, so that its gradient in
    the student has this many times the cross entropy's norm; None: the weights as they are."""
    cross_entropy: float = 1.0
    """Weight of the cross entropy against the labels; 0 learns from the teachers alone."""
    auxiliary_weight: float = 0.0
    """Weight of the cross entropy of the network's auxiliary head (tap `auxiliary_logits`); 0 leaves it untrained."""
    unlabeled: list[DataConfig] = field(default_factory=list)
    """Sources of further samples, whose labels, if any, are ignored."""
    unlabeled_batch_size: int = 0
    """Samples from there per step and process, beside `batch_size` labeled ones."""
    input: InputConfig = field(default_factory=InputConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    steps: int = 2000
    """Optimizer steps."""
    batch_size: int = 8
    """Labeled samples per step and process."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """sgd has momentum 0.9."""
    learning_rate: float = 1e-3
    """Peak."""
    weight_decay: float = 1e-4
    encoder_learning_rate_factor: float = 1.0
    """Factor on the rate of the student's parameters below `encoder`, where pretrained weights are."""
    schedule: Literal["poly", "cosine", "exponential", "step", "constant"] = "poly"
    """How the learning rate falls after the warm-up."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    power: float = 0.9
    """Of poly: (1 - step / steps) ** power."""
    gamma: float = 0.1
    """Of exponential: the factor reached at the end; of step: the factor at each milestone."""
    milestones: list[int] = field(default_factory=list)
    """Of step: the steps at which the rate falls."""
    class_weights: list[float] | None = None
    """Weight of each class in the cross entropy; None for equal weights."""
    max_grad_norm: float = 5.0
    """Gradients are clipped to this norm."""
    ema_decay: float = 0.99
    """Decay per step of the averaged weights that are validated and shipped, less in the beginning; 0 ships the raw
    ones."""
    mixup: float = 0.0
    """Probability of a step on mixtures of two images each, which have no labels: for teachers and methods that do
    without."""
    teacher_view: float = 1.0
    """How many times as large, per side, as the student's the windows are that frozen teachers see; the student sees
    them reduced as the node reduces a frame. Above 1 a teacher tells what the student's input shows too small."""
    stored_crops: int = 0
    """So many fixed crops of each training image, on which the teachers' logits are computed once, before the first
    step, and stored (below `sample_cache`, else in `output`); 0: crops are drawn afresh, and teachers run at every
    step."""
    sample_cache: str | None = None
    """Folder in which decoded training samples are kept; None: decode them each time. Delete it when the data
    change."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    num_workers: int = 2
    """Loader processes."""
    validate_every: int = 500
    """Steps between validations, each followed by a checkpoint."""
    snapshot_every: int | None = None
    """Steps between copies of the averaged student that are kept, as bundles below `snapshots`; None: none."""
    patience: int | None = None
    """Validations without a better score after which the run ends early; None: never."""
    seed: int = 0
