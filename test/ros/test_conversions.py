import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from road_kd_seg.errors import FrameError
from road_kd_seg.frame import Intrinsics
from road_kd_seg.postprocess import POINT_DTYPE
from road_kd_seg.ros.compat.point_cloud2 import read_points
from road_kd_seg.ros.conversions import (
    check_same_frame,
    cloud_from_points,
    depth_from_image,
    image_from_array,
    intrinsics_for_image,
    intrinsics_from_camera_info,
    rgb_from_image,
    stamp_ns,
)

HEADER = Header(stamp=Time(sec=12, nanosec=34), frame_id="camera")


def image(pixels, encoding, *, padding=0, is_bigendian=0):
    """A message with `padding` bytes of rubbish behind each row."""
    rows = pixels.reshape(pixels.shape[0], -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    msg = Image(header=HEADER, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    msg.step, msg.is_bigendian = padded.shape[1], is_bigendian
    msg.data.frombytes(padded.tobytes())
    return msg


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


class TestColor:
    @pytest.mark.parametrize("padding", [0, 5])
    def test_every_order_of_channels_is_the_same_picture(self, rgb, padding):
        alpha = np.full((4, 6, 1), 7, np.uint8)
        orders = {
            "rgb8": rgb,
            "bgr8": rgb[..., ::-1],
            "rgba8": np.concatenate((rgb, alpha), 2),
            "bgra8": np.concatenate((rgb[..., ::-1], alpha), 2),
        }
        for encoding, pixels in orders.items():
            msg = image(np.ascontiguousarray(pixels), encoding, padding=padding)
            np.testing.assert_array_equal(rgb_from_image(msg), rgb, encoding)

    def test_mono8_is_gray(self, rgb):
        np.testing.assert_array_equal(rgb_from_image(image(rgb[..., 0], "mono8")), np.repeat(rgb[..., :1], 3, axis=2))

    def test_yuv422_without_chroma_is_gray(self):
        yuy2 = np.full((2, 4, 2), 128, np.uint8)
        yuy2[..., 0] = 235  # white in limited range
        np.testing.assert_array_equal(rgb_from_image(image(yuy2, "yuv422_yuy2")), np.full((2, 4, 3), 255))

    def test_rgb8_is_not_copied(self, rgb):
        msg = image(rgb, "rgb8")
        rgb_from_image(msg)[0, 0, 0] = 17
        assert msg.data[0] == 17

    def test_a_short_buffer_is_named(self, rgb):
        msg = image(rgb, "rgb8")
        msg.data = msg.data[:-1]
        with pytest.raises(FrameError, match=r"color image: data holds 71 bytes, expected 72 .* cut short"):
            rgb_from_image(msg)


class TestDepth:
    @pytest.mark.parametrize("padding", [0, 6])
    @pytest.mark.parametrize(("order", "is_bigendian"), [("<", 0), (">", 1)])
    def test_millimeters_become_meters(self, padding, order, is_bigendian):
        raw = np.array([[0, 1500], [65535, 1]], order + "u2")
        depth_m = depth_from_image(image(raw, "16UC1", padding=padding, is_bigendian=is_bigendian))
        np.testing.assert_allclose(depth_m, [[0, 1.5], [65.535, 0.001]], rtol=1e-6)
        assert depth_m.dtype == np.float32

    def test_meters_keep_and_invalid_ones_become_zero(self):
        raw = np.array([[1.25, np.nan], [np.inf, -1.0]], "<f4")
        np.testing.assert_array_equal(depth_from_image(image(raw, "32FC1")), [[1.25, 0], [0, 0]])


class TestOutputImages:
    @pytest.mark.parametrize(("encoding", "shape"), [("mono8", (5, 7)), ("rgb8", (5, 7, 3))])
    def test_pixels_and_header_arrive_unchanged(self, encoding, shape):
        # A view with gaps: the bytes of the message must still be contiguous.
        array = np.random.default_rng(1).integers(0, 256, (10, *shape[1:]), np.uint8)[::2]
        msg = image_from_array(array, encoding, HEADER)
        assert msg.header == HEADER
        assert (msg.height, msg.width, msg.step, len(msg.data)) == (5, 7, array[0].size, array.size)
        np.testing.assert_array_equal(np.frombuffer(msg.data, np.uint8).reshape(shape), array)


class TestCameraInfo:
    def info(self, **fields):
        k = [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
        return CameraInfo(header=HEADER, width=640, height=480, k=np.array(k), **fields)

    def test_k_is_read(self):
        assert intrinsics_from_camera_info(self.info()) == Intrinsics(500, 510, 320, 240, 640, 480)

    def test_binning_and_region_of_interest_give_the_camera_of_the_published_image(self):
        region = RegionOfInterest(x_offset=100, y_offset=40, width=400, height=200)
        info = self.info(binning_x=2, binning_y=4, roi=region)
        assert intrinsics_from_camera_info(info) == Intrinsics(250, 127.5, 110, 50, 200, 50)

    def test_an_uncalibrated_camera_has_none(self):
        assert intrinsics_from_camera_info(CameraInfo(width=640, height=480)) is None

    def test_another_cameras_info_is_refused(self):
        with pytest.raises(FrameError, match="camera_info is of frame 'camera', the color image of 'other'"):
            intrinsics_for_image(self.info(), Header(frame_id="other"), (480, 640))

    def test_another_resolution_is_refused(self):
        with pytest.raises(FrameError, match="camera_info is for 640x480 images, the color image is 1280x720"):
            intrinsics_for_image(self.info(), HEADER, (720, 1280))


class TestFrames:
    def test_equal_frames_pass(self):
        check_same_frame(HEADER, Header(frame_id="camera"))

    def test_unaligned_depth_is_refused_with_the_mend(self):
        with pytest.raises(FrameError, match=r"depth is in frame 'depth', color in 'camera'.*align_depth.enable:=true"):
            check_same_frame(HEADER, Header(frame_id="depth"))


class TestPoints:
    def test_a_cloud_holds_the_points_and_says_that_all_are_valid(self):
        points = np.zeros(3, POINT_DTYPE)
        points["x"], points["y"], points["z"] = [1, 2, 3], [4, 5, 6], [7, 8, 9]
        points["label"], points["confidence"] = [3, 4, 3], [0.5, 0.75, 1]
        cloud = cloud_from_points(points, HEADER)
        assert cloud.is_dense
        assert (cloud.header, cloud.height, cloud.width) == (HEADER, 1, 3)
        for name in POINT_DTYPE.names:
            np.testing.assert_array_equal(read_points(cloud)[name], points[name])


def test_stamps_keep_their_nanoseconds():
    assert stamp_ns(Time(sec=1_700_000_000, nanosec=999_999_999)) == 1_700_000_000_999_999_999
