# SPDX-License-Identifier: Apache-2.0
"""Procedural RGB-D road scenes with exact labels: no road, no camera and no annotator needed."""

from road_kd_seg.synthetic.drive import DriveConfig, render_drive, render_scene, render_wet_mask

__all__ = ["DriveConfig", "render_drive", "render_scene", "render_wet_mask"]
