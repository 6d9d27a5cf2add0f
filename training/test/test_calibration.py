# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from road_kd_seg.bundle import load_bundle
from road_kd_training.calibration import calibration_frames
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.datasets.frames import write_frame


@pytest.fixture
def color_images(tmp_path):
    """A dataset `frames` without depth."""
    for index in range(3):
        write_frame(tmp_path, RgbdSample(np.full((32, 64, 3), index, np.uint8), None, None, str(index), {}), None)
    return {"train": [{"dataset": "frames", "options": {"root": str(tmp_path)}}]}


def test_frames_without_depth_calibrate_no_network_that_needs_it(color_images):
    rgbd, rgb = (
        dataclasses.replace(load_bundle(name), provenance=color_images) for name in ("road_student", "road_student_rgb")
    )
    assert {frame.rgb.shape for frame in calibration_frames(rgbd)} == {(576, 1024, 3)}  # rendered scenes alone
    assert {frame.rgb.shape for frame in calibration_frames(rgb)} == {(576, 1024, 3), (32, 64, 3)}
