# SPDX-License-Identifier: Apache-2.0
"""Fallback for `sensor_msgs_py.point_cloud2`: structured arrays to clouds and back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

_DTYPES = {
    PointField.INT8: "i1",
    PointField.UINT8: "u1",
    PointField.INT16: "i2",
    PointField.UINT16: "u2",
    PointField.INT32: "i4",
    PointField.UINT32: "u4",
    PointField.FLOAT32: "f4",
    PointField.FLOAT64: "f8",
}


def create_cloud(header: Header, fields: Sequence[PointField], points: NDArray[np.void]) -> PointCloud2:
    """An unorganized cloud; `is_dense` is False as in the original.

    Args:
        header: of the cloud.
        fields: one per field of `points`, each with a count of 1.
        points: structured (N,), with exactly these fields.

    Raises:
        AssertionError: fields and points disagree.
    """
    dtype = _dtype(fields, "=")
    assert points.dtype == dtype, f"points are {points.dtype}, fields say {dtype}"
    cloud = PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=list(fields),
        is_bigendian=sys.byteorder != "little",
        point_step=dtype.itemsize,
        row_step=dtype.itemsize * len(points),
        is_dense=False,
    )
    cloud.data.frombytes(np.ascontiguousarray(points).tobytes())
    return cloud


def read_points(cloud: PointCloud2, field_names: Sequence[str] | None = None) -> NDArray[np.void]:
    """The points, structured (N,): a view of the message's data, with all fields or those named.

    Raises:
        AssertionError: no PointCloud2, or a field that it lacks.
    """
    assert isinstance(cloud, PointCloud2), "cloud is not a sensor_msgs/PointCloud2"
    byte_order = ">" if cloud.is_bigendian else "<"
    dtype = _dtype(cloud.fields, byte_order, cloud.point_step)
    points: NDArray[np.void] = np.ndarray((cloud.width * cloud.height,), dtype, cloud.data)
    if field_names is not None:
        assert set(field_names) <= set(dtype.names or ()), f"cloud has the fields {dtype.names}, not {field_names}"
        points = points[list(field_names)]
    return points


def _dtype(fields: Sequence[PointField], byte_order: str, point_step: int | None = None) -> np.dtype[np.void]:
    layout: Any = {
        "names": [field.name for field in fields],
        "formats": [byte_order + _DTYPES[field.datatype] for field in fields],
        "offsets": [field.offset for field in fields],
    }
    if point_step is not None:
        layout["itemsize"] = point_step
    dtype: np.dtype[np.void] = np.dtype(layout)
    return dtype
