# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest

from road_kd_seg.camera_info import intrinsics_from_camera_info
from road_kd_seg.errors import FrameError
from road_kd_seg.frame import Intrinsics


def camera_info(k=(500.0, 0, 320, 0, 501, 240, 0, 0, 1), width=640, height=480, binning=0, roi=(0, 0, 0, 0)):
    region = SimpleNamespace(x_offset=roi[0], y_offset=roi[1], width=roi[2], height=roi[3])
    return SimpleNamespace(k=np.array(k), width=width, height=height, binning_x=binning, binning_y=binning, roi=region)


def test_a_calibrated_camera_is_read():
    assert intrinsics_from_camera_info(camera_info()) == Intrinsics(500, 501, 320, 240, 640, 480)


def test_binning_and_region_apply_to_the_image_as_published():
    info = camera_info(binning=2, roi=(20, 40, 600, 400))
    assert intrinsics_from_camera_info(info) == Intrinsics(250, 250.5, 150, 100, 300, 200)


@pytest.mark.parametrize("at", [0, 4])
@pytest.mark.parametrize("value", [0.0, -500.0, 1e-300, 1e300, float("nan"), float("inf")])
def test_a_focal_length_that_no_camera_has_counts_as_uncalibrated(at, value):
    k = [500.0, 0, 320, 0, 501, 240, 0, 0, 1]
    k[at] = value
    assert intrinsics_from_camera_info(camera_info(k)) is None


@pytest.mark.parametrize("at", [2, 5])
@pytest.mark.parametrize("value", [1e30, float("nan"), float("-inf")])
def test_so_does_a_principal_point(at, value):
    k = [500.0, 0, 320, 0, 501, 240, 0, 0, 1]
    k[at] = value
    assert intrinsics_from_camera_info(camera_info(k)) is None


def test_and_binning_that_leaves_no_pixel():
    assert intrinsics_from_camera_info(camera_info(binning=2**32 - 1)) is None
    assert intrinsics_from_camera_info(camera_info(width=0)) is None


@pytest.mark.parametrize("value", ["500", None, [500.0], 10**400, float("nan"), 1e-300, 0])
def test_intrinsics_are_numbers_that_a_camera_has(value):
    with pytest.raises(FrameError, match="no camera has these"):
        Intrinsics(value, 500, 320, 240, 640, 480)
