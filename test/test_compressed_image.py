# SPDX-License-Identifier: Apache-2.0
import struct
from contextlib import suppress
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from road_kd_seg.compressed_image import decode_compressed_color, decode_compressed_depth, decode_compressed_label
from road_kd_seg.errors import FrameError
from road_kd_seg.image_codec import depth_from_message, label_from_message, rgb_from_message
from rvl_encoder import encode_rvl

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
DEPTH_MM = np.array([[0, 1, 2500], [65535, 0, 0]], np.uint16)


def encoded(extension, pixels):
    return cv2.imencode(extension, pixels)[1].tobytes()


def depth_data(raw, codec="png", a=0.0, b=0.0):
    body = encoded(".png", raw) if codec == "png" else struct.pack("<ii", *raw.shape[::-1]) + encode_rvl(raw)
    return struct.pack("<iff", 0, a, b) + body


class TestColor:
    @pytest.mark.parametrize("format_", ["rgb8; png compressed bgr8", "bgr8; png compressed bgr8", "png", ""])
    def test_png_keeps_every_pixel_red_first(self, format_):
        np.testing.assert_array_equal(decode_compressed_color(format_, encoded(".png", RGB[..., ::-1])), RGB)

    def test_a_file_that_says_it_holds_rgb_is_not_swapped(self):
        np.testing.assert_array_equal(decode_compressed_color("rgb8; png compressed rgb8", encoded(".png", RGB)), RGB)

    @pytest.mark.parametrize("data", [b"", b"no picture"])
    def test_what_is_no_picture_is_named(self, data):
        with pytest.raises(FrameError, match=rf"format 'jpeg': its {len(data)} bytes are no JPEG or PNG"):
            decode_compressed_color("jpeg", data)


class TestDepth:
    @pytest.mark.parametrize(
        ("format_", "codec"),
        [
            ("16UC1; compressedDepth", "png"),
            ("16UC1; compressedDepth png", "png"),
            ("16UC1; compressedDepth PNG", "png"),
            ("16UC1; compressedDepth rvl", "rvl"),
            ("16UC1; compressedDepth RVL", "rvl"),
        ],
    )
    def test_png_and_rvl_give_the_same_meters(self, format_, codec):
        depth_m = decode_compressed_depth(format_, depth_data(DEPTH_MM, codec))
        np.testing.assert_array_equal(depth_m, DEPTH_MM / np.float32(1000))

    @pytest.mark.parametrize("format_", ["16UC1; png compressed ", "png"])
    def test_a_png_without_the_header_is_read_too(self, format_):
        depth_m = decode_compressed_depth(format_, encoded(".png", DEPTH_MM))
        np.testing.assert_array_equal(depth_m, DEPTH_MM / np.float32(1000))

    @pytest.mark.parametrize("codec", ["png", "rvl"])
    def test_quantized_inverse_depth_becomes_meters_again(self, codec):
        a, b = 1000.0, 10.0
        depth_m = np.array([[0.5, 2.0], [8.0, 0.0]])
        raw = np.where(depth_m > 0, a / np.where(depth_m > 0, depth_m, 1) + b, 0).astype(np.uint16)
        decoded = decode_compressed_depth(f"32FC1; compressedDepth {codec}", depth_data(raw, codec, a, b))
        np.testing.assert_allclose(decoded, depth_m, rtol=1e-3)

    @pytest.mark.parametrize(
        ("format_", "data", "reason"),
        [
            ("16UC1; compressedDepth png", bytes(12), "a 12-byte header and a PNG"),
            ("16UC1; compressedDepth png", bytes(20), "neither a 16-bit PNG nor RVL"),
            ("jpeg", encoded(".jpg", RGB), "neither a 16-bit PNG nor RVL"),
            ("16UC1; compressedDepth png", depth_data(DEPTH_MM.astype(np.uint8)), "expected one channel of 16 bits"),
            ("16UC1; compressedDepth rvl", bytes(12) + struct.pack("<ii", 1 << 30, 1 << 30) + bytes(8), "is damaged"),
            ("16UC1; compressedDepth rvl", bytes(12) + struct.pack("<ii", 640, 480) + bytes(8), "of 307200 pixels"),
        ],
        ids=["short", "rubbish", "jpeg", "8 bits", "size", "cut"],
    )
    def test_anything_else_is_refused_with_its_reason(self, format_, data, reason):
        with pytest.raises(FrameError, match=reason):
            decode_compressed_depth(format_, data)

    @given(data=st.binary(max_size=80), codec=st.sampled_from(["png", "rvl"]))
    def test_any_bytes_give_depth_or_a_frame_error(self, data, codec):
        with suppress(FrameError):
            assert decode_compressed_depth(f"16UC1; compressedDepth {codec}", data).ndim == 2

    @pytest.mark.parametrize(("a", "b"), [(float("nan"), 0), (float("inf"), 0), (1.0, float("nan")), (-1.0, 0), (0, 0)])
    def test_quantization_that_gives_no_depth_is_refused(self, a, b):
        with pytest.raises(FrameError, match=r"quantization A .* expected finite numbers and A above 0"):
            decode_compressed_depth("32FC1; compressedDepth png", depth_data(DEPTH_MM, "png", a, b))

    @pytest.mark.parametrize(("a", "b"), [(3e38, 0.9999999), (1e-45, -3e38), (3e38, 3e38), (1.0, 1e30)])
    def test_depth_is_finite_and_not_negative_whatever_the_quantization(self, a, b):
        depth_m = decode_compressed_depth("32FC1; compressedDepth png", depth_data(DEPTH_MM, "png", a, b))
        assert np.isfinite(depth_m).all()
        assert (depth_m >= 0).all()

    @pytest.mark.parametrize("codec", ["png", "rvl"])
    def test_a_size_other_than_the_color_images_is_refused(self, codec):
        with pytest.raises(FrameError, match="3x2 pixels, expected 8x6"):
            decode_compressed_depth(f"16UC1; compressedDepth {codec}", depth_data(DEPTH_MM, codec), (6, 8))


@pytest.mark.parametrize("decode", [decode_compressed_color, decode_compressed_depth, decode_compressed_label])
def test_escape_sequences_of_a_format_reach_no_log(decode):
    with pytest.raises(FrameError) as caught:
        decode("\x1b[31m\n" * 10_000, b"")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


class TestLabel:
    def test_class_ids_pass_unchanged(self):
        ids = np.array([[0, 4], [255, 3]], np.uint8)
        np.testing.assert_array_equal(decode_compressed_label("mono8; png compressed ", encoded(".png", ids)), ids)

    def test_a_jpeg_is_refused_because_it_changes_ids(self):
        with pytest.raises(FrameError, match="expected a PNG"):
            decode_compressed_label("mono8; jpeg compressed ", encoded(".jpg", np.zeros((8, 8), np.uint8)))


def image(encoding, pixels):
    height, width = pixels.shape[:2]
    fields = {"height": height, "width": width, "step": pixels.strides[0], "is_bigendian": 0}
    return SimpleNamespace(encoding=encoding, data=pixels.tobytes(), **fields)


def compressed(format_, data):
    return SimpleNamespace(format=format_, data=data)


def test_either_kind_of_message_gives_the_same_arrays():
    np.testing.assert_array_equal(
        rgb_from_message(image("rgb8", RGB)), rgb_from_message(compressed("png", encoded(".png", RGB[..., ::-1])))
    )
    np.testing.assert_array_equal(
        depth_from_message(image("16UC1", DEPTH_MM)),
        depth_from_message(compressed("16UC1; compressedDepth rvl", depth_data(DEPTH_MM, "rvl"))),
    )
    ids = DEPTH_MM.astype(np.uint8)
    np.testing.assert_array_equal(
        label_from_message(image("mono8", ids)), label_from_message(compressed("png", encoded(".png", ids)))
    )
