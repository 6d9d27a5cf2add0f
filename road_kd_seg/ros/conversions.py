# SPDX-License-Identifier: Apache-2.0
"""Our arrays → ROS messages. The other way is `image_codec`'s and `compressed_image`'s, which bags use as well."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from road_kd_seg.ros.compat.point_cloud2 import create_cloud

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


def image_from_array(array: NDArray[Any], encoding: str, header: Header) -> Image:
    """An Image with this very header.

    Args:
        array: (H, W) uint8 for mono8, uint16 for 16UC1; (H, W, 3) uint8 for rgb8.
        encoding: "mono8", "16UC1" or "rgb8".
        header: of the color image that the array belongs to.
    """
    height, width = array.shape[:2]
    dtype = np.dtype("<u2" if encoding == "16UC1" else "u1")
    pixels = np.ascontiguousarray(array, dtype)
    msg = Image(header=header, height=height, width=width, encoding=encoding, step=pixels[0].nbytes)
    # The only fast way to fill the field: an ndarray or a list is copied element by element, 75 ms at 1024x576.
    msg.data.frombytes(pixels.data.cast("B"))
    return msg


def cloud_from_points(points: NDArray[np.void], header: Header) -> PointCloud2:
    """Structured points as a cloud: (N,) unorganized, all valid; (H, W) organized like the image, NaN where invalid."""
    if points.ndim == 1:
        cloud = create_cloud(header, _point_fields(points.dtype), points)
        cloud.is_dense = True
        return cloud
    # create_cloud would take the first axis for the width.
    height, width = points.shape
    step = points.dtype.itemsize
    cloud = PointCloud2(
        header=header, height=height, width=width, point_step=step, row_step=width * step, is_dense=False
    )
    cloud.fields = _point_fields(points.dtype)
    cloud.data.frombytes(np.ascontiguousarray(points).data.cast("B"))
    return cloud
