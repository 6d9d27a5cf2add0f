# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.metrics.steadiness import changed_share, flicker_share


def row(*values):
    return np.array([values], np.uint8)


def test_the_changed_share_is_that_of_all_pixels():
    assert changed_share(row(0, 0, 1, 1), row(0, 1, 1, 1)) == 0.25


class TestFlicker:
    def test_only_pixels_whose_label_stays_count(self):
        assert flicker_share(row(0, 0, 0, 0), row(0, 0, 0, 1), row(0, 0, 0, 0), row(0, 0, 1, 1)) == pytest.approx(1 / 3)

    def test_ignored_pixels_do_not_count(self):
        assert np.isnan(flicker_share(row(255, 0), row(255, 255), row(0, 0), row(1, 1)))
