# SPDX-License-Identifier: Apache-2.0
"""Bags in and out, without ROS, and the report that scores what a node made of one."""
