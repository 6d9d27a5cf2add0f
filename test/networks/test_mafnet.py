# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks import build_network
from road_kd_seg.networks.common.attention import ChannelAttention, DualAttention, TransformerStage, resize_position


class TestDualAttention:
    def test_with_both_gains_at_zero_it_doubles(self):
        x = torch.randn(2, 16, 5, 7)
        torch.testing.assert_close(DualAttention(16)(x), 2 * x)

    def test_position_attention_by_hand(self):
        torch.manual_seed(0)
        attention, x = DualAttention(16), torch.randn(2, 16, 3, 4)
        attention.position_gain.data.fill_(1)
        query, key, value = (layer(x).flatten(2) for layer in (attention.query, attention.key, attention.value))
        weights = torch.einsum("bci,bcj->bij", query, key).softmax(dim=-1)  # each pixel over all pixels, unscaled
        mixed = torch.einsum("bij,bcj->bci", weights, value).reshape(x.shape)
        torch.testing.assert_close(attention(x), 2 * x + mixed)

    def test_channel_attention_prefers_channels_unlike_the_own(self):
        attention = DualAttention(8)
        attention.channel_gain.data.fill_(1)
        x = torch.zeros(1, 8, 2, 2)
        x[:, 0], x[:, 1] = 10, 20
        mixed = attention(x) - 2 * x
        # Channels 0 and 1 are alike (large energies), so both are mixed from the six empty ones only.
        torch.testing.assert_close(mixed[:, :2], torch.zeros(1, 2, 2, 2))
        # To the empty channels all are alike: the unweighted mean.
        torch.testing.assert_close(mixed[:, 2:], torch.full((1, 6, 2, 2), 30 / 8))


class TestChannelAttention:
    def test_it_scales_each_channel_by_one_number_below_one(self):
        x = torch.rand(2, 8, 4, 6) + 0.5
        scale = ChannelAttention(8, 4).eval()(x) / x
        torch.testing.assert_close(scale, scale[..., :1, :1].expand_as(scale))
        assert ((scale > 0) & (scale < 1)).all()


class TestPositionEmbedding:
    def test_its_own_grid_is_left_alone(self):
        position = torch.randn(1, 4, 3, 5)
        assert resize_position(position, torch.Size((3, 5))) is position

    def test_a_ramp_stays_a_ramp(self):
        ramp = torch.arange(8.0).expand(1, 1, 2, 8)
        resized = resize_position(ramp, torch.Size((2, 16)))[0, 0, 0]
        torch.testing.assert_close(resized[1:-1].diff(), torch.full((13,), 0.5))

    def test_another_size_equals_a_network_built_for_it_with_the_resized_embedding(self):
        torch.manual_seed(0)
        small, large = TransformerStage(8, 32, 8, (2, 3)).eval(), TransformerStage(8, 32, 8, (4, 5)).eval()
        small.position.data.normal_()
        state = small.state_dict()
        large.load_state_dict(state | {"position": resize_position(state["position"], torch.Size((4, 5)))})
        x = torch.randn(1, 8, 8, 10)
        torch.testing.assert_close(small(x), large(x))


class TestMafNet:
    def test_logits_are_not_negative(self, cheap_network):
        network = cheap_network("mafnet_r18", input_scale=1.0).eval()
        assert network(torch.randn(1, 3, 32, 32), torch.randn(1, 3, 32, 32)).logits.min() >= 0

    def test_at_half_scale_only_every_second_pixel_is_seen(self, cheap_network):
        network = cheap_network("mafnet_r18").eval()
        rgb, depth = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
        unseen = rgb.clone()
        unseen[..., 1::2, 1::2] = 9
        torch.testing.assert_close(network(unseen, depth).logits, network(rgb, depth).logits)

    def test_depth_trunk_goes_on_unfused(self, cheap_network):
        network = cheap_network("mafnet_r18", input_scale=1.0).eval()
        seen = []
        network.depth_stages[2].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        depth = torch.rand(1, 3, 32, 32)
        for rgb in (torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)):
            network(rgb, depth)
        assert torch.equal(*seen)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"depth_channels": 0}, "depth_channels is 0, expected 1 or 3"),
            ({"input_scale": 0.25}, "input_scale is 0.25, expected 0.5"),
            ({"image_size": (570, 1024)}, "image_size 570x1024 must be multiples of 64"),
        ],
    )
    def test_impossible_options_are_named(self, options, message):
        with pytest.raises(RoadKdError, match=message):
            build_network("mafnet_r18", 2, **options)
