# SPDX-License-Identifier: Apache-2.0
"""Draws the README's moving picture from what `make demo` leaves: camera, depth, ground truth, and the node's masks.

python docs/draw_drive.py out/demo docs/images/drive.webp
"""

import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.node_interface import LABEL_TOPIC
from road_kd_seg.postprocess import overlay
from road_kd_seg.replay.live import OUTPUTS
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

WIDTH, HEIGHT = 384, 216
FAR_M = 15.0
FRAMES = 60


def tile(rgb: np.ndarray, title: str) -> np.ndarray:
    """A picture at the size of one tile, with its title."""
    small = cv2.resize(rgb, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(small, title, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, thickness, cv2.LINE_AA)
    return small


def depth_picture(depth_m: np.ndarray) -> np.ndarray:
    """Near is red, far is blue, invalid is black."""
    near = np.clip(255 * (1 - depth_m / FAR_M), 0, 255).astype(np.uint8)
    colors = cv2.applyColorMap(near, cv2.COLORMAP_JET)[..., ::-1]
    return np.where(depth_m[..., None] > 0, colors, 0).astype(np.uint8)


def main() -> None:
    """Draw every frame that the node published, up to FRAMES."""
    demo, out = Path(sys.argv[1]), Path(sys.argv[2])
    with BagReader(demo / OUTPUTS) as recorded:
        predictions = dict(islice(recorded.label_images(LABEL_TOPIC), FRAMES))
    pictures = []
    with BagReader(demo / "bag") as reader:
        for frame, label in reader.frames(stamps_ns=predictions):
            seen = [
                tile(frame.rgb, "color"),
                tile(depth_picture(frame.depth_m), "aligned depth"),
                tile(overlay(frame.rgb, label, DEFAULT_TAXONOMY, 0.6), "ground truth"),
                tile(overlay(frame.rgb, predictions[frame.stamp_ns], DEFAULT_TAXONOMY, 0.6), "seg_node"),
            ]
            pictures.append(Image.fromarray(np.vstack([np.hstack(seen[:2]), np.hstack(seen[2:])])))
    pictures[0].save(out, save_all=True, append_images=pictures[1:], duration=100, loop=0, quality=55, method=4)
    print(f"wrote {out}: {len(pictures)} frames, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
