# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest

from road_kd_seg.camera_info import fit_camera_info, intrinsics_from_camera_info
from road_kd_seg.errors import FrameError
from road_kd_seg.frame import Intrinsics
from road_kd_seg.frame_checks import check_same_frame, depth_unit_problem, same_frame


def camera_info(frame_id="camera", width=640, height=480, k=(500, 0, 320, 0, 510, 240, 0, 0, 1), binning=(0, 0)):
    region = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    header = SimpleNamespace(frame_id=frame_id)
    fields = {"width": width, "height": height, "binning_x": binning[0], "binning_y": binning[1]}
    return SimpleNamespace(header=header, k=np.array(k, float), roi=region, **fields)


class TestFrameIds:
    @pytest.mark.parametrize("pair", [("camera", "camera"), ("/camera", "camera"), ("", "camera"), ("camera", "")])
    def test_a_slash_and_an_empty_name_are_no_difference(self, pair):
        assert same_frame(*pair)
        check_same_frame(*pair)

    def test_depth_of_another_frame_is_refused_with_both_fixes(self):
        with pytest.raises(
            FrameError, match=r"in frame 'depth', color in 'color'.*align_depth\.enable:=true.*require_same_frame"
        ):
            check_same_frame("color", "depth")


class TestCameraInfo:
    def test_it_fits_an_image_of_its_frame_and_size(self):
        fit = fit_camera_info(camera_info("/camera"), "camera", (480, 640))
        assert fit == (Intrinsics(500, 510, 320, 240, 640, 480), "")

    @pytest.mark.parametrize(
        ("info", "problem"),
        [
            (camera_info("other"), "camera_info is of frame 'other', the color image of 'camera'"),
            (camera_info(width=1280, height=720), "is for 1280x720 images, the color image is 640x480"),
            (camera_info(k=np.zeros(9)), "holds no calibration"),
            (camera_info(k=(np.nan, 0, 320, 0, 510, 240, 0, 0, 1)), "holds no calibration"),
            (camera_info(k=(500, 0, np.inf, 0, 510, 240, 0, 0, 1)), "holds no calibration"),
            (camera_info(k=(500, 0, 320, 0, -510, 240, 0, 0, 1)), "holds no calibration"),
            (camera_info(binning=(100_000, 1)), "holds no calibration"),
        ],
        ids=["frame", "size", "zero", "nan", "inf", "negative", "binning"],
    )
    def test_one_that_does_not_fit_counts_as_none_and_says_why(self, info, problem):
        fit = fit_camera_info(info, "camera", (480, 640))
        assert fit.intrinsics is None
        assert problem in fit.problem

    def test_binning_and_region_of_interest_give_the_camera_of_the_published_image(self):
        info = camera_info(binning=(2, 4))
        info.roi = SimpleNamespace(x_offset=100, y_offset=40, width=400, height=200)
        assert intrinsics_from_camera_info(info) == Intrinsics(250, 127.5, 110, 50, 200, 50)


class TestDepthUnit:
    ROAD_M = np.linspace(1.5, 6, 100, dtype=np.float32).reshape(10, 10)

    def test_a_road_is_plausible_with_holes_and_without_any_depth(self):
        assert depth_unit_problem(self.ROAD_M) == ""
        assert depth_unit_problem(np.where(self.ROAD_M > 4, 0, self.ROAD_M)) == ""
        assert depth_unit_problem(np.zeros((4, 4), np.float32)) == ""

    @pytest.mark.parametrize(
        ("factor", "unit"),
        [(1000, "millimeters in a floating-point image"), (10, "0.1 mm"), (5, "1/5000 m"), (0.001, "probably m;")],
    )
    def test_a_wrong_unit_is_named(self, factor, unit):
        assert unit in depth_unit_problem(self.ROAD_M * np.float32(factor))
