# SPDX-License-Identifier: Apache-2.0
"""Times of a frame: a model in each engine, the papers' networks in eager PyTorch, and the usual way of doing it."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from road_kd_seg.backends import TorchBackend
from road_kd_seg.bundle import Bundle
from road_kd_seg.device_pipeline import captured
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.networks import build_network
from road_kd_seg.postprocess import overlay, role_mask
from road_kd_seg.preprocess.encodings import encode_depth
from road_kd_seg.preprocess.input_spec import DepthEncoding, InputSpec
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.synthetic import render_scene
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, Role
from road_kd_seg.tools.benchmark_report import CPKD_STUDENT, TEACHER

SCENE_SEED = 2_000_000
"""A scene that no recipe trains on."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A paper's network, untrained: its weights do not change its speed."""

    size: tuple[int, int]
    """(h, w) of the input in the paper."""
    options: Mapping[str, Any] = field(default_factory=dict)


PEERS: Mapping[str, Peer] = {
    TEACHER: Peer((576, 1024)),
    CPKD_STUDENT: Peer((576, 1024), {"input_scale": 0.5}),  # halves it itself, and doubles its logits
    "erfnet": Peer((208, 976)),  # IntRA-KD on CULane
    "enet": Peer((208, 976)),
    "pspnet_r18": Peer((512, 512)),  # CWD's crops of Cityscapes
}
SLOW_ROUNDS = 3
"""In which peers are timed: on a CPU the teacher takes many seconds a frame."""

WARM_UP_ROUNDS = 3


@dataclass
class Times:
    """Of one callable, run by run."""

    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """Of the wall clock."""
        return statistics.median(self.wall_ms)


def time_rows(
    model: str | Path, device: str, num_threads: int, rounds: int, *, peers: bool
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Time everything in turns.

    Args:
        model: bundle.
        device: auto, cpu, cuda or cuda:N.
        num_threads: of engines on a CPU; 0: half of the CPUs, at most four.
        rounds: timed runs of each.
        peers: also the papers' networks.

    Returns:
        Rows of the report, the first of them the model as it would run here; medians of `outputs` and `naive`, ms.

    Raises:
        RoadKdError: model or device are not there, or the model predicts other labels than its exporter's.
    """
    frame = _camera_frame()
    auto = Segmenter.from_bundle(model, device=device, num_threads=num_threads)
    segmenters = [auto, *_other_engines(model, auto, num_threads)]
    eager = auto.bundle.build_network().to(auto.backend.device)
    segmentation = auto(frame)

    def outputs() -> None:
        for role in (Role.OBSTACLE, Role.LANE):
            role_mask(segmentation, auto.taxonomy, role)
        overlay(frame.rgb, segmentation.label, auto.taxonomy, 0.5)

    calls: dict[str, Callable[[], object]] = {"outputs": outputs, "naive": lambda: _naive(auto, eager, frame)}
    for number, segmenter in enumerate(segmenters):
        calls |= _calls(str(number), segmenter, frame)
    slow_calls: dict[str, Callable[[], object]] = {}
    if peers:
        for name in PEERS:
            segmenters.append(_peer(name, auto.backend.device.type, num_threads))
            slow_calls |= _calls(str(len(segmenters) - 1), segmenters[-1], frame)
    times = time_interleaved(calls, rounds, auto.backend.device, slow=slow_calls)
    rows = [_row(segmenter, times[f"{i} forward"], times[f"{i} pipeline"]) for i, segmenter in enumerate(segmenters)]
    return rows, {name: times[name].median_ms for name in ("outputs", "naive")}


def time_interleaved(
    what: Mapping[str, Callable[[], object]],
    rounds: int,
    device: torch.device,
    warm_up: int = WARM_UP_ROUNDS,
    *,
    slow: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, Times]:
    """Times of each callable; every round runs each of them once, so that drift hits all alike.

    Those in `slow` run in the first round of warm-up and in `SLOW_ROUNDS` rounds, evenly spread.
    """
    slow = slow or {}
    times = {name: Times() for name in (*what, *slow)}
    period = -(-rounds // SLOW_ROUNDS)
    for index in range(-warm_up, rounds):
        with_slow = index == -warm_up or (index >= 0 and index % period == 0)
        for name, call in ({**what, **slow} if with_slow else what).items():
            _synchronize(device)
            start, start_cpu = time.perf_counter(), time.process_time()
            call()
            _synchronize(device)
            if index >= 0:
                times[name].wall_ms.append((time.perf_counter() - start) * 1000)
                times[name].cpu_ms.append((time.process_time() - start_cpu) * 1000)
    return times


def _camera_frame() -> RgbdFrame:
    """A rendered frame as a RealSense sends it: depth in millimeters."""
    frame = render_scene(SCENE_SEED).frame
    assert frame.depth_m is not None
    depth_mm = np.rint(frame.depth_m * np.float32(1000)).astype(np.uint16)
    depth_m = np.divide(depth_mm, np.float32(1000), dtype=np.float32)
    return dataclasses.replace(frame, depth_m=depth_m, depth_mm=depth_mm)


def _other_engines(model: str | Path, auto: Segmenter, num_threads: int) -> list[Segmenter]:
    """The model in every engine and precision that bundle and machine have, but that of `auto`."""
    device = str(auto.backend.device)
    ways = [("torch", "fp32")]
    if auto.backend.device.type == "cpu":
        kinds = [kind for key, kind in (("onnx", "fp32"), ("int8", "int8")) if key in auto.bundle.attachments]
        engines = [name for name, module in (("onnx", "onnxruntime"), ("openvino", "openvino")) if find_spec(module)]
        ways += [(engine, kind) for engine in engines for kind in kinds]
    every = [
        Segmenter.from_bundle(model, device=device, precision=kind, backend=engine, num_threads=num_threads)
        for engine, kind in ways
    ]
    return [one for one in every if one.device_name != auto.device_name]


def _peer(name: str, device: str, num_threads: int) -> Segmenter:
    """An untrained network in eager PyTorch behind the same pre- and postprocessing."""
    peer = PEERS[name]
    network = build_network(name, len(DEFAULT_TAXONOMY), **peer.options)
    kinds = {0: None, 1: DepthEncoding("plane_residual"), 3: DepthEncoding("jet_depth", 0.0, 10.0)}
    spec = InputSpec(peer.size, kinds[network.depth_channels])
    bundle = Bundle(Path(), name, name, dict(peer.options), DEFAULT_TAXONOMY, spec, "")
    return Segmenter(bundle, TorchBackend(network, device, "auto", num_threads))


def _calls(number: str, segmenter: Segmenter, frame: RgbdFrame) -> dict[str, Callable[[], object]]:
    """`forward` is the bare network on prepared tensors, on CUDA as a graph like the pipeline; `pipeline` is all of
    `Segmenter`, camera image to label."""
    with torch.inference_mode():
        inputs = segmenter.prepare(frame)
    forward: Callable[[], object] = lambda: segmenter.backend.infer(*inputs)  # noqa: E731
    if segmenter.backend.device.type == "cuda" and isinstance(segmenter.backend, TorchBackend):
        segmenter.warm_up(*frame.size)
        forward()
        forward = captured(forward, torch.cuda.Stream(segmenter.backend.device))
    return {
        f"{number} forward": forward,
        f"{number} pipeline": lambda: segmenter(frame),
    }


def _row(segmenter: Segmenter, forward: Times, pipeline: Times) -> dict[str, Any]:
    engine = segmenter.device_name.partition("(")[2].rstrip(")").split(", ")[1]
    return {
        "network": segmenter.bundle.name,
        "input": "{}x{}".format(*segmenter.bundle.input.size),
        "engine": engine,
        "precision": segmenter.backend.precision,
        "forward_ms": round(forward.median_ms, 3),
        "forward_min_ms": round(min(forward.wall_ms), 3),
        "pipeline_ms": round(pipeline.median_ms, 3),
        "pipeline_min_ms": round(min(pipeline.wall_ms), 3),
        "cpu_ms": round(statistics.median(pipeline.cpu_ms), 3),
    }


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.no_grad()
def _naive(segmenter: Segmenter, network: torch.nn.Module, frame: RgbdFrame) -> tuple[NDArray[Any], ...]:
    """Pipeline and outputs as tutorials show them: float images in NumPy, fp32 in the default memory format, logits of
    the camera's size on the CPU, argmax and blending in NumPy."""
    spec, taxonomy, device = segmenter.bundle.input, segmenter.taxonomy, segmenter.backend.device
    height, width = spec.size
    image = (frame.rgb.astype(np.float32) / 255 - np.array(spec.mean)) / np.array(spec.std)
    image = cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    rgb = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].to(device)
    depth = None
    if spec.depth is not None and frame.depth_m is not None:
        depth_m = cv2.resize(frame.depth_m, (width, height), interpolation=cv2.INTER_NEAREST)
        depth = encode_depth(torch.from_numpy(depth_m)[None].to(device), spec.depth)
    logits = torch.nn.functional.interpolate(network(rgb, depth).logits, frame.size, mode="bilinear")
    scores = logits.softmax(1)[0].cpu().numpy()
    label = scores.argmax(0)
    masks = [
        np.isin(label, [c.id for c in taxonomy.classes if c.role is role]) * 255 for role in (Role.OBSTACLE, Role.LANE)
    ]
    blended = (0.5 * frame.rgb + 0.5 * taxonomy.palette[label]).astype(np.uint8)
    return label, scores.max(0), *masks, blended
