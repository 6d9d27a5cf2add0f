# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from road_kd_training.datasets.common.rle import decode_counts, decode_mask


def encode(counts):
    """The format as its description has it, a number at a time."""
    text = ""
    for i, count in enumerate(counts):
        number = count - counts[i - 2] if i > 2 else count
        while True:
            bits, number = number & 31, number >> 5
            done = number == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if done else 32))
            if done:
                break
    return text.encode()


class TestCounts:
    @pytest.mark.parametrize(
        ("text", "counts"),
        [
            (b"061", [0, 6, 1]),
            (b"061M", [0, 6, 1, 3]),  # the fourth is written as 3 - 6
            (b"0610", [0, 6, 1, 6]),
            (b"011101010", [0, 1, 1, 2, 1, 3, 1, 4, 1]),
            (b"0PP1", [0, 1024]),  # 1024 = 0 + 0 x 32 + 1 x 1024: three characters
        ],
    )
    def test_texts_written_by_hand(self, text, counts):
        assert decode_counts(text).tolist() == counts
        assert encode(counts) == text

    @given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=40))
    def test_decoding_inverts_encoding(self, counts):
        assert decode_counts(encode(counts)).tolist() == counts

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"", "not a run-length text"),
            (b"1 2", "not a run-length text"),
            (b"1\xff", "not a run-length text"),
            (b"1P", "breaks off within a number"),
            (b"P" * 12 + b"1", "a number that is too long"),
        ],
    )
    def test_other_text_is_refused(self, text, message):
        with pytest.raises(ValueError, match=message):
            decode_counts(text)


class TestMask:
    def test_runs_go_down_the_columns(self):
        expected = [[False, True, False], [False, True, False], [True, False, False]]
        assert decode_mask(encode([2, 3, 4]), 3, 3).tolist() == expected

    @given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
    def test_any_mask_survives(self, height, width, random):
        mask = np.array([[random.random() < 0.5 for _ in range(width)] for _ in range(height)])
        column_order = mask.T.ravel()
        changes = np.flatnonzero(np.diff(column_order)) + 1
        counts = np.diff([0, *changes, column_order.size]).tolist()
        counts = [0, *counts] if column_order[0] else counts
        assert (decode_mask(encode(counts), height, width) == mask).all()

    @pytest.mark.parametrize("counts", [[3, 2], [6, 4], [12, -3]])
    def test_runs_that_do_not_fill_the_image_are_refused(self, counts):
        with pytest.raises(ValueError, match="the runs cover . pixels, expected 3 x 3|the runs cover 10 pixels"):
            decode_mask(encode(counts), 3, 3)

    def test_runs_whose_sum_wraps_around_write_nowhere(self):
        counts = [1 << 58] * 64  # together 2**64, which int64 takes for 0
        counts[3] += 9
        with pytest.raises(ValueError, match="expected 3 x 3"):
            decode_mask(encode(counts), 3, 3)

    @pytest.mark.parametrize("size", [(-3, -3), (0, 0), (3, 0), (10**6, 10**6)])
    def test_a_size_that_no_image_has_is_refused(self, size):
        with pytest.raises(ValueError, match="the runs cover"):
            decode_mask(encode([size[0] * size[1]]), *size)
