# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg.preprocess.resize import (
    resize_color,
    resize_color_array,
    resize_depth,
    resize_depth_array,
    shrink_color_planes,
)

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))


def random_depth(height: int, width: int, holes: float, seed: int = 0) -> np.ndarray:
    """Depth from 1 to 5 m, some of it invalid in every way there is."""
    random = np.random.default_rng(seed)
    depth_m = random.uniform(1, 5, (height, width)).astype(np.float32)
    invalid = random.choice(np.array([0, -1, np.nan, np.inf], np.float32), depth_m.shape)
    return np.where(random.random(depth_m.shape) < holes, invalid, depth_m)


class TestResizeColor:
    @given(old=sizes, new=sizes)
    @settings(max_examples=60, deadline=None)
    def test_an_image_in_8_bits_is_half_a_gray_level_off_at_most(self, old, new):
        rgb = np.random.default_rng(0).integers(0, 256, (*old, 3), np.uint8)
        exact = resize_color(torch.from_numpy(rgb)[None].permute(0, 3, 1, 2).float(), new)[0].permute(1, 2, 0)
        # OpenCV interpolates in fixed point with 11 bits: up to another half where an axis grows.
        allowed = 0.51 if old[0] >= new[0] and old[1] >= new[1] else 1.01
        assert np.abs(resize_color_array(rgb, new) - exact.numpy()).max() <= allowed

    @given(old=sizes, shares=st.tuples(st.floats(0.02, 1), st.floats(0.02, 1)))
    @settings(max_examples=60, deadline=None)
    def test_planes_that_shrink_in_numpy_are_the_tensor(self, old, shares):
        new = (max(1, int(old[0] * shares[0])), max(1, int(old[1] * shares[1])))
        rgb = np.random.default_rng(0).integers(0, 256, (*old, 3), np.uint8)
        mean, std = (torch.tensor(values)[:, None, None] for values in ([120.0, 110, 100], [60.0, 55, 50]))
        exact = (resize_color(torch.from_numpy(rgb)[None].permute(0, 3, 1, 2).float(), new)[0] - mean) / std
        planes = shrink_color_planes(rgb, new, mean.flatten().tolist(), std.flatten().tolist())
        torch.testing.assert_close(torch.from_numpy(planes), exact, atol=1e-4, rtol=0)

    def test_shrinking_keeps_the_mean_at_uneven_steps(self):
        color = torch.rand(1, 3, 50, 70, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
        torch.testing.assert_close(resize_color(color, (31, 40)).mean((2, 3)), color.mean((2, 3)))


class TestResizeDepth:
    @given(old=sizes, new=sizes, holes=st.floats(0, 1))
    @settings(max_examples=60, deadline=None)
    def test_one_image_in_numpy_is_the_same_as_a_tensor(self, old, new, holes):
        depth_m = random_depth(*old, holes)
        expected = resize_depth(torch.from_numpy(depth_m)[None], new)[0].numpy()
        expected = np.where(np.isfinite(expected) & (expected > 0), expected, 0)
        np.testing.assert_array_equal(resize_depth_array(depth_m, new), expected)

    @given(new=st.tuples(st.integers(1, 40), st.integers(1, 40)), holes=st.floats(0.3, 1))
    @settings(max_examples=40, deadline=None)
    def test_a_hole_remains_only_where_nothing_valid_lies_under_the_pixel(self, new, holes):
        depth_m = random_depth(40, 40, holes)
        valid = np.isfinite(depth_m) & (depth_m > 0)
        resized = resize_depth_array(depth_m, new)
        for row, column in np.ndindex(new):
            rows, columns = (slice(i * 40 // n, -(-(i + 1) * 40 // n)) for i, n in zip((row, column), new, strict=True))
            covered = depth_m[rows, columns][valid[rows, columns]]
            assert (resized[row, column] in covered) if covered.size else resized[row, column] == 0

    def test_depth_registered_to_color_twice_as_fine_keeps_every_pixel(self):
        coarse = random_depth(24, 32, 0)
        fine = np.zeros((48, 64), np.float32)
        fine[::2, ::2] = coarse  # anything but the pixel that plain sampling takes
        np.testing.assert_array_equal(resize_depth_array(fine, (24, 32)), coarse)

    def test_where_all_is_valid_it_is_nearest_neighbor_sampling(self):
        depth_m = random_depth(90, 128, 0)
        expected = F.interpolate(torch.from_numpy(depth_m)[None, None], (30, 64), mode="nearest-exact")[0, 0]
        np.testing.assert_array_equal(resize_depth_array(depth_m, (30, 64)), expected.numpy())

    def test_smoothly_a_plane_stays_exact_at_uneven_steps(self):
        inverse = 0.2 + 0.004 * torch.arange(100)[None, :, None].expand(1, 100, 100)
        resized = 1 / resize_depth(1 / inverse, (37, 61), smooth=True)
        rows = (torch.arange(37) + 0.5) * 100 / 37 - 0.5
        torch.testing.assert_close(resized[0, :, 0], 0.2 + 0.004 * rows)

    @pytest.mark.parametrize("invalid", [0.0, -1.0, math.nan, math.inf])
    def test_holes_are_the_same_smooth_or_sampled(self, invalid):
        depth_m = (1 / torch.linspace(0.2, 1.0, 72))[:, None].repeat(1, 128)[None]
        depth_m[torch.rand(depth_m.shape, generator=torch.Generator().manual_seed(0)) < 0.9] = invalid
        sampled, smooth = (resize_depth(depth_m, (31, 50), smooth=smooth) for smooth in (False, True))
        holes = ~(sampled.isfinite() & (sampled > 0))
        assert 0.1 < holes.float().mean() < 0.5
        assert torch.equal(~(smooth.isfinite() & (smooth > 0)), holes)
        torch.testing.assert_close(smooth[~holes], sampled[~holes], atol=0, rtol=0.1)  # half a row further
