import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg.errors import FrameError, RoadKdError
from road_kd_seg.preprocess import (
    DepthEncoding,
    InputSpec,
    encode_depth,
    fit_road_plane,
    jet,
    plane_residual,
    preprocess,
)

HEIGHT, WIDTH = 72, 128


def road_inverse_depth(pitch_deg: float = 15.0, roll: float = 0.0, height_m: float = 1.3) -> torch.Tensor:
    """1/z of a flat road seen by a pinhole camera, 0 above the horizon, (1, H, W)."""
    focal = 0.5 * WIDTH
    v = (torch.arange(HEIGHT) - (HEIGHT - 1) / 2)[:, None] / focal
    u = (torch.arange(WIDTH) - (WIDTH - 1) / 2)[None] / focal
    pitch = math.radians(pitch_deg)
    return ((v * math.cos(pitch) + math.sin(pitch) + roll * u) / height_m).clamp(min=0)[None]


class TestPlaneResidual:
    @given(pitch=st.floats(8, 55), roll=st.floats(-0.1, 0.1), height_m=st.floats(0.8, 2.0))
    @settings(max_examples=25, deadline=None)
    def test_a_flat_road_leaves_nothing(self, pitch, roll, height_m):
        inverse = road_inverse_depth(pitch, roll, height_m)
        residual = plane_residual(inverse, inverse > 0)
        assert residual.abs().max() < 1e-4  # float32 over a range of 1 1/m

    def test_a_pothole_keeps_its_depth_below_the_road(self):
        inverse = road_inverse_depth()
        inverse[:, 50:60, 40:60] -= 0.02
        residual = plane_residual(inverse, inverse > 0)
        torch.testing.assert_close(residual[:, 50:60, 40:60], torch.full((1, 10, 20), -0.02), atol=1e-4, rtol=0)
        assert residual[:, 62:, 70:].abs().max() < 1e-4

    def test_a_wall_across_the_upper_half_and_a_box_do_not_move_the_plane(self):
        inverse = road_inverse_depth()
        clean = plane_residual(inverse, inverse > 0)
        cluttered = inverse.clone()
        cluttered[:, :30] = 0.15
        cluttered[:, 45:65, 90:115] = 0.5
        residual = plane_residual(cluttered, cluttered > 0)
        # Where box and wall come within the tolerance of the plane they pull at it a little: 1 % of a pothole's depth.
        torch.testing.assert_close(residual[:, 66:], clean[:, 66:], atol=3e-4, rtol=0)

    def test_noise_of_a_stereo_camera_is_averaged_out(self):
        generator = torch.Generator().manual_seed(0)
        inverse = road_inverse_depth()
        valid = inverse > 0.1
        noisy = inverse + 0.003 * torch.randn(inverse.shape, generator=generator)
        shift = plane_residual(noisy, valid) - (noisy - inverse)
        assert shift[valid].abs().max() < 0.003  # the plane is off by less than one pixel's noise

    def test_a_wall_alone_is_no_road(self):
        inverse = torch.full((1, HEIGHT, WIDTH), 0.4)
        assert not fit_road_plane(inverse, inverse > 0)[1].item()
        assert plane_residual(inverse, inverse > 0).abs().max() == 0

    def test_no_valid_depth_gives_zeros_and_no_nan(self):
        nothing = torch.zeros(2, HEIGHT, WIDTH)
        assert torch.equal(plane_residual(nothing, nothing > 0), nothing)

    def test_each_frame_of_a_batch_has_its_own_plane(self):
        frames = [road_inverse_depth(12), road_inverse_depth(30), torch.zeros(1, HEIGHT, WIDTH)]
        batch = torch.cat(frames)
        alone = torch.cat([plane_residual(f, f > 0) for f in frames])
        torch.testing.assert_close(plane_residual(batch, batch > 0), alone, atol=1e-6, rtol=0)


class TestEncodeDepth:
    def test_metric_and_inverse_scale_their_range_to_one(self):
        depth_m = torch.tensor([[[0.5, 1.0, 5.5, 10.0, 20.0]]])
        metric = encode_depth(depth_m, DepthEncoding("metric", 1.0, 10.0))
        torch.testing.assert_close(metric, torch.tensor([[[[0.0, 0.0, 0.5, 1.0, 1.0]]]]))
        inverse = encode_depth(depth_m, DepthEncoding("inverse", 0.1, 1.0))
        torch.testing.assert_close(inverse[0, 0, 0, [1, 3]], torch.tensor([1.0, 0.0]))

    @pytest.mark.parametrize("kind", ["metric", "inverse", "plane_residual", "jet"])
    @pytest.mark.parametrize("invalid", [0.0, -1.0, math.nan, math.inf])
    def test_invalid_depth_is_zero_and_harms_nothing_else(self, kind, invalid):
        depth_m = 1 / road_inverse_depth(30)
        encoding = DepthEncoding(kind, 0.0, 10.0 if kind == "metric" else 0.5)
        clean = encode_depth(depth_m, encoding)
        broken = depth_m.clone()
        broken[:, 40, 30:50] = invalid
        encoded = encode_depth(broken, encoding)
        assert encoded.isfinite().all()
        assert (encoded[:, :, 40, 30:50] == 0).all()
        torch.testing.assert_close(encoded[:, :, 45:], clean[:, :, 45:], atol=1e-3, rtol=0)

    def test_jet_runs_from_blue_over_green_to_red(self):
        colours = jet(torch.tensor([0.125, 0.5, 0.875]).view(3, 1, 1, 1)).flatten(1)
        torch.testing.assert_close(colours, torch.tensor([[0.0, 0.0, 1.0], [0.5, 1.0, 0.5], [1.0, 0.0, 0.0]]))

    def test_an_unknown_kind_lists_the_known_ones(self):
        with pytest.raises(
            RoadKdError, match=r"'rainbow' is unknown: choose one of metric, inverse, plane_residual, jet"
        ):
            DepthEncoding("rainbow")

    def test_an_empty_range_is_refused(self):
        with pytest.raises(RoadKdError, match=r"low 2.0 must be below high 1.0"):
            DepthEncoding("metric", 2.0, 1.0)


class TestPreprocess:
    def test_normalises_with_mean_and_std(self):
        rgb = torch.full((1, 8, 8, 3), 128, dtype=torch.uint8)
        spec = InputSpec((8, 8), mean=(0.5, 0.0, 1.0), std=(0.5, 1.0, 0.25))
        colour, depth = preprocess(rgb, None, spec)
        expected = [(128 / 255 - 0.5) / 0.5, 128 / 255, (128 / 255 - 1) / 0.25]
        torch.testing.assert_close(colour[0, :, 0, 0], torch.tensor(expected))
        assert depth is None

    def test_shrinking_averages_colour_and_samples_depth(self):
        rgb = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
        rgb[:, ::2] = 200
        depth_m = torch.tensor([1.0, 3.0]).repeat(1, 4, 2)
        spec = InputSpec((2, 2), DepthEncoding("metric", 0.0, 4.0), mean=(0, 0, 0), std=(1, 1, 1))
        colour, depth = preprocess(rgb, depth_m, spec)
        torch.testing.assert_close(colour, torch.full((1, 3, 2, 2), 100 / 255))
        assert set(depth.flatten().tolist()) <= {0.25, 0.75}

    def test_the_crop_is_what_is_looked_at(self):
        rgb = torch.zeros(1, 10, 10, 3, dtype=torch.uint8)
        rgb[:, 5:, 2:8] = 255
        spec = InputSpec((5, 6), crop=(0.5, 0.2, 1.0, 0.8), mean=(0, 0, 0), std=(1, 1, 1))
        assert (preprocess(rgb, None, spec)[0] == 1).all()

    @given(height=st.integers(16, 70), width=st.integers(16, 70))
    @settings(max_examples=25, deadline=None)
    def test_any_camera_size_becomes_the_networks(self, height, width):
        spec = InputSpec((32, 48), DepthEncoding("plane_residual"))
        colour, depth = preprocess(
            torch.zeros(1, height, width, 3, dtype=torch.uint8), torch.ones(1, height, width), spec
        )
        assert colour.shape == (1, 3, 32, 48)
        assert depth.shape == (1, 1, 32, 48)

    def test_a_missing_depth_says_what_to_do(self):
        with pytest.raises(FrameError, match="enable aligned depth, or use an RGB-only model"):
            preprocess(
                torch.zeros(1, 8, 8, 3, dtype=torch.uint8), None, InputSpec((8, 8), DepthEncoding("metric", 0, 1))
            )

    def test_the_specification_survives_plain_data(self):
        spec = InputSpec((288, 512), DepthEncoding("jet", high=0.1), (0.25, 0.0, 1.0, 1.0))
        assert InputSpec.from_dict(spec.to_dict()) == spec
        assert InputSpec.from_dict(InputSpec((8, 8)).to_dict()) == InputSpec((8, 8))

    @pytest.mark.parametrize("damage", [{"size": [8]}, {"crop": None}, {"mean": [0.5]}, {"depth": {"kind": "metric"}}])
    def test_a_damaged_specification_is_refused(self, damage):
        with pytest.raises(RoadKdError, match="input needs size"):
            InputSpec.from_dict({**InputSpec((8, 8)).to_dict(), **damage})

    def test_a_crop_outside_the_image_is_refused(self):
        with pytest.raises(RoadKdError, match="expected \\(top, left, bottom, right\\)"):
            InputSpec((8, 8), crop=(0.0, 0.5, 1.0, 0.5))

    def test_repeated_calls_agree_bit_for_bit(self):
        generator = np.random.default_rng(0)
        rgb = torch.from_numpy(generator.integers(0, 255, (1, HEIGHT, WIDTH, 3), np.uint8))
        depth_m = torch.from_numpy(generator.uniform(1, 8, (1, HEIGHT, WIDTH)).astype(np.float32))
        spec = InputSpec((32, 64), DepthEncoding("plane_residual"))
        first, second = preprocess(rgb, depth_m, spec), preprocess(rgb, depth_m, spec)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
