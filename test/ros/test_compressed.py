import struct

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from road_kd_seg.errors import FrameError
from road_kd_seg.ros.compressed import depth_from_compressed, rgb_from_compressed


def encoded(extension, pixels):
    return cv2.imencode(extension, pixels)[1].tobytes()


def depth_message(raw, encoding="16UC1", a=0.0, b=0.0):
    data = struct.pack("<iff", 0, a, b) + encoded(".png", raw)
    return CompressedImage(format=f"{encoding}; compressedDepth png", data=data)


class TestColor:
    def test_png_keeps_every_pixel_red_first(self):
        rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
        msg = CompressedImage(format="rgb8; png compressed bgr8", data=encoded(".png", rgb[..., ::-1]))
        np.testing.assert_array_equal(rgb_from_compressed(msg), rgb)

    def test_jpeg_keeps_a_flat_color(self):
        bgr = np.full((16, 16, 3), (200, 30, 90), np.uint8)
        msg = CompressedImage(format="rgb8; jpeg compressed bgr8", data=encoded(".jpg", bgr))
        np.testing.assert_allclose(rgb_from_compressed(msg).mean((0, 1)), (90, 30, 200), atol=3)  # JPEG's own error

    @pytest.mark.parametrize("data", [b"", b"no picture"])
    def test_what_is_no_picture_is_named(self, data):
        with pytest.raises(FrameError, match=rf"format 'jpeg': its {len(data)} bytes are no JPEG or PNG"):
            rgb_from_compressed(CompressedImage(format="jpeg", data=data))


class TestDepth:
    def test_millimeters_become_meters(self):
        raw = np.array([[0, 1], [2500, 65535]], np.uint16)
        np.testing.assert_allclose(depth_from_compressed(depth_message(raw)), raw / 1000, rtol=1e-6)

    def test_quantized_inverse_depth_becomes_meters_again(self):
        a, b = 1000.0, 10.0
        depth_m = np.array([[0.5, 2.0], [8.0, 0.0]])
        raw = np.where(depth_m > 0, a / np.where(depth_m > 0, depth_m, 1) + b, 0).astype(np.uint16)
        np.testing.assert_allclose(depth_from_compressed(depth_message(raw, "32FC1", a, b)), depth_m, rtol=1e-3)

    @pytest.mark.parametrize(
        ("msg", "reason"),
        [
            (CompressedImage(format="png", data=bytes(20)), "expected '16UC1; compressedDepth png'"),
            (
                CompressedImage(format="16UC1; compressedDepth rvl", data=bytes(20)),
                "expected '16UC1; compressedDepth png'",
            ),
            (CompressedImage(format="16UC1; compressedDepth png", data=bytes(12)), "a 12-byte header and a PNG"),
            (CompressedImage(format="16UC1; compressedDepth png", data=bytes(20)), "are no JPEG or PNG"),
            (depth_message(np.zeros((2, 2), np.uint8)), "expected one channel of 16 bits"),
        ],
        ids=["raw png", "rvl", "short", "rubbish", "8 bits"],
    )
    def test_anything_else_is_refused_with_its_reason(self, msg, reason):
        with pytest.raises(FrameError, match=reason):
            depth_from_compressed(msg)


class TestHostileDepth:
    @pytest.mark.parametrize(("a", "b"), [(float("nan"), 0), (float("inf"), 0), (1.0, float("nan")), (-1.0, 0), (0, 0)])
    def test_quantization_that_gives_no_depth_is_refused(self, a, b):
        with pytest.raises(FrameError, match=r"quantization A .* expected finite numbers and A above 0"):
            depth_from_compressed(depth_message(np.full((2, 2), 9, np.uint16), "32FC1", a, b))

    @pytest.mark.parametrize(("a", "b"), [(3e38, 8.9999999), (1e-45, -3e38), (3e38, 3e38), (1.0, 1e30)])
    def test_depth_is_finite_and_not_negative_whatever_the_quantization(self, a, b):
        depth_m = depth_from_compressed(depth_message(np.array([[0, 9], [10, 65535]], np.uint16), "32FC1", a, b))
        assert np.isfinite(depth_m).all()
        assert (depth_m >= 0).all()

    def test_a_size_other_than_the_color_images_is_refused_before_it_is_decoded(self):
        with pytest.raises(FrameError, match="2x2 pixels, expected 4x3"):
            depth_from_compressed(depth_message(np.zeros((2, 2), np.uint16)), (3, 4))

    def test_escape_sequences_of_a_format_reach_no_log(self):
        with pytest.raises(FrameError) as caught:
            rgb_from_compressed(CompressedImage(format="\x1b[31m\n" * 10_000, data=b""))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 200
