# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.synthetic.paint import STENCIL_PX_M, line_coverage, stencil
from road_kd_seg.synthetic.scene import LaneLine, Mark, MarkKind

PIXEL_M = np.full((1, 1), 0.01, np.float32)


def coverage_at(line: LaneLine, s_m: float, t_m: float) -> float:
    return line_coverage(
        line, np.full((1, 1), s_m, np.float32), np.full((1, 1), t_m, np.float32), PIXEL_M, PIXEL_M
    ).item()


class TestLine:
    def test_a_solid_line_covers_its_width_everywhere(self):
        line = LaneLine(1.0, 0.12, 3.0, 0.0, False)
        for s_m in (-7.7, 0.0, 4.5, 100.0):
            assert [coverage_at(line, s_m, t) for t in (0.9, 0.95, 1.0, 1.05, 1.1)] == [0, 1, 1, 1, 0]

    def test_half_a_pixel_over_the_edge_is_half_covered(self):
        assert coverage_at(LaneLine(0.0, 0.12, 3.0, 0.0, False), 0.0, 0.06) == pytest.approx(0.5, abs=1e-4)

    def test_dashes_repeat_with_their_period_and_fill_their_share_of_it(self):
        line = LaneLine(0.0, 0.12, 3.0, 6.0, False)
        s_m = np.arange(0, 90, 0.05, dtype=np.float32)[None]
        painted = line_coverage(line, s_m, np.zeros_like(s_m), PIXEL_M, PIXEL_M)[0]
        assert painted.mean() == pytest.approx(1 / 3, abs=0.01)
        np.testing.assert_allclose(painted[:1600], painted[180:1780], atol=0.05)


class TestStencil:
    @pytest.mark.parametrize("kind", list(MarkKind))
    def test_every_mark_paints_a_part_of_its_rectangle(self, kind: MarkKind):
        image = stencil(Mark(kind, 0.0, 0.0, 3.0, 1.5, "STOP"))
        assert image.shape == (round(3.0 / STENCIL_PX_M), round(1.5 / STENCIL_PX_M))
        assert 0.15 < (image > 127).mean() <= 1.0

    def test_arrows_to_the_left_and_right_mirror_each_other(self):
        left, right = (stencil(Mark(kind, 0.0, 0.0, 3.0, 1.5)) for kind in (MarkKind.ARROW_LEFT, MarkKind.ARROW_RIGHT))
        assert (left[:, ::-1] == right).mean() > 0.98

    def test_an_arrow_ahead_points_away_from_the_viewer(self):
        widths = (stencil(Mark(MarkKind.ARROW_AHEAD, 0.0, 0.0, 3.0, 1.0)) > 0).sum(axis=1)
        assert widths[3] < widths[40]
        assert widths[-1] < widths[70]
