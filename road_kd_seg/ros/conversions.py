"""ROS messages ↔ our types. The pixels are `image_codec`'s; here are only fields, headers and camera models."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from road_kd_seg.camera_info import intrinsics_from_camera_info
from road_kd_seg.errors import FrameError
from road_kd_seg.frame import Intrinsics
from road_kd_seg.image_codec import decode_color, decode_depth
from road_kd_seg.ros.compat.point_cloud2 import create_cloud

_OUTPUT_CHANNELS = {"mono8": 1, "rgb8": 3}

_DATATYPES = {"<f4": PointField.FLOAT32, "|u1": PointField.UINT8}


def _point_fields(dtype: np.dtype[np.void]) -> list[PointField]:
    layout = [(name, *dtype.fields[name][:2]) for name in dtype.names or ()] if dtype.fields else []
    return [
        PointField(name=name, offset=int(offset), datatype=_DATATYPES[kind.str], count=1)
        for name, kind, offset in layout
    ]


def stamp_ns(stamp: Time) -> int:
    """A ROS time in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def rgb_from_image(msg: Image) -> NDArray[np.uint8]:
    """Color image of any supported encoding as RGB, uint8 (H, W, 3); rgb8 without padding aliases the message.

    Raises:
        FrameError: an unsupported encoding, or fields that contradict each other.
    """
    return decode_color(*_fields(msg))


def depth_from_image(msg: Image) -> NDArray[np.float32]:
    """Depth image as meters, float32 (H, W), 0 where invalid.

    Raises:
        FrameError: an unsupported encoding, or fields that contradict each other.
    """
    return decode_depth(*_fields(msg))


def image_from_array(array: NDArray[np.uint8], encoding: str, header: Header) -> Image:
    """An Image with this very header.

    Args:
        array: (H, W) for mono8, (H, W, 3) for rgb8.
        encoding: "mono8" or "rgb8".
        header: of the color image that the array belongs to.
    """
    height, width = array.shape[:2]
    pixels = np.ascontiguousarray(array, np.uint8)
    msg = Image(header=header, height=height, width=width, encoding=encoding, step=width * _OUTPUT_CHANNELS[encoding])
    # The only fast way to fill the field: an ndarray or a list is copied element by element, 75 ms at 1024x576.
    msg.data.frombytes(pixels.data.cast("B"))
    return msg


def intrinsics_for_image(info: CameraInfo, color: Header, size: tuple[int, int]) -> Intrinsics | None:
    """Intrinsics, if this camera_info belongs to an image.

    Args:
        info: latest camera_info.
        color: header of the color image.
        size: (H, W) of the color image.

    Returns:
        None for an uncalibrated camera.

    Raises:
        FrameError: it is another camera's, or of another resolution.
    """
    if info.header.frame_id != color.frame_id:
        raise FrameError(
            f"camera_info is of frame '{info.header.frame_id}', the color image of '{color.frame_id}':"
            " remap color/camera_info to the topic of the same camera"
        )
    intrinsics = intrinsics_from_camera_info(info)
    if intrinsics is not None and (intrinsics.height, intrinsics.width) != size:
        raise FrameError(
            f"camera_info is for {intrinsics.width}x{intrinsics.height} images,"
            f" the color image is {size[1]}x{size[0]}:"
            " remap color/camera_info to the topic that goes with color/image_raw"
        )
    return intrinsics


def check_same_frame(color: Header, depth: Header) -> None:
    """Refuse a depth image that was not aligned to the color camera.

    Raises:
        FrameError: the frame ids differ.
    """
    if color.frame_id != depth.frame_id:
        raise FrameError(
            f"depth is in frame '{depth.frame_id}', color in '{color.frame_id}': the depth must be aligned to the"
            " color image (RealSense: align_depth.enable:=true and the topic aligned_depth_to_color/image_raw)"
        )


def cloud_from_points(points: NDArray[np.void], header: Header) -> PointCloud2:
    """Obstacle points, (N,) of `postprocess.POINT_DTYPE`, as an unorganized cloud without invalid points."""
    cloud = create_cloud(header, _point_fields(points.dtype), points)
    cloud.is_dense = True
    return cloud


def _fields(msg: Image) -> tuple[str, int, int, int, int, Any]:
    return msg.encoding, msg.height, msg.width, msg.step, msg.is_bigendian, msg.data
