# SPDX-License-Identifier: Apache-2.0
"""Play a bag to a real `seg_node` and record what it does: two processes, real transport, real time."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CompressedImage, Image

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.topics import TopicNames
from road_kd_seg.bundle import Bundle
from road_kd_seg.errors import RoadKdError
from road_kd_seg.fastdds import use_shared_memory_profile
from road_kd_seg.node_interface import CAMERA_INFO_NAME, COLOR_NAME, DEPTH_NAME, LABEL_TOPIC, NODE_MODULE
from road_kd_seg.replay.child_process import ChildProcess
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.recorder import NodeReport, OutputRecorder
from road_kd_seg.replay.results import ReplayCounts, ReplayRun

OUTPUTS = "node_outputs"
"""Folder of the bag that the node's labels are recorded to, beside the report."""

_START_LIMIT_S = 120.0
"""Importing PyTorch and loading a model on a busy machine."""
_COUNT_LIMIT_S = 15.0
_STOP_LIMIT_S = 20.0
_PLAYER_SLACK_S = 60.0
_LATENCY = (
    "from the player's publication of the color image to the node's publication of its label:"
    " transport, waiting for depth, waiting for the model, preprocessing, network, upsampling"
)

Progress = Callable[[str, int], None]
"""Told the phase and the number of color images that were played so far."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How to run the node and the player."""

    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"
    rate: float = 1.0
    """Speed of the player."""
    also_subscribe: tuple[str, ...] = ()
    """Image topics of the node, beside its label, that somebody subscribes to, as a robot would."""
    domain_id: int | None = None
    """ROS domain; None: one that this process keeps to itself, so that no robot nearby hears the bag."""


def replay_live(reader: BagReader, bundle: Bundle, folder: Path, options: LiveOptions, progress: Progress) -> ReplayRun:
    """Run node and player over a bag.

    Args:
        reader: the bag, open.
        bundle: the model.
        folder: gets the processes' logs and the node's outputs; made if need be.
        options: see there.
        progress: called while it runs.

    Raises:
        BagError: a recording that a node could not make the same frames of.
        RoadKdError: a process could not start, died or lost count of its frames; the message holds its last line.
    """
    begun = time.perf_counter()
    reader.check_live()
    outputs = _fresh_outputs(folder)
    use_shared_memory_profile()
    # Only this machine: a replayed camera must not reach a robot in the same network.
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    domain_id = 1 + os.getpid() % 101 if options.domain_id is None else options.domain_id
    environment = os.environ | {"ROS_DOMAIN_ID": str(domain_id), "PYTHONUNBUFFERED": "1"}
    with (
        _recording(domain_id, reader, outputs, options) as (recorder, spin_until),
        ChildProcess(
            NODE_MODULE, _node_arguments(reader, bundle, options), folder / "seg_node.log", environment
        ) as node,
    ):
        _wait_until_active(recorder, node, spin_until, progress)
        if recorder.count_publishers(reader.names.color):
            raise RoadKdError(
                f"somebody publishes {reader.names.color} on ROS domain {domain_id}: choose a --domain-id"
            )
        player_arguments = _player_arguments(reader, options.rate)
        with ChildProcess(
            "road_kd_seg.bags.player", player_arguments, folder / "bag_player.log", environment
        ) as player:
            _wait_for_player(reader, options.rate, recorder, node, player, spin_until, progress)
        _wait_until_settled(recorder, node, spin_until, progress)
        report = _final_report(recorder, node, spin_until)
        stages_ms = recorder.stages_ms
        color_sent_ns, label_sent_ns = recorder.color_sent_ns, recorder.label_sent_ns
    counts = ReplayCounts.from_counters(len(reader.index), report.counters)
    with BagReader(outputs) as recorded:
        labels = LabelStore.of(recorded.label_images(LABEL_TOPIC))
    timed = [stamp_ns for stamp_ns in labels.stamps_ns if stamp_ns in color_sent_ns]
    return ReplayRun(
        mode="live",
        stamps_ns=tuple(reader.index.stamps_ns.tolist()),
        labels=labels,
        latency_ms={stamp_ns: (label_sent_ns[stamp_ns] - color_sent_ns[stamp_ns]) / 1e6 for stamp_ns in timed},
        latency_definition=_LATENCY,
        stages_ms={stage: times_ms for stage, times_ms in stages_ms.items() if times_ms},
        counts=counts,
        device=report.values.get("device", ""),
        wall_s=time.perf_counter() - begun,
        notes=_notes(options, counts, len(labels), len(timed), report.values.get("last_problem", "")),
    )


Wait = Callable[[Callable[[], bool], float], bool]
"""Handle messages until a condition holds; False if it does not within so many seconds."""


@contextmanager
def _recording(
    domain_id: int, reader: BagReader, outputs: Path, options: LiveOptions
) -> Iterator[tuple[OutputRecorder, Wait]]:
    context = Context()
    rclpy.init(context=context, domain_id=domain_id)
    color_type = CompressedImage if reader.is_compressed(reader.names.color) else Image
    recorder = OutputRecorder(context, reader.names.color, color_type, outputs, options.also_subscribe)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(recorder)

    def spin_until(condition: Callable[[], bool], limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            executor.spin_once(timeout_sec=0.05)
        return True

    try:
        yield recorder, spin_until
    finally:
        executor.shutdown()
        recorder.close()
        rclpy.shutdown(context=context)


def _fresh_outputs(folder: Path) -> Path:
    """Where the outputs' bag goes; that of an earlier run is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = folder / OUTPUTS
    if outputs.exists():
        if not any(outputs.glob("*.mcap")):
            raise RoadKdError(f"{outputs}: exists and is no bag of an earlier run: choose another --out")
        shutil.rmtree(outputs)
    return outputs


def _node_arguments(reader: BagReader, bundle: Bundle, options: LiveOptions) -> list[str]:
    names: TopicNames = reader.names
    parameters: dict[str, object] = {"model": bundle.path.resolve()}
    parameters |= {name: getattr(options, name) for name in ("device", "precision", "backend")}
    parameters["require_same_frame"] = str(reader.require_same_frame).lower()
    if reader.index.slop_ns:
        parameters["sync_slop_s"] = reader.index.slop_ns / 1e9
    color, depth = COLOR_NAME, DEPTH_NAME
    if reader.is_compressed(names.color):
        parameters["image_transport"] = "compressed"
        color = f"{COLOR_NAME}/compressed"
    parameters["depth_image_transport"] = "raw"
    if reader.is_compressed(names.depth):
        parameters["depth_image_transport"] = "compressed"
        depth = f"{DEPTH_NAME}/compressedDepth"
    remaps = {color: names.color, depth: names.depth, CAMERA_INFO_NAME: names.camera_info}
    return [
        "--ros-args",
        *(part for key, value in parameters.items() for part in ("-p", f"{key}:={value}")),
        *(part for name, topic in remaps.items() for part in ("-r", f"{name}:={topic}")),
    ]


def _player_arguments(reader: BagReader, rate: float) -> list[str]:
    names = reader.names
    topics = [name for name in (names.color, names.depth, names.camera_info) if reader.message_counts.get(name)]
    subscribers = len(topics) + 1  # the node takes each of them, the recorder the color images as well
    waiting = ["--wait-for-subscribers", "30", "--subscribers", str(subscribers)]
    return [str(reader.path), "--rate", str(rate), *waiting, "--topics", *topics]


def _wait_until_active(recorder: OutputRecorder, node: ChildProcess, spin_until: Wait, progress: Progress) -> None:
    progress("starting seg_node", 0)

    def decided() -> bool:
        node.check_alive()
        return recorder.report.state == "active" or bool(recorder.report.failed)

    if not spin_until(decided, _START_LIMIT_S):
        raise node.failure(f"is not active after {_START_LIMIT_S:g} s")
    if recorder.report.failed:
        raise RoadKdError(f"seg_node stays {recorder.report.state}: {recorder.report.failed}")


def _wait_for_player(
    reader: BagReader,
    rate: float,
    recorder: OutputRecorder,
    node: ChildProcess,
    player: ChildProcess,
    spin_until: Wait,
    progress: Progress,
) -> None:
    def finished() -> bool:
        node.check_alive()
        progress("playing", len(recorder.color_sent_ns))
        return player.return_code is not None

    limit_s = reader.duration_ns / 1e9 / rate * 1.5 + _PLAYER_SLACK_S
    if not spin_until(finished, limit_s):
        raise player.failure(f"did not finish within {limit_s:.0f} s")
    if player.return_code:
        raise player.failure(f"ended with exit code {player.return_code}")


def _wait_until_settled(recorder: OutputRecorder, node: ChildProcess, spin_until: Wait, progress: Progress) -> None:
    """Until the node has said twice that nothing is in flight and all it published has arrived, or time is up.

    What still waits for a depth image that will never come stays in flight until the node stops.
    """
    progress("settling", len(recorder.color_sent_ns))
    first = recorder.report.number

    def counted() -> bool:
        node.check_alive()
        counters = recorder.report.counters
        return (
            recorder.report.number >= first + 2
            and counters.get("in_flight") == 0
            and counters.get("published") == len(recorder.label_sent_ns)
        )

    spin_until(counted, _COUNT_LIMIT_S)


def _final_report(recorder: OutputRecorder, node: ChildProcess, spin_until: Wait) -> NodeReport:
    """What the node says once it takes no more images and nothing is in flight.

    Raises:
        RoadKdError: it does not within the time.
    """
    recorder.deactivate_node()

    def said() -> bool:
        node.check_alive()
        return recorder.report.state == "inactive" and recorder.report.counters.get("in_flight") == 0

    if not spin_until(said, _STOP_LIMIT_S):
        raise node.failure(f"gave no final frame counters within {_STOP_LIMIT_S:g} s of being deactivated")
    return recorder.report


def _notes(options: LiveOptions, counts: ReplayCounts, recorded: int, timed: int, last_problem: str) -> tuple[str, ...]:
    notes = [f"played at {options.rate:g} times the recorded rate"]
    if recorded != counts.published:
        notes.append(f"{counts.published} labels were published, {recorded} of them reached the recorder")
    if timed != recorded:
        notes.append(f"latency is known for {timed} of {recorded} labels")
    if last_problem:
        notes.append(f"the node's last problem: {last_problem}")
    return tuple(notes)
