# SPDX-License-Identifier: Apache-2.0
"""ROS packages that PyPI's rclpy wheels lack: the real one where it is installed, else the few calls that we use.

The `_fallback` modules follow the contracts of the real packages; test/ros/test_compat.py runs against both. There is
none for cv_bridge: `conversions` needs no other package, and works where cv_bridge breaks (NumPy 2, OpenCV 5).
"""
