# SPDX-License-Identifier: Apache-2.0
"""What the distillation terms of CPKD, CWD, IntRA-KD and LIX add to a step, beside the forward passes it needs anyway.

Run: OMP_NUM_THREADS=1 python training/benchmarks/distillation_terms.py [--device cuda] [--shrink 1]
Networks, methods and sizes are those of the papers' rows at full scale, untrained, sizes divided by --shrink (on a CPU
the teachers take seconds). A step's forward passes are the student's, in training mode, and the frozen teacher's; the
terms are timed with their backward pass down to the student's outputs. All run interleaved; medians and their ratio.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import torch
from torch import Tensor

from road_kd_seg.networks import SegmentationNetwork, SegOutput, build_network
from road_kd_seg.tools.frame_timing import time_interleaved
from road_kd_training.components import input_spec
from road_kd_training.config import InputConfig, NetworkConfig
from road_kd_training.distillers import NetworkInfo
from road_kd_training.distillers.common.functional import align_spatial, resize_labels
from road_kd_training.experiments import find_experiment
from road_kd_training.experiments.plan import make_plan
from road_kd_training.objective import build_methods

ROWS = {
    "CPKD": ("cpkd/table1", "student_c", 2),
    "CWD": ("cwd/table3", "ours", 5),
    "IntRA-KD": ("intra_kd/table3", "intra_kd", 5),
    "LIX": ("lix/table1", "sne_lix", 5),
}
"""Table, row and number of classes."""
BATCH = 2
MULTIPLE = 64
"""What every network's sides must be multiples of."""


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shrink", type=float, default=2.0, help="divides the sides of the input")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("papers", nargs="*", default=list(ROWS), help=f"of {', '.join(ROWS)}; default: all")
    arguments = parser.parse_args()
    print("| paper | teacher → student | size | forward passes, ms | terms, ms | share |\n|---|---|---|---|---|---|")
    for paper in arguments.papers:
        print(f"| {paper} | {row(*ROWS[paper], arguments)} |", flush=True)


def row(experiment: str, key: str, num_classes: int, arguments: argparse.Namespace) -> str:
    """One paper's cells."""
    device = torch.device(arguments.device)
    plan = make_plan(find_experiment(experiment), "full", out="out", data_root="data", rows=[key], seeds=[0])
    run = plan.runs_of(plan.experiment.row(key))[0]
    given = run.config.input
    height, width = (
        max(MULTIPLE, round(s / arguments.shrink / MULTIPLE) * MULTIPLE) for s in (given.height, given.width)
    )
    size = dataclasses.replace(given, height=height, width=width)
    student = _network(run.config.network, num_classes, size).to(device).train()
    teachers = [_network(need.config.network, num_classes, size).to(device).eval() for need in run.needs]
    infos = [
        NetworkInfo.of(need.config.network.name, teacher) for need, teacher in zip(run.needs, teachers, strict=True)
    ]
    methods = build_methods(run.config, NetworkInfo.of(run.config.network.name, student), infos, [])
    for method in methods.values():
        method.distiller.to(device).train()
    coarse = torch.randint(0, num_classes, (BATCH, height // 16, width // 16), device=device)
    target = resize_labels(coarse, (height, width))
    inputs = {id(network): _images(network, size, device) for network in (student, *teachers)}

    def forward() -> tuple[SegOutput, list[SegOutput]]:
        with torch.no_grad():
            guides = [teacher(*inputs[id(teacher)]) for teacher in teachers]
        output: SegOutput = student(*inputs[id(student)])
        return output, guides

    output, guides = forward()
    shape = output.logits.shape[-2:]
    target = resize_labels(target, shape)
    guides = [guide._replace(logits=align_spatial(guide.logits, shape)) for guide in guides]
    leaves: dict[str, Tensor] = {name: x.detach().requires_grad_() for name, x in output.features.items()}
    logits = output.logits.detach().requires_grad_()
    outputs = SegOutput(logits, leaves)

    def terms() -> None:
        total = logits.new_zeros(())
        for method in methods.values():
            found = method.distiller(outputs, [guides[i] for i in method.teachers], target, 10**6)
            total = total + sum(method.weights[name] * value for name, value in found.items())
        total.backward()

    times = time_interleaved({"forward": forward, "terms": terms}, arguments.rounds, device, warm_up=1)
    passes_ms, terms_ms = times["forward"].median_ms, times["terms"].median_ms
    names = f"{' + '.join(need.config.network.name for need in run.needs)} → {run.config.network.name}"
    return f"{names} | {height}x{width} | {passes_ms:.0f} | {terms_ms:.0f} | {terms_ms / passes_ms:.1%}"


def _network(config: NetworkConfig, num_classes: int, size: InputConfig) -> SegmentationNetwork:
    options: dict[str, Any] = {name: value for name, value in config.options.items() if name != "pretrained"}
    if config.name.startswith("mafnet"):
        options["image_size"] = (size.height, size.width)
    return build_network(config.name, num_classes, **options)


def _images(network: SegmentationNetwork, size: InputConfig, device: torch.device) -> tuple[Tensor, Tensor | None]:
    spec = input_spec(size)
    rgb = torch.rand(BATCH, 3, *spec.size, device=device)
    depth = torch.rand(BATCH, network.depth_channels, *spec.size, device=device) if network.depth_channels else None
    return rgb, depth


if __name__ == "__main__":
    main()
