# SPDX-License-Identifier: Apache-2.0
import math
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg.backends.torch_backend import TorchBackend
from road_kd_seg.bundle import Bundle
from road_kd_seg.errors import FrameError, RoadKdError
from road_kd_seg.frame import Intrinsics, RgbdFrame
from road_kd_seg.networks import build_network
from road_kd_seg.preprocess.encodings import PLANE_KINDS, encode_depth, jet
from road_kd_seg.preprocess.input_spec import DepthEncoding, DepthKind, InputSpec
from road_kd_seg.preprocess.tensors import preprocess, preprocess_frame
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

HEIGHT, WIDTH = 72, 128


def road_depth_m() -> torch.Tensor:
    """A road that fills the image, 1 to 5 m away, (1, H, W)."""
    return 1 / torch.linspace(0.2, 1.0, HEIGHT)[:, None].expand(HEIGHT, WIDTH)[None]


def plane_depth_m(normal: torch.Tensor, focal: float, height: int, width: int) -> torch.Tensor:
    """The plane normal·P = -1.5 m, seen by a camera of square pixels that looks through the middle, (1, H, W)."""
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rays = torch.stack((u - (width - 1) / 2, v - (height - 1) / 2, torch.full((height, width), focal * width)))
    return (-1.5 * focal * width / (normal[:, None, None] * rays).sum(dim=0))[None]


class TestEncodeDepth:
    def test_metric_and_inverse_scale_their_range_to_one(self):
        depth_m = torch.tensor([[[0.5, 1.0, 5.5, 10.0, 20.0]]])
        metric = encode_depth(depth_m, DepthEncoding("metric", 1.0, 10.0))
        torch.testing.assert_close(metric, torch.tensor([[[[0.0, 0.0, 0.5, 1.0, 1.0]]]]))
        inverse = encode_depth(depth_m, DepthEncoding("inverse", 0.1, 1.0))
        torch.testing.assert_close(inverse[0, 0, 0, [1, 3]], torch.tensor([1.0, 0.0]))

    @pytest.mark.parametrize(
        "kind", ["metric", "inverse", "plane_residual", "relative_height", "jet", "jet_depth", "normals"]
    )
    @pytest.mark.parametrize("invalid", [0.0, -1.0, math.nan, math.inf])
    def test_invalid_depth_is_zero_and_harms_nothing_else(self, kind, invalid):
        depth_m = road_depth_m()
        encoding = DepthEncoding(kind, 0.0, 10.0 if kind == "metric" else 0.5)
        clean = encode_depth(depth_m, encoding)
        broken = depth_m.clone()
        broken[:, 40, 30:50] = invalid
        encoded = encode_depth(broken, encoding)
        assert encoded.isfinite().all()
        assert (encoded[:, :, 40, 30:50] == 0).all()
        torch.testing.assert_close(encoded[:, :, 45:], clean[:, :, 45:], atol=1e-3, rtol=0)

    def test_relative_height_is_squashed_to_half_at_its_range(self):
        inverse = 1 / road_depth_m()
        inverse[:, 40, 60:70] *= 1 / 0.9  # a tenth of the camera's height above the road
        encoded = encode_depth(1 / inverse, DepthEncoding("relative_height", high=0.1))
        torch.testing.assert_close(encoded[0, 0, 40, 60:70], torch.full((10,), 0.5), atol=2e-3, rtol=0)
        assert encoded[0, 0, 50:].abs().max() < 0.01

    def test_jet_runs_from_blue_over_green_to_red(self):
        colors = jet(torch.tensor([0.125, 0.5, 0.875]).view(3, 1, 1, 1)).flatten(1)
        torch.testing.assert_close(colors, torch.tensor([[0.0, 0.0, 1.0], [0.5, 1.0, 0.5], [1.0, 0.0, 0.0]]))

    def test_an_unknown_kind_lists_the_known_ones(self):
        with pytest.raises(
            RoadKdError,
            match=r"'rainbow' is unknown: choose one of metric, .*, relative_height, jet, jet_depth, normals",
        ):
            DepthEncoding("rainbow")

    def test_an_empty_range_is_refused(self):
        with pytest.raises(RoadKdError, match=r"low 2.0 must be below high 1.0"):
            DepthEncoding("metric", 2.0, 1.0)

    def test_a_focal_length_of_nothing_is_refused(self):
        with pytest.raises(RoadKdError, match=r"'normals': focal 0 must be positive"):
            DepthEncoding("normals", focal=0)


class TestNormals:
    NORMAL = torch.nn.functional.normalize(torch.tensor([0.2, -0.5, -0.84]), dim=0)

    def encoded(self, depth_m: torch.Tensor, spec: InputSpec) -> torch.Tensor:
        encoded = preprocess(torch.zeros(*depth_m.shape, 3, dtype=torch.uint8), depth_m, spec)[1]
        assert encoded.shape == (1, 3, *spec.size)
        return encoded

    def assert_all(self, encoded: torch.Tensor, normal: torch.Tensor):
        # Half a pixel of the resized principal point: a fifth of a degree.
        torch.testing.assert_close(encoded, normal.view(1, 3, 1, 1).expand_as(encoded), atol=0.005, rtol=0)

    @pytest.mark.parametrize("focal", [0.5, 0.9])
    @pytest.mark.parametrize("size", [(144, 256), (192, 256)], ids=["as wide as the input", "squeezed into it"])
    def test_a_tilted_plane_has_one_normal_whatever_the_cameras_size(self, focal, size):
        spec = InputSpec((72, 128), DepthEncoding("normals", focal=focal))
        self.assert_all(self.encoded(plane_depth_m(self.NORMAL, focal, *size), spec), self.NORMAL)

    def test_a_crop_beside_the_middle_keeps_it(self):
        spec = InputSpec((48, 80), DepthEncoding("normals"), crop=(1 / 3, 0.25, 1.0, 0.875))
        self.assert_all(self.encoded(plane_depth_m(self.NORMAL, 0.5, 144, 256), spec), self.NORMAL)

    @given(true=st.floats(0.4, 1.2), nominal=st.floats(0.4, 1.2))
    @settings(max_examples=25, deadline=None)
    def test_another_cameras_slopes_are_off_by_the_quotient_of_the_focal_lengths(self, true, nominal):
        encoded = encode_depth(plane_depth_m(self.NORMAL, true, HEIGHT, WIDTH), DepthEncoding("normals", focal=nominal))
        slopes = encoded[:, :2] / encoded[:, 2:]
        expected = nominal / true * self.NORMAL[:2] / self.NORMAL[2]
        torch.testing.assert_close(slopes, expected.view(1, 2, 1, 1).expand_as(slopes), atol=0, rtol=0.03)

    def test_camera_info_changes_nothing(self):
        spec = InputSpec((32, 64), DepthEncoding("normals"))
        bundle = Bundle(Path(), "tiny", "erfnet", {"depth_channels": 3}, DEFAULT_TAXONOMY, spec, "")
        network = build_network("erfnet", len(DEFAULT_TAXONOMY), depth_channels=3)
        segmenter = Segmenter(bundle, TorchBackend(network, "cpu"))
        generator = np.random.default_rng(0)
        rgb = generator.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        depth_m = road_depth_m()[0].numpy()
        without = segmenter(RgbdFrame(rgb, depth_m))
        camera = Intrinsics(300.0, 300.0, 10.0, 20.0, WIDTH, HEIGHT)
        assert (segmenter(RgbdFrame(rgb, depth_m, camera)).confidence == without.confidence).all()


class TestPreprocess:
    def test_normalizes_with_mean_and_std(self):
        rgb = torch.full((1, 8, 8, 3), 128, dtype=torch.uint8)
        spec = InputSpec((8, 8), mean=(0.5, 0.0, 1.0), std=(0.5, 1.0, 0.25))
        color, depth = preprocess(rgb, None, spec)
        expected = [(128 / 255 - 0.5) / 0.5, 128 / 255, (128 / 255 - 1) / 0.25]
        torch.testing.assert_close(color[0, :, 0, 0], torch.tensor(expected))
        assert depth is None

    def test_shrinking_averages_color_and_samples_depth(self):
        rgb = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
        rgb[:, ::2] = 200
        depth_m = torch.tensor([1.0, 3.0]).repeat(1, 4, 2)
        spec = InputSpec((2, 2), DepthEncoding("metric", 0.0, 4.0), mean=(0, 0, 0), std=(1, 1, 1))
        color, depth = preprocess(rgb, depth_m, spec)
        torch.testing.assert_close(color, torch.full((1, 3, 2, 2), 100 / 255))
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
        color, depth = preprocess(
            torch.zeros(1, height, width, 3, dtype=torch.uint8), torch.ones(1, height, width), spec
        )
        assert color.shape == (1, 3, 32, 48)
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
        normals = InputSpec((8, 8), DepthEncoding("normals", focal=0.9))
        assert InputSpec.from_dict(normals.to_dict()) == normals

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            ({"size": [8]}, "input.size is [8], expected a list of 2 values"),
            ({"crop": None}, "input.crop is None, expected a list of 4 values"),
            ({"mean": [0.5]}, "input.mean is [0.5], expected a list of 3 values"),
            ({"depth": {"kind": "metric"}}, "depth.low is missing"),
            ({"depth": {"kind": "normals"}}, "depth.focal is missing"),
        ],
    )
    def test_a_damaged_specification_is_refused(self, damage, message):
        with pytest.raises(RoadKdError, match=re.escape(message)):
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


class TestPreprocessFrame:
    """The way of a CPU against the definition."""

    @pytest.mark.parametrize("kind", [None, *get_args(DepthKind)])
    @given(
        size=st.tuples(st.integers(40, 150), st.integers(60, 200)),
        crop=st.sampled_from([(0.0, 0.0, 1.0, 1.0), (0.25, 0.1, 1.0, 0.9)]),
        holes=st.floats(0, 0.95),
    )
    @settings(max_examples=15, deadline=None)
    def test_same_tensors_for_every_depth_encoding(self, kind, size, crop, holes):
        depth = None if kind is None else DepthEncoding(kind, 0.0, 10.0 if kind == "metric" else 0.5)
        spec = InputSpec((48, 80), depth, crop)
        random = np.random.default_rng(0)
        rgb = random.integers(0, 256, (*size, 3), np.uint8)
        depth_m = (1 / np.linspace(0.2, 1.0, size[0], dtype=np.float32))[:, None].repeat(size[1], 1)
        depth_m[random.random(size) < holes] = 0
        color, encoded = preprocess_frame(rgb, depth_m, spec)
        expected = preprocess(torch.from_numpy(rgb)[None], torch.from_numpy(depth_m)[None], spec)
        gray_level = 1 / (255 * min(spec.std))
        torch.testing.assert_close(color, expected[0], atol=1.01 * gray_level, rtol=0)
        if kind is None:
            assert encoded is None
        else:
            # The plane is fitted by other operators in float32.
            atol = 1e-3 if kind in PLANE_KINDS else 0
            torch.testing.assert_close(encoded, expected[1], atol=atol, rtol=0)

    @pytest.mark.parametrize("kind", get_args(DepthKind))
    @pytest.mark.parametrize("size", [(96, 160), (73, 121)], ids=["even steps", "uneven steps"])
    def test_millimeters_are_the_same_depth_as_meters(self, kind, size):
        spec = InputSpec((48, 80), DepthEncoding(kind, 0.0, 10.0 if kind == "metric" else 0.5))
        random = np.random.default_rng(0)
        depth_mm = (random.integers(300, 9000, size) * (random.random(size) < 0.7)).astype(np.uint16)
        depth_m = np.divide(depth_mm, np.float32(1000), dtype=np.float32)
        rgb = np.zeros((*size, 3), np.uint8)
        assert torch.equal(preprocess_frame(rgb, depth_mm, spec)[1], preprocess_frame(rgb, depth_m, spec)[1])

    def test_a_missing_depth_says_what_to_do(self):
        with pytest.raises(FrameError, match="enable aligned depth, or use an RGB-only model"):
            preprocess_frame(np.zeros((8, 8, 3), np.uint8), None, InputSpec((8, 8), DepthEncoding("metric", 0, 1)))
