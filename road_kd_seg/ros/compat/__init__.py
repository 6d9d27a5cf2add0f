"""ROS packages that PyPI's rclpy wheels lack: the real one where it is installed, else the few calls that we use.

The `_fallback` modules follow the contracts of the real packages; test/ros/test_compat.py runs against both.
"""
