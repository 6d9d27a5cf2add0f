# SPDX-License-Identifier: Apache-2.0
from array import array
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from road_kd_seg.errors import FrameError
from road_kd_seg.image_codec import (
    COLOR_ENCODINGS,
    decode_color,
    decode_depth,
    decode_label,
    depth_from_message,
    millimeters_from_message,
)

RED, GREEN = (255, 0, 0), (0, 255, 0)


def padded(pixels: np.ndarray, padding: int) -> tuple[int, int, int, bytes]:
    """(height, width, step, data) of an image whose rows end in `padding` bytes of rubbish."""
    height, width = pixels.shape[:2]
    rows = np.frombuffer(pixels.tobytes(), np.uint8).reshape(height, -1)
    rows = np.hstack([rows, np.full((height, padding), 0xA5, np.uint8)])
    return height, width, rows.shape[1], rows.tobytes()


class TestDecodeColor:
    @pytest.mark.parametrize(
        ("encoding", "red_pixel", "green_pixel"),
        [
            ("rgb8", RED, GREEN),
            ("bgr8", (0, 0, 255), GREEN),
            ("rgba8", (255, 0, 0, 7), (0, 255, 0, 9)),
            ("bgra8", (0, 0, 255, 7), (0, 255, 0, 9)),
        ],
    )
    def test_color_arrives_red_first(self, encoding, red_pixel, green_pixel):
        height, width, step, data = padded(np.array([[red_pixel, green_pixel]], np.uint8), 0)
        assert decode_color(encoding, height, width, step, 0, data).tolist() == [[list(RED), list(GREEN)]]

    def test_gray_is_repeated_in_every_channel(self):
        assert decode_color("mono8", 1, 2, 2, 0, bytes([7, 200])).tolist() == [[[7, 7, 7], [200, 200, 200]]]

    def test_yuy2_without_chroma_is_gray_between_black_and_white(self):
        rgb = decode_color("yuv422_yuy2", 1, 2, 4, 0, bytes([16, 128, 235, 128]))
        assert rgb.tolist() == [[[0, 0, 0], [255, 255, 255]]]

    def test_yuy2_takes_u_before_v(self):
        reddish = decode_color("yuv422_yuy2", 1, 2, 4, 0, bytes([128, 128, 128, 220]))[0, 0]
        assert reddish[0] > reddish[2]

    def test_yuy2_of_odd_width_is_refused(self):
        with pytest.raises(FrameError, match="expected an even width"):
            decode_color("yuv422_yuy2", 1, 3, 6, 0, bytes(6))

    @given(
        pixels=arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3))), padding=st.integers(0, 9)
    )
    def test_row_padding_changes_nothing(self, pixels, padding):
        height, width, step, data = padded(pixels, padding)
        assert np.array_equal(decode_color("rgb8", height, width, step, 0, data), pixels)
        assert np.array_equal(decode_color("bgr8", height, width, step, 0, data), pixels[:, :, ::-1])

    def test_the_result_can_be_written_even_when_the_data_cannot(self):
        data = bytes(12)
        decode_color("rgb8", 2, 2, 6, 0, data)[:] = 1
        assert data == bytes(12)

    def test_a_writable_unpadded_buffer_is_not_copied(self):
        data = array("B", bytes(12))
        decode_color("rgb8", 2, 2, 6, 0, data)[0, 0, 0] = 9
        assert data[0] == 9

    def test_an_unknown_encoding_is_named_with_the_known_ones(self):
        with pytest.raises(FrameError, match=r"encoding 'nv21', expected one of rgb8, bgr8, .*yuv422_yuy2"):
            decode_color("nv21", 1, 1, 1, 0, bytes(1))

    @pytest.mark.parametrize("encoding", ["8UC3", "8UC4", "8UC1"])
    def test_encodings_without_meaning_are_opencvs(self, encoding):
        named = {"8UC3": "bgr8", "8UC4": "bgra8", "8UC1": "mono8"}[encoding]
        channels = COLOR_ENCODINGS[encoding].channels
        data = bytes(range(2 * channels))
        np.testing.assert_array_equal(
            decode_color(encoding, 1, 2, 2 * channels, 0, data), decode_color(named, 1, 2, 2 * channels, 0, data)
        )

    @pytest.mark.parametrize(("names", "order"), [(("yuv422_yuy2", "yuyv"), "yuyv"), (("yuv422", "uyvy"), "uyvy")])
    def test_both_orders_of_yuv_give_the_same_colors(self, names, order):
        luma, chroma = [100, 180], {"u": 90, "v": 170}
        values = iter(luma)
        data = bytes(chroma[letter] if letter in chroma else next(values) for letter in order)
        reference = decode_color("yuv422_yuy2", 1, 2, 4, 0, bytes([100, 90, 180, 170]))
        for name in names:
            np.testing.assert_array_equal(decode_color(name, 1, 2, 4, 0, data), reference)

    @pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
    @pytest.mark.parametrize("bits", [8, 16])
    def test_a_mosaic_of_one_color_is_that_color(self, pattern, bits):
        color = {"r": 200, "g": 90, "b": 20}
        cell = np.array([color[letter] for letter in pattern]).reshape(2, 2)
        mosaic = np.tile(cell, (3, 4)).astype(np.uint8) if bits == 8 else np.tile(cell * 257, (3, 4)).astype("<u2")
        rgb = decode_color(f"bayer_{pattern}{bits}", 6, 8, mosaic.strides[0], 0, mosaic.tobytes())
        np.testing.assert_array_equal(rgb, np.broadcast_to(list(color.values()), (6, 8, 3)))

    @pytest.mark.parametrize(("is_bigendian", "order"), [(0, "<"), (1, ">")])
    @pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16", "mono16"])
    def test_sixteen_bits_scale_to_eight(self, encoding, is_bigendian, order):
        channels = COLOR_ENCODINGS[encoding].channels
        eight = np.random.default_rng(3).integers(0, 256, (4, 5, channels), np.uint8)
        sixteen = (eight.astype(np.uint16) * 257).astype(order + "u2")
        np.testing.assert_array_equal(
            decode_color(encoding, 4, 5, 10 * channels, is_bigendian, sixteen.tobytes()),
            decode_color(encoding.replace("16", "8"), 4, 5, 5 * channels, 0, eight.tobytes()),
        )


class TestDecodeDepth:
    @pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
    @pytest.mark.parametrize(("is_bigendian", "order"), [(0, "<"), (1, ">")])
    def test_integers_are_millimeters(self, encoding, is_bigendian, order):
        data = np.array([[0, 1, 1500, 65535]], f"{order}u2").tobytes()
        depth_m = decode_depth(encoding, 1, 4, 8, is_bigendian, data)
        assert depth_m.dtype == np.float32
        assert depth_m.tolist() == [[0.0, np.float32(0.001), 1.5, np.float32(65.535)]]

    @pytest.mark.parametrize(("is_bigendian", "order"), [(0, "<"), (1, ">")])
    def test_floats_are_meters_and_what_is_no_distance_is_zero(self, is_bigendian, order):
        data = np.array([[2.25, 0.0, -1.0, np.nan, np.inf, -np.inf]], f"{order}f4").tobytes()
        assert decode_depth("32FC1", 1, 6, 24, is_bigendian, data).tolist() == [[2.25, 0, 0, 0, 0, 0]]

    @pytest.mark.parametrize(("is_bigendian", "order"), [(0, "<"), (1, ">")])
    def test_signed_millimeters_and_double_meters_are_read_alike(self, is_bigendian, order):
        signed = np.array([[1500, -1, 0]], order + "i2").tobytes()
        double = np.array([[1.5, np.nan, 1e300]], order + "f8").tobytes()
        assert decode_depth("16SC1", 1, 3, 6, is_bigendian, signed).tolist() == [[1.5, 0, 0]]
        assert decode_depth("64FC1", 1, 3, 24, is_bigendian, double).tolist() == [[1.5, 0, 0]]

    @given(
        depth_mm=arrays(np.uint16, st.tuples(st.integers(1, 5), st.integers(1, 5))),
        padding=st.integers(0, 9),
        is_bigendian=st.booleans(),
    )
    def test_padding_and_byte_order_change_nothing(self, depth_mm, padding, is_bigendian):
        ordered = depth_mm.astype(">u2" if is_bigendian else "<u2")
        height, width, step, data = padded(ordered, padding)
        depth_m = decode_depth("16UC1", height, width, step, int(is_bigendian), data)
        assert np.array_equal(np.rint(depth_m * 1000).astype(np.uint16), depth_mm)
        assert depth_m.flags.c_contiguous
        assert depth_m.flags.writeable

    def test_a_color_image_on_the_depth_topic_is_refused(self):
        with pytest.raises(FrameError, match=r"depth image: encoding 'rgb8', expected 16UC1, mono16 or"):
            decode_depth("rgb8", 1, 1, 3, 0, bytes(3))


class TestMillimeters:
    def image(self, encoding, is_bigendian=0):
        pixels = np.array([[0, 1, 65535], [1234, 5, 6]], (">u2" if is_bigendian else "<u2"))
        height, width, step, data = padded(pixels, 4)
        return SimpleNamespace(
            encoding=encoding, height=height, width=width, step=step, is_bigendian=is_bigendian, data=data
        )

    @pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
    def test_they_are_the_depth_before_it_became_meters(self, encoding):
        message = self.image(encoding)
        millimeters = millimeters_from_message(message)
        assert millimeters.dtype == np.uint16
        np.testing.assert_array_equal(np.divide(millimeters, np.float32(1000)), depth_from_message(message, (2, 3)))

    def test_other_images_have_none(self):
        assert millimeters_from_message(self.image("16UC1", is_bigendian=1)) is None
        assert millimeters_from_message(self.image("32FC1")) is None
        assert millimeters_from_message(SimpleNamespace(format="16UC1; png compressed", data=b"")) is None


class TestDecodeLabel:
    def test_class_ids_pass_unchanged(self):
        assert decode_label("mono8", 2, 2, 3, 0, bytes([0, 1, 99, 4, 255, 99])).tolist() == [[0, 1], [4, 255]]

    def test_anything_but_one_byte_per_pixel_is_refused(self):
        with pytest.raises(FrameError, match="label image: encoding 'mono16', expected mono8"):
            decode_label("mono16", 1, 1, 2, 0, bytes(2))


class TestContradictingFields:
    @given(encoding=st.sampled_from(sorted(COLOR_ENCODINGS)), missing=st.integers(1, 24))
    def test_a_short_buffer_is_named_with_both_lengths(self, encoding, missing):
        step = 2 * COLOR_ENCODINGS[encoding].channels * np.dtype(COLOR_ENCODINGS[encoding].dtype).itemsize
        data = bytes(max(0, 3 * step - missing))
        with pytest.raises(FrameError, match=rf"data holds {len(data)} bytes, expected {3 * step} .* cut short"):
            decode_color(encoding, 3, 2, step, 0, data)

    def test_a_step_shorter_than_a_row_is_refused(self):
        with pytest.raises(FrameError, match="step is 5 bytes, but 2 pixels of rgb8 take 6"):
            decode_color("rgb8", 2, 2, 5, 0, bytes(100))

    @pytest.mark.parametrize(("height", "width"), [(0, 4), (4, 0)])
    def test_an_empty_image_is_refused(self, height, width):
        with pytest.raises(FrameError, match="expected at least one"):
            decode_depth("16UC1", height, width, 2 * width, 0, b"")
