# SPDX-License-Identifier: Apache-2.0
"""`sensor_msgs_py.point_cloud2`, or our fallback."""

try:
    from sensor_msgs_py.point_cloud2 import create_cloud, read_points
except ImportError:
    from road_kd_seg.ros.compat.point_cloud2_fallback import create_cloud, read_points

__all__ = ["create_cloud", "read_points"]
