# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_training.detection.boxes import Boxes


@pytest.fixture
def boxes():
    """A function from rows (left, top, right, bottom, class) to objects that fill their boxes."""

    def make(*rows, crowd=()):
        values = np.array(rows, np.float32).reshape(-1, 5)
        corners = values[:, :4]
        areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
        is_crowd = np.array([index in crowd for index in range(len(rows))], np.bool_)
        return Boxes(corners, values[:, 4].astype(np.int64), areas, is_crowd)

    return make
