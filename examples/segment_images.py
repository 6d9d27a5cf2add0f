# SPDX-License-Identifier: Apache-2.0
"""Segment a color image and its aligned depth, and write the classes over the image.

python examples/segment_images.py color.png depth.png overlay.png

The depth image holds millimeters, 16 bit, as RealSense and most RGB-D cameras write it.
"""

import sys

import cv2
import numpy as np

from road_kd_seg import RgbdFrame, Segmenter
from road_kd_seg.postprocess import overlay

color_path, depth_path, out_path = sys.argv[1:]
rgb = cv2.imread(color_path, cv2.IMREAD_COLOR)[..., ::-1]
depth_m = cv2.imread(depth_path, cv2.IMREAD_UNCHANGED).astype(np.float32) / 1000

segmenter = Segmenter.from_bundle("road_student")
segmentation = segmenter(RgbdFrame(np.ascontiguousarray(rgb), depth_m))

cv2.imwrite(out_path, overlay(rgb, segmentation.label, segmenter.taxonomy, alpha=0.5)[..., ::-1])
for item in segmenter.taxonomy.classes:
    print(f"{item.name}: {np.mean(segmentation.label == item.id):.1%} of the image")
