# SPDX-License-Identifier: Apache-2.0
"""`road-kd bag-to-dataset`: frames of a rosbag into a folder, for annotation and training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jsonargparse import Namespace
from numpy.typing import NDArray
from rich.progress import track

from road_kd_seg.bags.pairing import half_period_ns
from road_kd_seg.errors import FrameError
from road_kd_training.commands.options import key_values
from road_kd_training.datasets import build_dataset
from road_kd_training.datasets.bag import Bag
from road_kd_training.datasets.common.label_folder import write_legend
from road_kd_training.datasets.common.output import check_new_folder, new_folder
from road_kd_training.datasets.frames import write_camera, write_frame
from road_kd_training.errors import DatasetError
from road_kd_training.terminal import plain_console


def run(options: Namespace) -> None:
    """Write the frames.

    Raises:
        BagError: the bag cannot be read.
        DatasetError: contradicting options, or a folder that holds something or cannot be written.
    """
    if options.every < 1 or (options.rate_hz is not None and (options.rate_hz <= 0 or options.every != 1)):
        raise DatasetError(
            f"every is {options.every} and rate-hz {options.rate_hz}: give one of them, above 0, e.g. --rate-hz 2"
        )
    check_new_folder(Path(options.out).expanduser())
    bag = build_dataset("bag", **{**key_values(options.options), "root": options.bag})
    assert isinstance(bag, Bag)
    chosen = every_nth(len(bag), options.every) if options.rate_hz is None else at_rate(bag.stamps_ns, options.rate_hz)
    out = new_folder(Path(options.out).expanduser())
    written = labeled = 0
    invalid: list[str] = []
    write_legend(out / "label", bag.taxonomy)
    for index in track(chosen.tolist(), description=f"writing {chosen.size} frames", transient=True):
        try:
            sample = bag[index]
        except FrameError as error:
            invalid.append(str(error))
            continue
        write_frame(out, sample, sample.label)
        if written == 0 and "intrinsics" in sample.meta:
            write_camera(out, sample.meta["intrinsics"])
        written += 1
        labeled += sample.label is not None
    if not written:
        raise DatasetError(f"no frame could be decoded, nothing was written: {invalid[0]}")
    report = [f"wrote {written} of {len(bag)} frames to {out}, {labeled} of them with a label"]
    report += [f"left out {len(invalid)} frames that cannot be decoded; the first: {invalid[0]}"] if invalid else []
    report += [f"note: {note}" for note in bag.access.notes]
    report += [
        f"next: label the others as {out / 'label'}/STAMP.png (ids in classes.json); the dataset is: frames root={out}"
    ]
    plain_console().print("\n".join(report), soft_wrap=True)


def every_nth(count: int, every: int) -> NDArray[np.int64]:
    """Indices 0, n, 2n, … below `count`."""
    return np.arange(0, count, every)


def at_rate(stamps_ns: NDArray[np.int64], rate_hz: float) -> NDArray[np.int64]:
    """The frames nearest to the ticks of a clock that starts with the first frame; a tick in a gap has none.

    Args:
        stamps_ns: (N,) in any order.
        rate_hz: ticks per second.

    Returns:
        Indices into `stamps_ns`, by time; none twice, at most one per tick.
    """
    order = np.argsort(stamps_ns, kind="stable")
    ticks = (stamps_ns[order] - stamps_ns[order[0]]) * (rate_hz / 1e9)
    nearest, distance = np.rint(ticks).astype(np.int64), np.abs(ticks - np.rint(ticks))
    # Sorted by tick, then by how near they are to it: the first of each tick is the nearest.
    ranked = np.lexsort((distance, nearest))
    first = np.unique(nearest[ranked], return_index=True)[1]
    # Half a frame period and some jitter, or a fifth of a tick where a frame was lost: beyond, the tick lies in a gap.
    within = max(1.2 * half_period_ns(stamps_ns) * (rate_hz / 1e9), 0.2)
    first = first[distance[ranked[first]] <= within]
    chosen: NDArray[np.int64] = order[ranked[first]]
    return chosen
