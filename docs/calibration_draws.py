# SPDX-License-Identifier: Apache-2.0
"""Does `replay_eval --calibrate` keep its promise? 1,000 random draws of rendered scenes, for the table in REPLAY.md.

python docs/calibration_draws.py --scenes 600 --miss 0.05 0.1 0.2

Every scene is a block: they are drawn alike and share nothing, which is what the promise asks for. Each draw picks the
thresholds on some scenes and holds them to another one. A cell: draws whose other scene is within the bound or has no
promise (draws in which a threshold was picked: those of them whose other scene is within the bound).
"""

import argparse
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from road_kd_seg.host import share_machine

NUM_DRAWS = 1000
NUM_CALIBRATION = (9, 20, 60, 200)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="road_student", help="model bundle")
    parser.add_argument("--scenes", type=int, default=600, help="how many are rendered")
    parser.add_argument("--first-seed", type=int, default=3_000_000, help="of the scenes; no recipe trains on these")
    parser.add_argument("--miss", type=float, nargs="+", default=[0.05], help="bounds to promise")
    options = parser.parse_args()
    share_machine()
    from road_kd_seg.metrics.risk_control import draw_promises
    from road_kd_seg.replay.calibrate import SHARE, missed_shares

    counts = count_scenes(options.model, range(options.first_seed, options.first_seed + options.scenes))
    print("| class, scenes that show it | bound |" + "".join(f" picked on {n} |" for n in NUM_CALIBRATION))
    print("|---|---|" + "---|" * len(NUM_CALIBRATION))
    for name, shown in counts.items():
        missed = missed_shares(shown)
        for max_missed in options.miss:
            cells = []
            for num_calibration in NUM_CALIBRATION:
                if num_calibration >= len(missed):
                    cells.append("–")
                    continue
                random = np.random.default_rng(num_calibration)
                drawn = draw_promises(missed, num_calibration, max_missed, SHARE, NUM_DRAWS, random)
                picked = drawn.threshold >= 0
                kept = f"{drawn.kept[picked].mean():.1%}" if picked.any() else "–"
                cells.append(f"{drawn.kept.mean():.1%} ({picked.mean():.1%}: {kept})")
            print(f"| {name}, {len(missed)} | {max_missed:.0%} | " + " | ".join(cells) + " |")


def count_scenes(model: str, seeds: range) -> dict[str, list[NDArray[np.int64]]]:
    """By obstacle class: (T + 1,) `reached_counts` of every scene that shows it."""
    from road_kd_seg.replay.calibrate import MIN_PIXELS, reached_counts
    from road_kd_seg.segmenter import Segmenter
    from road_kd_seg.synthetic import render_scene
    from road_kd_seg.taxonomy import Role

    segmenter = Segmenter.from_bundle(model)
    counts = defaultdict(list)
    for seed in track(seeds, description=f"rendering, and {model} on {segmenter.device_name}", transient=True):
        frame, label = render_scene(seed)
        scores = segmenter.obstacle_scores(frame)
        for c in segmenter.taxonomy.classes:
            if c.role is Role.OBSTACLE and np.count_nonzero(label == c.id) >= MIN_PIXELS:
                counts[c.name].append(reached_counts(scores[c.id][label == c.id]))
    return counts


if __name__ == "__main__":
    main()
