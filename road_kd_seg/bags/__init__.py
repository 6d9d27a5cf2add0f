# SPDX-License-Identifier: Apache-2.0
"""Recordings: read, write, pair and play rosbags."""
