"""Console script `seg_benchmark`: where the time of a frame goes, and what the usual way of doing it costs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from road_kd_seg.errors import run_tool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after one line on stderr."""
    options = _parser().parse_args(arguments)

    def benchmark() -> None:
        # After parsing: with PyTorch, --help would take seconds.
        from road_kd_seg.tools.frame_timing import benchmark

        benchmark(options)

    return run_tool(benchmark)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("seg_benchmark", description="Time a model on one 576x1024 frame.")
    parser.add_argument("--model", default="road_student", help="model bundle: a folder, or the name of a shipped one")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--precision", default="auto", help="auto, fp32, fp16 or bf16")
    parser.add_argument("--backend", default="torch", help="torch or onnx; the latter is timed beside torch")
    parser.add_argument("--rounds", type=int, default=30, help="timed runs of each; warm-up comes on top")
    parser.add_argument("--json", type=Path, help="also write the results here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
