# SPDX-License-Identifier: Apache-2.0
"""From a run to everything that a report tells of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bundle import Bundle
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.replay.compare import Contender
from road_kd_seg.replay.doctor import MAX_FRAMES, examine
from road_kd_seg.replay.evaluate import score
from road_kd_seg.replay.gates import Gate
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.obstacles import BANDS_M, score_obstacles
from road_kd_seg.replay.report.build import Replay
from road_kd_seg.replay.results import ReplayRun


def assess(
    reader: BagReader,
    bundle: Bundle,
    run: ReplayRun,
    ground_truth: LabelStore,
    ground_truth_source: str,
    gates: tuple[Gate, ...] = (),
    load_before: float | None = None,
    baselines: tuple[Contender, ...] = (),
    unpromised: Mapping[str, str] = MappingProxyType({}),
) -> Replay:
    """Score a run in every way that its bag allows.

    Args:
        reader: the bag, open.
        bundle: the model that ran.
        run: what it predicted.
        ground_truth: labels by stamp; empty if nobody knows them.
        ground_truth_source: where they came from, for people.
        gates: what is required; their distance bands are scored beside the usual ones.
        load_before: one-minute load average before the run.
        baselines: what to compare with.
        unpromised: by obstacle class that calibration gave no threshold: why.

    Raises:
        RoadKdError: a label that does not fit its frame.
    """
    scores = score(ground_truth.items(), run.labels, len(bundle.taxonomy))
    bands_m = tuple(dict.fromkeys((*BANDS_M, *(gate.band_m for gate in gates if gate.band_m is not None))))
    scored = {frame.stamp_ns for frame in scores.frames}
    obstacles = None
    if scored and run.period_ms is not None:
        obstacles = score_obstacles(
            frames_at(reader, scored), ground_truth, run.labels, bundle.taxonomy, run.period_ms * 1e6, bands_m
        )
    picked = run.stamps_ns[:: max(1, -(-len(run.stamps_ns) // MAX_FRAMES))]
    findings = examine(frames_at(reader, picked))
    return Replay(
        bundle=bundle,
        run=run,
        scores=scores,
        ground_truth=ground_truth,
        ground_truth_source=ground_truth_source,
        obstacles=obstacles,
        findings=tuple(findings),
        gates=gates,
        load_before=load_before,
        baselines=baselines,
        unpromised=unpromised,
    )


def frames_at(reader: BagReader, stamps_ns: Collection[int]) -> Iterator[RgbdFrame]:
    """The frames of these stamps that can be decoded, in the order of recording."""
    wanted = set(stamps_ns)
    return (frame for frame, _ in reader.frames(stamps_ns=wanted, on_invalid=lambda error: None))
