# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from road_kd_seg.errors import FrameError
from road_kd_seg.image_codec import COLOR_ENCODINGS, DEPTH_ENCODINGS, depth_from_message, rgb_from_message
from road_kd_seg.postprocess import POINT_DTYPE
from road_kd_seg.ros.compat.point_cloud2 import read_points
from road_kd_seg.ros.conversions import cloud_from_points, image_from_array, stamp_ns

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
            np.testing.assert_array_equal(rgb_from_message(msg), rgb, encoding)

    def test_mono8_is_gray(self, rgb):
        np.testing.assert_array_equal(rgb_from_message(image(rgb[..., 0], "mono8")), np.repeat(rgb[..., :1], 3, axis=2))

    def test_rgb8_is_not_copied(self, rgb):
        msg = image(rgb, "rgb8")
        rgb_from_message(msg)[0, 0, 0] = 17
        assert msg.data[0] == 17

    def test_a_short_buffer_is_named(self, rgb):
        msg = image(rgb, "rgb8")
        msg.data = msg.data[:-1]
        with pytest.raises(FrameError, match=r"color image: data holds 71 bytes, expected 72 .* cut short"):
            rgb_from_message(msg)


class TestDepth:
    @pytest.mark.parametrize("padding", [0, 6])
    @pytest.mark.parametrize(("order", "is_bigendian"), [("<", 0), (">", 1)])
    def test_millimeters_become_meters(self, padding, order, is_bigendian):
        raw = np.array([[0, 1500], [65535, 1]], order + "u2")
        depth_m = depth_from_message(image(raw, "16UC1", padding=padding, is_bigendian=is_bigendian))
        np.testing.assert_allclose(depth_m, [[0, 1.5], [65.535, 0.001]], rtol=1e-6)
        assert depth_m.dtype == np.float32

    def test_meters_keep_and_invalid_ones_become_zero(self):
        raw = np.array([[1.25, np.nan], [np.inf, -1.0]], "<f4")
        np.testing.assert_array_equal(depth_from_message(image(raw, "32FC1")), [[1.25, 0], [0, 0]])


@pytest.fixture(scope="module")
def bridge():
    """cv_bridge, where it works: one built for NumPy 1 kills the process under NumPy 2; only a child can find out."""
    pytest.importorskip("cv_bridge")
    probe = (
        "import numpy as np; from cv_bridge import CvBridge; b = CvBridge();"
        "b.imgmsg_to_cv2(b.cv2_to_imgmsg(np.zeros((4, 4, 3), np.uint8), 'bgr8'), 'rgb8')"
    )
    if subprocess.run([sys.executable, "-c", probe], capture_output=True).returncode:
        pytest.skip("cv_bridge dies in a color conversion: it was built for another NumPy")
    from cv_bridge import CvBridge

    return CvBridge()


OLDER_NAMES = {"yuyv": "yuv422_yuy2", "YUYV": "yuv422_yuy2", "uyvy": "yuv422"}
"""Of encodings that cv_bridge knows under these names only."""


class TestAgainstCvBridge:
    """ROS's own conversion as the oracle, where it is right: little-endian, rows padded by whole pixels."""

    @pytest.mark.parametrize("padding", [0, 3])
    @pytest.mark.parametrize("size", [(6, 8), (33, 62), (120, 162)])
    @pytest.mark.parametrize("encoding", COLOR_ENCODINGS)
    def test_color_is_bit_identical(self, bridge, encoding, size, padding):
        channels, _, kind = COLOR_ENCODINGS[encoding]
        pixels = np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, (*size, channels), kind)
        padding_bytes = padding * channels * pixels.itemsize
        msg = image(pixels, encoding, padding=padding_bytes)
        known = image(pixels, OLDER_NAMES.get(encoding, encoding), padding=padding_bytes)
        expected = bridge.imgmsg_to_cv2(known, "passthrough" if encoding.startswith("8UC") else "rgb8")
        if encoding in ("8UC3", "8UC4"):  # without a color meaning in ROS; OpenCV's order is blue first
            expected = expected[..., 2::-1]
        if expected.ndim == 2:
            expected = np.repeat(expected[..., None], 3, axis=2)
        np.testing.assert_array_equal(rgb_from_message(msg), expected)

    @pytest.mark.parametrize("encoding", DEPTH_ENCODINGS)
    def test_depth_is_its_number_in_meters(self, bridge, encoding):
        raw = np.random.default_rng(0).integers(1, 30_000, (6, 8)).astype(DEPTH_ENCODINGS[encoding])
        msg = image(raw, encoding)
        scale = 0.001 if raw.dtype.kind in "iu" else 1.0
        np.testing.assert_allclose(depth_from_message(msg), bridge.imgmsg_to_cv2(msg) * scale, rtol=1e-6)


class TestOutputImages:
    @pytest.mark.parametrize(("encoding", "shape"), [("mono8", (5, 7)), ("rgb8", (5, 7, 3))])
    def test_pixels_and_header_arrive_unchanged(self, encoding, shape):
        # A view with gaps: the bytes of the message must still be contiguous.
        array = np.random.default_rng(1).integers(0, 256, (10, *shape[1:]), np.uint8)[::2]
        msg = image_from_array(array, encoding, HEADER)
        assert msg.header == HEADER
        assert (msg.height, msg.width, msg.step, len(msg.data)) == (5, 7, array[0].size, array.size)
        np.testing.assert_array_equal(np.frombuffer(msg.data, np.uint8).reshape(shape), array)


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
