# SPDX-License-Identifier: Apache-2.0
"""Segment a rosbag without ROS: frame by frame, with the intersection over union where the bag has labels.

python examples/segment_bag.py path/to/bag
"""

import sys

import numpy as np

from road_kd_seg import Segmenter
from road_kd_seg.bags.reader import BagReader
from road_kd_seg.metrics import confusion_matrix, iou, mean_iou

segmenter = Segmenter.from_bundle("road_student")
num_classes = len(segmenter.taxonomy)
counts = np.zeros((num_classes, num_classes), np.int64)

with BagReader(sys.argv[1]) as bag:
    for frame, label in bag.frames():
        prediction = segmenter(frame).label
        obstacle = np.isin(prediction, [c.id for c in segmenter.taxonomy.classes if "obstacle" in c.name])
        print(f"{frame.stamp_ns}: {obstacle.mean():.1%} obstacles")
        if label is not None:
            counts += confusion_matrix(label, prediction, num_classes)

for name, value in zip(segmenter.taxonomy.names, iou(counts), strict=True):
    print(f"{name}: IoU {value:.3f}")
print(f"mean IoU: {mean_iou(counts):.3f}")
