# SPDX-License-Identifier: Apache-2.0
"""The stored messages of a frame → the frame, with the checks that the node makes as well."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.bags.cdr import CAMERA_INFO_TYPE, decode_image, decode_message
from road_kd_seg.bags.realsense_sdk import SdkDepth, is_sdk_topic, sdk_depth, sdk_intrinsics
from road_kd_seg.bags.recording import Recording
from road_kd_seg.bags.storage import MessageBytes
from road_kd_seg.bags.topics import TopicNames
from road_kd_seg.camera_info import fit_camera_info
from road_kd_seg.errors import FrameError
from road_kd_seg.frame import Intrinsics, LabeledFrame, RgbdFrame
from road_kd_seg.frame_checks import check_same_frame, depth_unit_problem
from road_kd_seg.image_codec import depth_from_message, label_from_message, rgb_from_message


class FrameMessages(NamedTuple):
    """The stored messages of a frame; None where missing."""

    number: int
    """Of the frame in the index."""
    color: MessageBytes
    depth: MessageBytes | None
    label: MessageBytes | None
    camera_info: MessageBytes | None


class FrameDecoder:
    """Decodes the frames of a recording.

    Args:
        recording: open.
        names: its topics.
        require_same_frame: refuse depth of another frame id than color's, which is not aligned.
    """

    def __init__(self, recording: Recording, names: TopicNames, require_same_frame: bool) -> None:
        self._recording = recording
        self._names = names
        self._require_same_frame = require_same_frame
        self._unit_checked = False
        self.notes: list[str] = []
        """What is odd about the frames so far, in sentences."""

    def decode(self, messages: FrameMessages, stamp_ns: int) -> LabeledFrame:
        """A frame, by the name of `stamp_ns`.

        Raises:
            FrameError: a message that is no image, or images that do not belong together.
        """
        color = self._image(messages.color, self._names.color)
        rgb = rgb_from_message(color)
        size, frame_id = (rgb.shape[0], rgb.shape[1]), color.header.frame_id
        depth_m = None if messages.depth is None else self._depth_m(messages.depth, frame_id, size)
        label = None if messages.label is None else label_from_message(self._image(messages.label, self._names.label))
        if label is not None and label.shape != size:
            raise FrameError(
                f"label is {label.shape[1]}x{label.shape[0]}, color is {size[1]}x{size[0]}: expected equal sizes"
            )
        intrinsics = self._intrinsics(messages.camera_info, frame_id, size)
        return LabeledFrame(RgbdFrame(rgb, depth_m, intrinsics, stamp_ns, frame_id), label)

    @property
    def depth_is_usable(self) -> bool:
        """False for a recording of the RealSense SDK that lacks the calibration by which its depth is aligned."""
        names = self._names
        if not is_sdk_topic(names.color) or not self._recording.counts.get(names.depth) or self._sdk is not None:
            return True
        self._note(
            f"depth of {names.depth} is not aligned to color, and the file lacks the calibration to align it:"
            " it is not used; record through the ROS driver with align_depth.enable:=true"
        )
        return False

    def _depth_m(self, cdr: MessageBytes, color_frame_id: str, size: tuple[int, int]) -> NDArray[np.float32]:
        message = self._image(cdr, self._names.depth)
        if self._sdk is not None:
            return self._sdk(depth_from_message(message))
        if self._require_same_frame:
            check_same_frame(color_frame_id, message.header.frame_id)
        depth_m = depth_from_message(message, size)
        if not self._unit_checked and depth_m.any():
            self._unit_checked = True
            self._note(depth_unit_problem(depth_m))
        return depth_m

    def _intrinsics(self, cdr: MessageBytes | None, frame_id: str, size: tuple[int, int]) -> Intrinsics | None:
        if is_sdk_topic(self._names.color):
            return self._sdk_intrinsics
        if cdr is None:
            return None
        fit = fit_camera_info(decode_message(cdr, CAMERA_INFO_TYPE), frame_id, size)
        self._note(f"{fit.problem}; frames are without intrinsics" if fit.problem else "")
        return fit.intrinsics

    def _image(self, cdr: MessageBytes, topic: str) -> Any:
        return decode_image(cdr, self._recording.topics[topic].msgtype)

    @cached_property
    def _sdk(self) -> SdkDepth | None:
        """How a RealSense SDK recording aligns its depth; None for every other recording."""
        names = self._names
        if not (is_sdk_topic(names.color) and is_sdk_topic(names.depth) and self._recording.counts.get(names.depth)):
            return None
        sdk = sdk_depth(self._recording, names.color, names.depth)
        if sdk is not None:
            self._note(
                f"depth of {names.depth} was recorded as the left imager saw it: it is aligned to color by the file's"
                f" own calibration (unit {sdk.unit_m:g} m)"
            )
        return sdk

    @cached_property
    def _sdk_intrinsics(self) -> Intrinsics | None:
        return sdk_intrinsics(self._recording, self._names.color)

    def _note(self, text: str) -> None:
        if text and text not in self.notes:
            self.notes.append(text)
