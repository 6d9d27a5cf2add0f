"""Our arrays → ROS messages. The other way is `image_codec`'s and `compressed_image`'s, which bags use as well."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

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


def cloud_from_points(points: NDArray[np.void], header: Header) -> PointCloud2:
    """Obstacle points, (N,) of `postprocess.POINT_DTYPE`, as an unorganized cloud without invalid points."""
    cloud = create_cloud(header, _point_fields(points.dtype), points)
    cloud.is_dense = True
    return cloud
