# SPDX-License-Identifier: Apache-2.0
"""`python -m road_kd_seg.synthetic --out BAG`: a synthetic drive as the MCAP bag of a RealSense driver, with labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from road_kd_seg.errors import BagError, run_tool
from road_kd_seg.synthetic.drive import DriveConfig, render_drive

DEMO_SEED = 2_000_001
"""A road that no recipe trains on: those use seeds below 2,000,000."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after one line on stderr."""
    options = _parser().parse_args(arguments)
    return run_tool(lambda: _write(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("road_kd_seg.synthetic", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bag")
    parser.add_argument("--seed", type=int, default=DEMO_SEED, help="of road, camera and light")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to drive")
    parser.add_argument("--rate-hz", type=float, default=10.0, help="frames per second")
    parser.add_argument(
        "--variety", action="store_true", help="another lens, mast, terrain, traffic, hour and weather, by the seed"
    )
    return parser


def _write(options: argparse.Namespace) -> None:
    from rich.progress import track  # both come with the extra `replay`

    from road_kd_seg.bags.writer import write_bag

    num_frames = round(options.seconds * options.rate_hz)
    if num_frames < 1 or options.rate_hz <= 0:
        raise BagError(f"--seconds {options.seconds} at --rate-hz {options.rate_hz} give no frame: raise them")
    drive = render_drive(DriveConfig(options.seed, num_frames, options.rate_hz, variety=options.variety))
    frames = track(drive, description=f"rendering {num_frames} frames", total=num_frames, transient=True)
    written = write_bag(options.out, frames)
    print(f"wrote {written} frames to {options.out}; next: replay_eval {options.out} --out REPORT")


if __name__ == "__main__":
    sys.exit(main())
