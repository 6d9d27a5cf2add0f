# SPDX-License-Identifier: Apache-2.0
import re

import numpy as np
import pytest

from road_kd_seg.alignment_check import AlignmentCheck
from road_kd_seg.synthetic.drive import render_scene

HEIGHT, WIDTH = 144, 256
SHIFTS_PX = [(0, 16), (0, -32), (15, 0), (9, -16)]


@pytest.fixture(scope="module", params=[1_000_000, 1_000_006])
def frames(request):
    """Six rendered roads."""
    return [render_scene(seed, HEIGHT, WIDTH)[0] for seed in range(request.param, request.param + 6)]


def judge(frames, change):
    check = AlignmentCheck()
    problems = [check.see(frame.rgb, change(frame.depth_m)) for frame in frames]
    assert problems[:-1] == [""] * (len(frames) - 1)  # it takes its time
    return problems[-1]


class TestAlignmentCheck:
    def test_aligned_depth_is_fine(self, frames):
        assert judge(frames, lambda depth_m: depth_m) == ""

    @pytest.mark.parametrize("shift", SHIFTS_PX, ids=str)
    def test_a_shift_is_measured(self, frames, shift):
        text = judge(frames, lambda depth_m: np.roll(depth_m, shift, (0, 1)))
        right, down = map(int, re.search(r"about ([+-]\d+) pixels to the right and ([+-]\d+) down", text).groups())
        assert (down, right) == pytest.approx(shift, abs=4)  # two pixels of the grid

    @pytest.mark.parametrize(
        ("flip", "word"),
        [
            (np.s_[:, ::-1], "mirrored left to right"),
            (np.s_[::-1], "upside down and mirrored"),
            (np.s_[::-1, ::-1], "turned by 180 degrees"),
        ],
        ids=["horizontally", "vertically", "both"],
    )
    def test_a_mirrored_image_is_named(self, frames, flip, word):
        assert f"depth is {word} against color" in judge(frames, lambda depth_m: depth_m[flip])

    def test_another_unit_is_named_at_once(self, frames):
        text = AlignmentCheck().see(frames[0].rgb, frames[0].depth_m * 1000)
        assert "its unit is probably millimeters in a floating-point image" in text

    @pytest.mark.parametrize("everywhere_m", [0.0, 3.0])
    def test_depth_without_edges_tells_nothing(self, frames, everywhere_m):
        assert judge(frames, lambda depth_m: np.full_like(depth_m, everywhere_m)) == ""
