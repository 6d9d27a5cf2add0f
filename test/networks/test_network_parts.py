# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks import build_network
from road_kd_seg.networks.common.blocks import bin_means, max_unpool
from road_kd_seg.networks.pspnet import PyramidPooling, ShrinkPooling


class TestBinMeans:
    @given(height=st.integers(1, 13), width=st.integers(1, 13), bins=st.sampled_from([1, 2, 3, 6]))
    @settings(max_examples=40, deadline=None)
    def test_they_equal_adaptive_pooling(self, height, width, bins):
        x = torch.randn(2, 3, height, width)
        torch.testing.assert_close(bin_means(x, bins), F.adaptive_avg_pool2d(x, bins))


class TestMaxUnpool:
    @given(height=st.integers(1, 5), width=st.integers(1, 5), channels=st.integers(1, 3))
    @settings(max_examples=20, deadline=None)
    def test_it_equals_torchs(self, height, width, channels):
        pooled, indices = F.max_pool2d(torch.randn(2, channels, 2 * height, 2 * width), 2, return_indices=True)
        assert torch.equal(max_unpool(pooled, indices), F.max_unpool2d(pooled, indices, 2))

    def test_each_maximum_returns_to_its_place(self):
        x = torch.arange(1.0, 17).reshape(1, 1, 4, 4)
        restored = max_unpool(*F.max_pool2d(x, 2, return_indices=True))
        assert torch.equal(restored, torch.where(torch.isin(x, torch.tensor([6.0, 8, 14, 16])), x, 0))


class TestPyramids:
    @pytest.mark.parametrize("pyramid", [PyramidPooling, ShrinkPooling])
    def test_every_context_comes_from_the_input(self, pyramid):
        torch.manual_seed(0)
        module = pyramid(4, 2).eval()
        x = torch.randn(1, 4, 7, 13)
        expected = module(x)
        for context in module.contexts:
            context[0].weight.data.zero_()
            changed = module(x)
            assert not torch.equal(changed, expected)
            expected = changed

    @pytest.mark.parametrize("size", [(7, 13), (10, 20), (61, 9)])
    def test_sizes_that_no_shrink_divides_are_kept(self, size):
        assert ShrinkPooling(4, 2).eval()(torch.randn(1, 4, *size)).shape == (1, 2, *size)

    def test_a_constant_map_stays_constant_away_from_the_padding(self):
        module = ShrinkPooling(4, 2).eval()
        out = module(torch.ones(1, 4, 60, 60))[..., 1:-1, 1:-1]  # 60 is a multiple of every shrink: no padding
        torch.testing.assert_close(out, out[..., :1, :1].expand_as(out))

    def test_an_unknown_variant_is_named(self):
        with pytest.raises(RoadKdError, match="variant is 'skd', expected 'cwd' or 'intra_kd'"):
            build_network("pspnet_r101", 2, variant="skd")


class TestErfNet:
    def test_depth_is_seen(self, cheap_network):
        network = cheap_network("erfnet", depth_channels=1).eval()
        rgb = torch.rand(1, 3, 16, 16)
        near, far = (network(rgb, torch.full((1, 1, 16, 16), depth)).logits for depth in (0.0, 1.0))
        assert not torch.allclose(near, far)

    @pytest.mark.parametrize("size", [(208, 976), (64, 96)])
    def test_lane_existence_has_one_logit_per_lane_at_any_size(self, size, meta_forward):
        _, output = meta_forward("erfnet", 5, input_size=size, lane_existence=4)
        assert output.features["lane_existence"].shape == (2, 4, 1, 1)

    def test_without_auxiliary_head_there_is_no_such_tap(self, meta_forward):
        network, output = meta_forward("erfnet", input_size=(64, 64), auxiliary=False)
        assert "auxiliary_logits" not in network.feature_info
        assert "auxiliary_logits" not in output.features
