# SPDX-License-Identifier: Apache-2.0
"""The package's face to ROS 2. Nothing outside this folder knows that ROS exists."""
