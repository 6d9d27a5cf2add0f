"""What `seg_benchmark` measures: the stages of a frame, and the usual way of doing the same.

Everything is timed in one run, interleaved, and reported as medians; ratios carry over between machines, milliseconds
only to the device that is named.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from road_kd_seg.backends import load_backend
from road_kd_seg.errors import RoadKdError
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.postprocess import overlay, role_mask
from road_kd_seg.preprocess.encodings import encode_depth
from road_kd_seg.preprocess.tensors import preprocess
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.synthetic import render_scene
from road_kd_seg.taxonomy import Role

SCENE_SEED = 2_000_000
"""A scene that no recipe trains on."""

_TORCH_FORWARD = "forward by torch"


def benchmark(options: argparse.Namespace) -> None:
    """Time a model as the parsed command line says, print the medians, and write them if asked.

    Raises:
        RoadKdError: an option is out of its range, or model, device or backend are not there.
    """
    if options.rounds < 1:
        raise RoadKdError(f"--rounds is {options.rounds}: expected at least 1")
    segmenter = Segmenter.from_bundle(
        options.model, device=options.device, precision=options.precision, backend=options.backend
    )
    frame = render_scene(SCENE_SEED).frame
    what = dict(stages(segmenter, frame))
    if options.backend != "torch":
        what[_TORCH_FORWARD] = _torch_forward(segmenter, frame)
    medians_ms = time_interleaved(what, options.rounds, segmenter.backend.device)
    report: dict[str, Any] = {
        "model": segmenter.bundle.name,
        "device": segmenter.device_name,
        "rounds": options.rounds,
        "median_ms": {name: round(value, 3) for name, value in medians_ms.items()},
        "ratio": {
            "pipeline / forward": round(medians_ms["pipeline"] / medians_ms["forward"], 3),
            "naive / (pipeline + outputs)": round(
                medians_ms["naive"] / (medians_ms["pipeline"] + medians_ms["outputs"]), 3
            ),
        },
    }
    if _TORCH_FORWARD in medians_ms:
        report["ratio"][f"{_TORCH_FORWARD} / forward"] = round(medians_ms[_TORCH_FORWARD] / medians_ms["forward"], 3)
    table = Table("what", "median ms", title=f"{report['model']} on {report['device']}, {options.rounds} rounds")
    for name, value in report["median_ms"].items():
        table.add_row(name, f"{value:.2f}")
    for name, value in report["ratio"].items():
        table.add_row(name, f"{value:.2f} x")
    Console().print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def stages(segmenter: Segmenter, frame: RgbdFrame) -> Mapping[str, Callable[[], object]]:
    """What is timed.

    `forward` is the bare network on prepared tensors; `pipeline` is all of `Segmenter`, camera image to label map;
    `outputs` adds both masks and the overlay; `naive` does the same work as pipeline and outputs together in the way
    that tutorials show: float images in NumPy, fp32 in the default memory format, logits of the camera's size on the
    CPU, argmax and blending in NumPy.
    """
    spec, backend = segmenter.bundle.input, segmenter.backend
    rgb, depth_m = _tensors(frame, backend.device, segmenter.needs_depth)
    inputs = preprocess(rgb, depth_m, spec)
    segmentation = segmenter(frame)
    eager = segmenter.bundle.build_network().to(backend.device)

    def outputs() -> None:
        for role in (Role.OBSTACLE, Role.LANE):
            role_mask(segmentation, segmenter.taxonomy, role)
        overlay(frame.rgb, segmentation.label, segmenter.taxonomy, 0.5)

    return {
        "forward": lambda: backend.infer(*inputs),
        "pipeline": lambda: segmenter(frame),
        "outputs": outputs,
        "naive": lambda: _naive(segmenter, eager, frame),
    }


def _torch_forward(segmenter: Segmenter, frame: RgbdFrame) -> Callable[[], object]:
    """The bare network in the reference backend: same tensors, same device, and fp32, as ONNX Runtime has no other."""
    backend = load_backend("torch", segmenter.bundle, str(segmenter.backend.device), "fp32")
    inputs = preprocess(*_tensors(frame, backend.device, segmenter.needs_depth), segmenter.bundle.input)
    return lambda: backend.infer(*inputs)


def time_interleaved(
    what: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, warm_up: int = 3
) -> dict[str, float]:
    """Median milliseconds of each callable; every round runs each of them once, so that drift hits all alike."""
    times_ms: dict[str, list[float]] = {name: [] for name in what}
    for round_index in range(warm_up + rounds):
        for name, call in what.items():
            _synchronize(device)
            start = time.perf_counter()
            call()
            _synchronize(device)
            if round_index >= warm_up:
                times_ms[name].append((time.perf_counter() - start) * 1000)
    return {name: statistics.median(values) for name, values in times_ms.items()}


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _tensors(frame: RgbdFrame, device: torch.device, needs_depth: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    rgb = torch.from_numpy(frame.rgb).to(device)[None]
    if not needs_depth or frame.depth_m is None:
        return rgb, None
    return rgb, torch.from_numpy(frame.depth_m).to(device)[None]


@torch.no_grad()
def _naive(segmenter: Segmenter, network: torch.nn.Module, frame: RgbdFrame) -> tuple[NDArray[Any], ...]:
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
