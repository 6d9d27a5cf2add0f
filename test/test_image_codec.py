from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from road_kd_seg.errors import FrameError
from road_kd_seg.image_codec import COLOR_ENCODINGS, decode_color, decode_depth, decode_label

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
        with pytest.raises(FrameError, match=r"encoding 'bayer_rggb8', expected one of rgb8, bgr8, .*yuv422_yuy2"):
            decode_color("bayer_rggb8", 1, 1, 1, 0, bytes(1))


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
        with pytest.raises(FrameError, match=r"depth image: encoding 'rgb8', expected 16UC1 or mono16 \(millimeters\)"):
            decode_depth("rgb8", 1, 1, 3, 0, bytes(3))


class TestDecodeLabel:
    def test_class_ids_pass_unchanged(self):
        assert decode_label("mono8", 2, 2, 3, 0, bytes([0, 1, 99, 4, 255, 99])).tolist() == [[0, 1], [4, 255]]

    def test_anything_but_one_byte_per_pixel_is_refused(self):
        with pytest.raises(FrameError, match="label image: encoding 'mono16', expected mono8"):
            decode_label("mono16", 1, 1, 2, 0, bytes(2))


class TestContradictingFields:
    @given(encoding=st.sampled_from(sorted(COLOR_ENCODINGS)), missing=st.integers(1, 24))
    def test_a_short_buffer_is_named_with_both_lengths(self, encoding, missing):
        step = 2 * COLOR_ENCODINGS[encoding][0]
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
