# SPDX-License-Identifier: Apache-2.0
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from road_kd_seg.errors import FrameError
from road_kd_seg.rvl import decode_rvl
from rvl_encoder import encode_rvl

DEPTHS = arrays(
    np.uint16, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.integers(0, 4).map(lambda n: n * 9000)
)


@given(depth=DEPTHS)
def test_what_was_encoded_is_decoded(depth):
    np.testing.assert_array_equal(decode_rvl(encode_rvl(depth), *depth.shape), depth)


@pytest.mark.parametrize("depth", [np.zeros((3, 4)), np.full((3, 4), 65535), np.eye(5) * 65535])
def test_empty_full_and_steep_images(depth):
    depth = depth.astype(np.uint16)
    np.testing.assert_array_equal(decode_rvl(encode_rvl(depth), *depth.shape), depth)


def test_a_stream_by_hand():
    # 1 zero, 2 values: +10 (zig-zag 20 = 4 + 2 * 8: nibbles c 2), -3 (zig-zag 5); then 1 zero, 0 values
    word = int.from_bytes(bytes([0x12, 0xC2, 0x51, 0x00]), "big")
    assert decode_rvl(struct.pack("<I", word), 1, 4).tolist() == [[0, 10, 7, 0]]


@given(depth=DEPTHS.filter(lambda depth: depth[-1, -1] > 0), cut=st.integers(1, 8))
def test_a_stream_that_ends_early_is_refused(depth, cut):
    data = encode_rvl(depth)
    with pytest.raises(FrameError, match=rf"of {depth.size} pixels: the message was cut short"):
        decode_rvl(data[: max(0, len(data) - 4 * cut)], *depth.shape)


@given(data=st.binary(max_size=64), height=st.integers(1, 5), width=st.integers(1, 5))
def test_any_bytes_give_an_image_of_the_size_or_a_frame_error(data, height, width):
    with suppress(FrameError):
        assert decode_rvl(data, height, width).shape == (height, width)
