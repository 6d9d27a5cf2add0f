"""What must hold for each network and each option that changes its graph."""

from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from road_kd_seg.errors import FrameError, RoadKdError, ShapeMismatch
from road_kd_seg.networks import NETWORKS, SegmentationNetwork, SegOutput, build_network

VARIANTS = {
    "mafnet_r18 at full size": ("mafnet_r18", {"input_scale": 1.0, "depth_channels": 1}),
    "erfnet with depth and lanes": ("erfnet", {"depth_channels": 1, "auxiliary": False, "lane_existence": 4}),
    "pspnet_r101 of IntRA-KD": ("pspnet_r101", {"variant": "intra_kd"}),
    "pspnet_r18 without auxiliary": ("pspnet_r18", {"auxiliary": False}),
}
CASES = {name: (name, {}) for name in NETWORKS} | VARIANTS
RGBD = sorted(["mafnet_r152", "mafnet_r34", "mafnet_r18", "erfnet", "sne_roadseg_r152", "mfnet"])


class Case(NamedTuple):
    name: str
    kwargs: dict
    network: SegmentationNetwork
    rgb: torch.Tensor
    depth: torch.Tensor | None

    def eager(self, samples=slice(None)) -> SegOutput:
        with torch.no_grad():
            return self.network.eval()(*self.inputs(samples))

    def inputs(self, samples=slice(None)):
        return self.rgb[samples], None if self.depth is None else self.depth[samples]


@pytest.fixture(scope="module", params=CASES)
def case(request, cheap_network):
    """One network at a time, with a batch of 2 at an odd multiple of its stride."""
    name, kwargs = CASES[request.param]
    network = cheap_network(name, **kwargs)
    divisor = network.size_divisor
    height, width = {8: (72, 88), 16: (80, 112)}.get(divisor, (divisor, 3 * divisor))
    generator = torch.Generator().manual_seed(0)
    rgb = torch.rand(2, 3, height, width, generator=generator)
    depth = torch.rand(2, network.depth_channels, height, width, generator=generator)
    return Case(name, kwargs, network, rgb, depth if network.depth_channels else None)


def assert_same(got: SegOutput, expected: SegOutput, tolerance: float):
    torch.testing.assert_close(got.logits, expected.logits, atol=tolerance, rtol=tolerance)
    assert got.features.keys() == expected.features.keys()
    for name, feature in expected.features.items():
        torch.testing.assert_close(got.features[name], feature, atol=tolerance, rtol=tolerance)


class TestComputing:
    def test_training_reaches_every_parameter_with_a_finite_gradient(self, case):
        output = case.network.train()(*case.inputs())
        assert output.logits.shape == (2, 3, *case.rgb.shape[-2:])
        terms = [output.logits, *output.features.values()]
        torch.stack([term.square().mean() for term in terms]).sum().backward()
        gradients = {key: parameter.grad for key, parameter in case.network.named_parameters()}
        case.network.zero_grad()
        assert [key for key, grad in gradients.items() if grad is None or not grad.isfinite().all()] == []

    def test_in_eval_a_sample_does_not_depend_on_its_batch(self, case):
        both = case.eager()
        first = SegOutput(both.logits[:1], {name: feature[:1] for name, feature in both.features.items()})
        assert_same(case.eager(slice(1)), first, 1e-4)  # float32, other blocking of the same sums

    def test_channels_last_changes_nothing(self, case):
        expected = case.eager(slice(1))
        try:
            case.network.to(memory_format=torch.channels_last)
            rgb, depth = case.inputs(slice(1))
            rgb = rgb.contiguous(memory_format=torch.channels_last)
            depth = None if depth is None else depth.contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                assert_same(case.network(rgb, depth), expected, 1e-3)  # other kernels; activations reach tens
        finally:
            case.network.to(memory_format=torch.contiguous_format)

    def test_bfloat16_autocast_stays_finite(self, case):
        with torch.autocast("cpu", torch.bfloat16):
            output = case.eager(slice(1))
        assert all(tensor.isfinite().all() for tensor in [output.logits, *output.features.values()])

    def test_the_exported_program_equals_the_network(self, case):
        inputs = case.inputs(slice(1))
        expected = case.eager(slice(1))
        program = torch.export.export(case.network, inputs).module()
        with torch.no_grad():
            assert_same(program(*inputs), expected, 1e-4)

    def test_weights_survive_safetensors(self, case, tmp_path):
        state = case.network.state_dict()
        save_file(state, tmp_path / "weights.safetensors")
        with torch.device("meta"):
            fresh = build_network(case.name, 3, **case.kwargs)
        fresh.load_state_dict(load_file(tmp_path / "weights.safetensors"), assign=True)
        (tmp_path / "weights.safetensors").unlink()
        assert all(torch.equal(value, state[key]) for key, value in fresh.state_dict().items())


@pytest.mark.parametrize("variant", CASES)
class TestShapes:
    def test_taps_are_what_feature_info_says_at_576x1024(self, variant, meta_forward):
        name, kwargs = CASES[variant]
        network, output = meta_forward(name, **kwargs)
        assert output.logits.shape == (2, 3, 576, 1024)
        taps = {key: tuple(output.features[key].shape) for key in network.feature_info}
        assert taps == {
            key: (2, channels, 576 // stride, 1024 // stride)
            for key, (channels, stride) in network.feature_info.items()
        }
        assert output.features.keys() - network.feature_info.keys() <= {"lane_existence"}

    @pytest.mark.parametrize("num_classes", [1, 150])
    def test_any_number_of_classes(self, variant, num_classes, meta_forward):
        name, kwargs = CASES[variant]
        _, output = meta_forward(name, num_classes, size=(64, 64), **kwargs)
        assert output.logits.shape == (2, num_classes, 64, 64)

    def test_a_size_between_strides_is_refused_with_the_next_that_fits(self, variant, meta_forward):
        name, kwargs = CASES[variant]
        with pytest.raises(
            FrameError, match=r"input is 127x256, expected multiples of (8|16|32|64): resize to 128x256"
        ):
            meta_forward(name, size=(127, 256), **kwargs)


@pytest.mark.parametrize("name", RGBD)
class TestDepth:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_one_or_three_channels(self, name, channels, meta_forward):
        network, output = meta_forward(name, size=(64, 64), depth_channels=channels)
        assert network.modalities == ("rgb", "depth")
        assert output.logits.shape == (2, 3, 64, 64)

    def test_missing_depth_is_named(self, name):
        with torch.device("meta"):
            network = build_network(name, 3, depth_channels=1)
            with pytest.raises(FrameError, match=r"depth is missing, expected \(2, 1, 64, 64\)"):
                network(torch.empty(2, 3, 64, 64))

    def test_depth_of_another_size_is_named(self, name):
        with torch.device("meta"):
            network = build_network(name, 3, depth_channels=1)
            with pytest.raises(ShapeMismatch, match=r"got shape \(2, 1, 64, 32\), expected \(2, 1, 64, 64\)"):
                network(torch.empty(2, 3, 64, 64), torch.empty(2, 1, 64, 32))


@pytest.mark.parametrize("name", [*sorted(set(NETWORKS) - set(RGBD)), "erfnet"])
def test_an_rgb_network_refuses_depth(name):
    with torch.device("meta"):
        network = build_network(name, 3)
        assert network.modalities == ("rgb",)
        with pytest.raises(FrameError, match="this network takes RGB only"):
            network(torch.empty(2, 3, 64, 64), torch.empty(2, 1, 64, 64))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_that_batch_norm_cannot_train_on_is_refused(name):
    with torch.device("meta"):
        network = build_network(name, 3)
        depth = torch.empty(1, network.depth_channels, 64, 64) if network.depth_channels else None
        if network.min_training_batch == 1:
            assert network(torch.empty(1, 3, 64, 64), depth).logits.shape == (1, 3, 64, 64)
            return
        with pytest.raises(FrameError, match="got a batch of 1 in training, expected 2 or more"):
            network(torch.empty(1, 3, 64, 64), depth)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_classes_is_refused(name):
    with torch.device("meta"), pytest.raises(RoadKdError, match="num_classes is 0, expected 1 or more"):
        build_network(name, 0)


class TestBuildNetwork:
    def test_a_misspelt_name_gets_a_suggestion(self):
        with pytest.raises(RoadKdError, match="network 'erfnett' is unknown: did you mean 'erfnet'"):
            build_network("erfnett", 5)

    def test_an_unknown_option_is_named(self):
        with pytest.raises(RoadKdError, match="network 'enet' does not take these options.*depth_channels"):
            build_network("enet", 5, depth_channels=1)
