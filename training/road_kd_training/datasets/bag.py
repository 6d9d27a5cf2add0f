# SPDX-License-Identifier: Apache-2.0
"""Frames of a recording (rosbag2, ROS 1 or RealSense SDK), with labels from its label topic or from a folder.

Expected tree:

    ROOT                a rosbag2 folder, or one .mcap, .db3 or .bag file
    LABELS/STAMP.png    8-bit class ids, 255 = ignore; STAMP is the color image's header stamp in ns (option `labels`)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.random_access import FrameAccess
from road_kd_seg.bags.topics import CAMERA_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC, LABEL_TOPIC, TopicNames
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.datasets.common.folder import Layout
from road_kd_training.datasets.common.label_folder import LabelFolder
from road_kd_training.datasets.common.labeled import Part, choose_part
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.datasets.common.time_blocks import BLOCK_S, GAP_S, split_by_time

LAYOUT = Layout.from_doc("bag", __doc__)


class Bag:
    """The color images of a bag in the order of recording, each with the depth image that belongs to it, if any.

    The bag is read once to pair its images as the replay does, then frame by frame. An ID is a header stamp in ns.

    Args:
        root: the bag.
        split: `all`, or `train` or `validation` by `split_by_time`.
        labels: folder of labels; None: the bag's label topic.
        part: `labeled` and `unlabeled` yield these frames only.
        block_s: seconds per block of the split; every fifth block is validation.
        gap_s: seconds left out on each side of a validation block.
        slop_s: how far depth may be from its color image; None: half a frame period.
        require_same_frame: refuse depth of another frame id than color's, which is not aligned.
        color_topic, depth_topic, camera_info_topic, label_topic: where the images are; left at their defaults, they
            are found by type and name.

    Raises:
        BagError: the bag cannot be read, or has no color topic.
        DatasetError: the labels are not this bag's, or no frame is left; the message prints what is expected.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "all",
        labels: str | Path | None = None,
        part: Part = "all",
        block_s: float = BLOCK_S,
        gap_s: float = GAP_S,
        slop_s: float | None = None,
        require_same_frame: bool = True,
        color_topic: str = COLOR_TOPIC,
        depth_topic: str = DEPTH_TOPIC,
        camera_info_topic: str = CAMERA_INFO_TOPIC,
        label_topic: str = LABEL_TOPIC,
    ) -> None:
        names = TopicNames(color_topic, depth_topic, camera_info_topic, label_topic)
        self.root = Path(root).expanduser()
        self.access = FrameAccess(self.root, names=names, slop_s=slop_s, require_same_frame=require_same_frame)
        index = self.access.index
        self.labels = None if labels is None else LabelFolder(labels)
        self.taxonomy = DEFAULT_TAXONOMY if self.labels is None else self.labels.taxonomy
        if self.labels is None:
            with_label = index.label >= 0
        else:
            with_label = np.array(self.labels.mask(map(str, index.stamps_ns.tolist())))
        numbers = LAYOUT.choose(split, split_by_time(index.stamps_ns, block_s, gap_s))
        if numbers.size == 0:
            seconds = np.ptp(index.stamps_ns) / 1e9
            raise LAYOUT.error(
                f"split '{split}' of {self.root} is empty: the bag has {seconds:.1f} s, and the first block for"
                f" validation is its second of {block_s:g} s; choose a smaller block_s"
            )
        chosen = choose_part(LAYOUT, part, with_label[numbers].tolist(), self.root)
        self.numbers = numbers[chosen]

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) header stamps, known without reading images."""
        stamps_ns: NDArray[np.int64] = self.access.index.stamps_ns[self.numbers]
        return stamps_ns

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> RgbdSample:
        number = int(self.numbers[index])
        frame, label = self.access[number]
        id_ = str(frame.stamp_ns)
        if self.labels is not None:
            label = self.labels.read(id_, frame.rgb) if id_ in self.labels.ids else None
        meta: dict[str, Any] = {"stamp_ns": frame.stamp_ns, "frame_id": frame.frame_id}
        if frame.intrinsics is not None:
            meta["intrinsics"] = frame.intrinsics
        return RgbdSample(frame.rgb, frame.depth_m, label, id_, meta)
