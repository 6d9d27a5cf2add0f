# SPDX-License-Identifier: Apache-2.0
"""What a table of a paper is, as data: rows with the reported results and a recipe each, and what all rows share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from road_kd_training.config import DataConfig, NetworkConfig
from road_kd_training.errors import TrainingError, suggest
from road_kd_training.experiments.metrics import Outcome

RowRole = Literal["teacher", "baseline", "distilled", "cited"]
"""baseline: a student without distillation, what gains are measured against. cited: a result that the paper prints of a
network or method that is not here; it is shown and not run."""

TaskName = Literal["segmentation", "detection"]

REAL_FRAMES, WET_ROAD = "real frames", "wet road"
"""Names of the test sets that synthetic scales add."""

Reported = Mapping[str, float | None]
"""The paper's results by name of the metric; None where it prints none."""


@dataclass(frozen=True)
class Share:
    """A number of steps, as a share of the run's: an option of a method that follows the schedule."""

    of_steps: float


@dataclass(frozen=True)
class Method:
    """One distillation method of a row."""

    name: str
    """Name in `DISTILLERS`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its settings; values may be `Share`."""
    weights: Mapping[str, float] | None = None
    """Weight of every term; None for the defaults."""
    start: float = 0.0
    """Share of the run's steps after which it begins."""


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    key: str
    """Names the row on the command line and its folder."""
    label: str
    """As the paper prints it."""
    role: RowRole
    paper: Reported = field(default_factory=dict)
    network: str = ""
    """Name in `NETWORKS`; empty for a cited row, and for one that is `peer_of` another."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The network's own."""
    depth: bool = False
    """Whether it is fed depth beside color."""
    encoding: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `InputConfig` that differ from the protocol's depth, at every scale."""
    scenes: Mapping[str, Any] = field(default_factory=dict)
    """Options of the synthetic scenes that it trains on, where they differ from the protocol's, at every scale."""
    pretrained: bool = False
    """Whether it starts from ImageNet weights; where a scale does without them, all rows do."""
    methods: tuple[Method, ...] = ()
    teachers: tuple[str, ...] = ()
    """Keys of the rows that it learns from."""
    peers: tuple[str, ...] = ()
    """Networks with random weights that are trained jointly."""
    peer_of: str = ""
    """Key of the row whose first peer this is: nothing is trained for it."""
    cross_entropy: float = 1.0
    """Weight of the supervised loss."""
    unlabeled: bool = False
    """Whether it also sees the images without labels."""
    starts_from: str = ""
    """Key of the row whose weights it starts from, of the same seed."""
    labels_from: str = ""
    """Key of the teacher row whose network labels the unlabeled images, which then are all that it learns from."""
    min_confidence: float = 0.0
    """Of these labels; pixels below it are ignored."""
    schedule: float = 1.0
    """Its number of steps, as a multiple of the protocol's."""
    max_seeds: int | None = None
    """How many seeds are enough for it; None: all."""
    gradient_share: float | None = None
    """See `TrainConfig.gradient_share`; None: weights as they are."""
    baseline: str = ""
    """Key of the row that its gain is measured against; empty: the table's first baseline row."""
    full: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `TrainConfig` that differ from the protocol's, at the experiment's own scales."""
    group: str = ""
    """Heading under which the paper lists it."""
    note: str = ""
    """Printed below the table."""


@dataclass(frozen=True)
class Metric:
    """A column of results."""

    name: str
    """As the paper prints it."""
    measure: Callable[[Outcome], float]
    """Takes it from what one run scored, in the unit that the paper prints."""
    decimals: int = 2
    lower_is_better: bool = False
    stand_in: str = ""
    """What the column holds on synthetic scenes, if not the same."""


@dataclass(frozen=True)
class Protocol:
    """What the rows of a table share at one scale. A dataset's root is left to the plan."""

    train: tuple[DataConfig, ...]
    """Labeled."""
    validation: tuple[DataConfig, ...]
    """Picks the weights."""
    tests: Mapping[str, DataConfig]
    """Scored for the table, by name; the first one is the table's own."""
    summary: str
    """Data and schedule in a sentence."""
    unlabeled: tuple[DataConfig, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `TrainConfig`."""
    teacher_settings: Mapping[str, Any] = field(default_factory=dict)
    """Those that differ for teachers."""
    unlabeled_settings: Mapping[str, Any] = field(default_factory=dict)
    """Those that differ for rows that see unlabeled images."""
    depth: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `InputConfig` for rows that are fed depth."""
    substitutes: Mapping[str, NetworkConfig] = field(default_factory=dict)
    """Networks that replace others."""
    pretrained: bool = False
    """Whether rows that ask for ImageNet weights get them."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of students; a teacher is trained once, with seed 0, and shared."""
    deviations: tuple[str, ...] = ()
    """What differs from the paper, a sentence each."""


@dataclass(frozen=True)
class Sweep:
    """A panel of curves: one parameter along x, one curve per value of another."""

    x_label: str
    points: Mapping[str, tuple[str, float]]
    """By key of the row: the curve's name, and x."""
    levels: tuple[str, ...] = ()
    """Keys of rows that are drawn as horizontal lines."""


@dataclass(frozen=True)
class Experiment:
    """One table or figure of a paper.

    Raises:
        TrainingError: rows that refer to rows that are not there, or twice the same key.
    """

    id: str
    """paper/table."""
    title: str
    dataset: str
    """What the paper measures on, and which split; empty where no paper has such a table."""
    metrics: tuple[Metric, ...]
    """The first one is what gains are of."""
    rows: tuple[Row, ...]
    full: Protocol | None
    """The paper's; None where only synthetic scenes can tell."""
    task: TaskName = "segmentation"
    """What the networks do; a detector's rows are scored by COCO's metrics, from 0 to 1, as the dataset's own."""
    reduced: Protocol | None = None
    """Its own at scale reduced, where the common one does not ask its question; None: the common one."""
    primary: str = ""
    """Key of the row that was named before its seeds ran; empty where the paper's claims are the question."""
    labeled_share: float = 1.0
    """Of the synthetic scenes; the others are the unlabeled ones."""
    wrong_wet: float = 0.0
    """Share of the synthetic training scenes whose wet patches are mislabeled."""
    real_frames: bool = True
    """Whether stereo_pothole's frames, where there are any, join the synthetic scenes."""
    zero_shot: Mapping[str, DataConfig] = field(default_factory=dict)
    """Further test sets that no row trains on; scored where they are there."""
    counted_size: tuple[int, int] = (512, 1024)
    """Height and width that floating-point operations are counted at."""
    speed: bool = False
    """Whether forward passes are timed."""
    sweeps: tuple[Sweep, ...] = ()
    """Drawn beside each other where the paper shows curves."""
    followed: tuple[tuple[str, str], ...] = ()
    """(student tap, teacher tap) pairs whose agreement is followed over training, in `SNAPSHOTS` steps."""
    notes: tuple[str, ...] = ()
    """What a reader must know of the reported results."""

    def __post_init__(self) -> None:
        keys = [row.key for row in self.rows]
        if len(set(keys)) != len(keys):
            raise TrainingError(f"{self.id}: two rows have the same key")
        for row in self.rows:
            for other in (*row.teachers, *filter(None, (row.baseline, row.peer_of, row.labels_from, row.starts_from))):
                if other not in keys:
                    raise TrainingError(f"{self.id}: row {row.key} refers to '{other}': {suggest(other, keys)}")
        if self.primary:
            self.row(self.primary)

    def row(self, key: str) -> Row:
        """The row of that key.

        Raises:
            TrainingError: there is none; the message lists those that are.
        """
        for row in self.rows:
            if row.key == key:
                return row
        raise TrainingError(f"{self.id} has no row '{key}': {suggest(key, [row.key for row in self.rows])}")

    def baseline_of(self, row: Row) -> Row | None:
        """The row that a gain is measured against: the one that `row` names, or the first baseline."""
        if row.baseline or row.role != "distilled":
            return self.row(row.baseline) if row.baseline else None
        return next((other for other in self.rows if other.role == "baseline"), None)
