# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from road_kd_seg.synthetic.scene import Solid
from road_kd_seg.synthetic.solids import Hit, albedo, hit

KINDS = ("box", "cone", "barrel", "kerb", "rock")


def shoot(solid: Solid, origin: tuple[float, float, float], direction: tuple[float, float, float]) -> Hit:
    o, d = ([np.full((1, 1), v, np.float32) for v in vector] for vector in (origin, direction))
    return hit(solid, (0.0, 0.0), (o[0], o[1], o[2]), (d[0], d[1], d[2]))


def stand(kind: str, size_m: tuple[float, float, float] = (0.4, 0.4, 0.6), yaw_rad: float = 0.0) -> Solid:
    return Solid(kind, 0.0, 0.0, yaw_rad, size_m, (0.5, 0.4, 0.3))


class TestHit:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_ray_from_above_meets_the_top(self, kind: str):
        result = shoot(stand(kind), (0, 0, 3), (0, 0, -1))
        assert result.scale.item() == pytest.approx(2.4, abs=1e-5)
        assert result.normal[2].item() == pytest.approx(1, abs=1e-5)
        assert result.local[2].item() == pytest.approx(0.6, abs=1e-5)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_ray_beside_it_meets_nothing(self, kind: str):
        assert np.isinf(shoot(stand(kind), (0.5, -3, 0.1), (0, 1, 0)).scale.item())

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_lies_behind_the_origin_is_not_hit(self, kind: str):
        assert np.isinf(shoot(stand(kind), (0, 3, 0.1), (0, 1, 0)).scale.item())

    def test_a_turned_box_shows_its_corner(self):
        straight = shoot(stand("box"), (0, -3, 0.1), (0, 1, 0)).scale.item()
        turned = shoot(stand("box", yaw_rad=math.pi / 4), (1e-3, -3, 0.1), (0, 1, 0)).scale.item()
        assert straight == pytest.approx(2.8, abs=1e-4)
        assert turned == pytest.approx(3 - 0.2 * math.sqrt(2), abs=2e-3)

    def test_a_cone_narrows_upwards(self):
        low = shoot(stand("cone"), (0, -3, 0.06), (0, 1, 0)).scale.item()
        high = shoot(stand("cone"), (0, -3, 0.54), (0, 1, 0)).scale.item()
        # radius falls linearly from 0.2 to 12 % of it
        assert low == pytest.approx(3 - 0.2 * (1 - 0.88 * 0.1), abs=1e-4)
        assert high == pytest.approx(3 - 0.2 * (1 - 0.88 * 0.9), abs=1e-4)

    @given(
        kind=st.sampled_from(KINDS),
        yaw_rad=st.floats(-3, 3),
        bearing=st.floats(0, 6.28),
        aim_m=st.tuples(st.floats(-0.15, 0.15), st.floats(-0.15, 0.15), st.floats(0.02, 0.5)),
    )
    def test_hits_lie_on_a_surface_that_faces_the_viewer(self, kind, yaw_rad, bearing, aim_m):
        origin = (3 * math.cos(bearing), 3 * math.sin(bearing), 1.3)
        direction = tuple(a - o for a, o in zip(aim_m, origin, strict=True))
        result = shoot(stand(kind, yaw_rad=yaw_rad), origin, direction)
        if not np.isfinite(result.scale.item()):
            return
        normal = np.array([n.item() for n in result.normal])
        assert np.linalg.norm(normal) == pytest.approx(1, abs=1e-3)
        assert normal @ np.array(direction) < 1e-3
        length, width, up = (v.item() for v in result.local)
        assert max(abs(length), abs(width)) <= 0.2 + 1e-3
        assert -1e-3 <= up <= 0.6 + 1e-3


class TestAlbedo:
    def test_a_cone_has_white_stripes_on_orange(self):
        up = np.linspace(0.3, 0.59, 40, dtype=np.float32)[:, None]
        rgb = albedo(Solid("cone", 0, 0, 0, (0.3, 0.3, 0.6), (0.8, 0.17, 0.03)), (up * 0, up * 0, up))
        blue = rgb[:, 0, 2]
        assert (blue > 0.5).any()
        assert (blue < 0.1).any()
