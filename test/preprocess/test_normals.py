# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from road_kd_seg.errors import RoadKdError, ShapeMismatch
from road_kd_seg.frame import Intrinsics
from road_kd_seg.preprocess.normals import surface_normals

METHODS = ("three_filters", "sne")
HEIGHT, WIDTH = 24, 32


def camera(fx=40.0, fy=45.0, cx=15.0, cy=11.0) -> Intrinsics:
    return Intrinsics(fx, fy, cx, cy, WIDTH, HEIGHT)


def plane_depth(normal: torch.Tensor, distance_m: float, intrinsics: Intrinsics) -> torch.Tensor:
    """Depth of the plane normal·P = -distance, (1, H, W); 0 where the camera does not see it between 0.2 m and 60 m."""
    v, u = torch.meshgrid(torch.arange(HEIGHT).double(), torch.arange(WIDTH).double(), indexing="ij")
    rays = torch.stack(((u - intrinsics.cx) / intrinsics.fx, (v - intrinsics.cy) / intrinsics.fy, torch.ones_like(u)))
    depth_m = -distance_m / (normal.double()[:, None, None] * rays).sum(dim=0)
    return torch.where((depth_m > 0.2) & (depth_m < 60), depth_m, 0).float()[None]


def worst_angle_deg(normals: torch.Tensor, expected: torch.Tensor) -> float:
    seen = normals.norm(dim=1) > 0
    cosine = (normals.double() * expected.double().view(1, 3, 1, 1)).sum(dim=1)[seen]
    return torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).max().item()


directions = st.tuples(*(st.floats(-1, 1) for _ in range(3)))


@pytest.mark.parametrize("method", METHODS)
class TestPlanes:
    @given(
        direction=directions,
        distance_m=st.floats(0.5, 3),
        fx=st.floats(10, 1500),
        fy=st.floats(10, 1500),
        cx=st.floats(0, WIDTH),
        cy=st.floats(0, HEIGHT),
    )
    @settings(max_examples=60, deadline=None)
    def test_within_two_degrees_for_any_camera(self, method, direction, distance_m, fx, fy, cx, cy):
        expected = torch.tensor(direction, dtype=torch.float64)
        assume(expected.norm() > 0.1)
        expected = F.normalize(expected, dim=0)
        intrinsics = camera(fx, fy, cx, cy)
        depth_m = plane_depth(expected, distance_m, intrinsics)
        assume((depth_m > 0).float().mean() > 0.3)
        assert worst_angle_deg(surface_normals(depth_m, intrinsics, method=method), expected) < 2

    @pytest.mark.parametrize(
        "direction",
        [(0, -1, 0), (0, 0, -1), (1e-4, 0, -1), (0, 1e-3, -1), (0, -1, -0.2), (-1, 0, 0)],
        ids=["road", "wall ahead", "nearly ahead", "leaning by a hair", "road seen from a slope", "wall beside"],
    )
    def test_surfaces_that_make_divisions_degenerate(self, method, direction):
        expected = F.normalize(torch.tensor(direction, dtype=torch.float64), dim=0)
        intrinsics = camera(cx=-4.0)
        normals = surface_normals(plane_depth(expected, 1.3, intrinsics), intrinsics, method=method)
        assert worst_angle_deg(normals, expected) < 0.1  # float32 depth: hundredths of a degree

    def test_every_pixel_of_a_whole_plane_gets_a_unit_normal(self, method):
        expected = torch.tensor([0.0, 0.0, -1.0])
        normals = surface_normals(plane_depth(expected, 2.0, camera()), camera(), method=method)
        torch.testing.assert_close(normals.norm(dim=1), torch.ones(1, HEIGHT, WIDTH))

    def test_normals_point_to_the_camera(self, method):
        depth_m = torch.rand(1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) + 1
        normals = surface_normals(depth_m, camera(), method=method)
        v, u = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
        rays = torch.stack(((u - 15) / 40, (v - 11) / 45, torch.ones(HEIGHT, WIDTH)))
        assert (normals[0] * rays).sum(dim=0).max() <= 1e-6


@pytest.mark.parametrize("method", METHODS)
class TestInvalidDepth:
    @pytest.mark.parametrize("invalid", [0.0, -1.0, float("nan"), float("inf")])
    def test_it_stays_invalid_and_spoils_no_neighbor(self, method, invalid):
        expected = F.normalize(torch.tensor([0.2, -0.8, -0.4], dtype=torch.float64), dim=0)
        depth_m = plane_depth(expected, 1.3, camera())
        holes = (depth_m == 0) | (torch.rand(depth_m.shape, generator=torch.Generator().manual_seed(0)) < 0.15)
        depth_m[holes] = invalid
        normals = surface_normals(depth_m, camera(), method=method)
        assert normals.isfinite().all()
        assert (normals.permute(0, 2, 3, 1)[holes] == 0).all()
        assert worst_angle_deg(normals, expected) < 2

    def test_a_lone_pixel_has_no_normal(self, method):
        depth_m = torch.zeros(1, HEIGHT, WIDTH)
        depth_m[0, 5, 5] = 2
        assert (surface_normals(depth_m, camera(), method=method) == 0).all()


class TestInterface:
    def test_each_image_may_have_its_own_camera(self):
        cameras = [camera(), camera(fx=80, fy=60, cx=3, cy=20)]
        expected = F.normalize(torch.tensor([0.3, -0.5, -0.8], dtype=torch.float64), dim=0)
        depth_m = torch.cat([plane_depth(expected, 1.5, one) for one in cameras])
        table = torch.tensor([[one.fx, one.fy, one.cx, one.cy] for one in cameras])
        together = surface_normals(depth_m, table)
        apart = torch.cat([surface_normals(depth_m[i : i + 1], one) for i, one in enumerate(cameras)])
        torch.testing.assert_close(together, apart)

    def test_intrinsics_of_another_size_are_named(self):
        with pytest.raises(ShapeMismatch, match=r"got shape \(24, 32\), expected \(12, 16\): use Intrinsics.scaled"):
            surface_normals(torch.ones(1, 12, 16), camera())

    def test_a_table_of_another_batch_is_named(self):
        with pytest.raises(ShapeMismatch, match=r"got shape \(2, 4\), expected \(1, 4\)"):
            surface_normals(torch.ones(1, HEIGHT, WIDTH), torch.ones(2, 4))

    def test_depth_of_another_rank_is_named(self):
        with pytest.raises(ShapeMismatch, match=r"pass \(B, H, W\)"):
            surface_normals(torch.ones(HEIGHT, WIDTH), camera())

    def test_an_unknown_method_is_named(self):
        with pytest.raises(RoadKdError, match="method is 'pca', expected one of three_filters, sne"):
            surface_normals(torch.ones(1, HEIGHT, WIDTH), camera(), method="pca")
