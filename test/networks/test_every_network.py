# SPDX-License-Identifier: Apache-2.0
"""What must hold for each network and each option that changes its graph."""

import copy
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
    "roadlite_s, color alone": ("roadlite", {"size": "s", "depth_channels": 0}),
    "roadlite_l with normals": ("roadlite", {"size": "l", "depth_channels": 3}),
    "pspnet_r18 without auxiliary": ("pspnet_r18", {"auxiliary": False}),
}
CASES = {name: (name, {}) for name in NETWORKS} | VARIANTS
DEEPER = ("mafnet_r152", "mafnet_r34", "pspnet_r101", "deeplabv3plus_r101", "sne_roadseg_r152_rgb")
"""Their parts are those of a shallower network, or of one with more inputs, which costs less to compute."""
COMPUTED = [name for name in CASES if name not in DEEPER]


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


# One worker builds a network, and runs all tests of it.
@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in COMPUTED])
def case(request, cheap_network):
    """One network at a time, with a batch of 2 at an odd multiple of its stride."""
    name, kwargs = CASES[request.param]
    network = cheap_network(name, **kwargs)
    divisor = network.size_divisor
    height, width = {8: (72, 88), 16: (80, 112)}.get(divisor, (divisor, 3 * divisor))
    generator = torch.Generator().manual_seed(0)
    rgb = torch.rand(2, 3, height, width, generator=generator)
    depth = torch.rand(2, network.depth_channels, height, width, generator=generator)
    case = Case(name, kwargs, network, rgb, depth if network.depth_channels else None)
    torch.manual_seed(0)
    with torch.no_grad():
        network.train()(*case.inputs())  # batch norm learns its scale; without it, activations grow from layer to layer
    return case


def assert_same(got: SegOutput, expected: SegOutput, tolerance: float):
    torch.testing.assert_close(got.logits, expected.logits, atol=tolerance, rtol=tolerance)
    assert got.features.keys() == expected.features.keys()
    for name, feature in expected.features.items():
        torch.testing.assert_close(got.features[name], feature, atol=tolerance, rtol=tolerance)


class TestComputing:
    def test_training_reaches_every_parameter_with_a_finite_gradient(self, case):
        network = copy.deepcopy(case.network)  # its batch norm statistics change, and other tests compare
        output = network.train()(*case.inputs())
        assert output.logits.shape == (2, 3, *(side // network.logits_stride for side in case.rgb.shape[-2:]))
        terms = [output.logits, *output.features.values()]
        torch.stack([term.square().mean() for term in terms]).sum().backward()
        gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
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


class TestRefusing:
    def test_a_size_between_strides_is_refused_with_the_next_that_fits(self, case):
        divisor = case.network.size_divisor
        message = rf"input is {divisor - 1}x{divisor}, expected multiples of {divisor}: resize to {divisor}x{divisor}"
        with pytest.raises(FrameError, match=message):
            case.network(torch.empty(2, 3, divisor - 1, divisor), torch.empty(2, 1, divisor - 1, divisor))

    def test_depth_is_refused_or_demanded(self, case):
        _, _, height, width = case.rgb.shape
        if case.depth is None:
            with pytest.raises(FrameError, match="this network takes RGB only"):
                case.network(case.rgb, torch.empty(2, 1, height, width))
            return
        channels = case.network.depth_channels
        with pytest.raises(FrameError, match=rf"depth is missing, expected \(2, {channels}, {height}, {width}\)"):
            case.network(case.rgb)
        with pytest.raises(ShapeMismatch, match=rf"expected \(2, {channels}, {height}, {width}\)"):
            case.network(case.rgb, case.depth[..., 1:])

    def test_a_batch_that_batch_norm_cannot_train_on_is_refused(self, case):
        case.network.train()
        if case.network.min_training_batch == 1:
            assert case.network(*case.inputs(slice(1))).logits.isfinite().all()
            return
        with pytest.raises(FrameError, match="got a batch of 1 in training, expected 2 or more"):
            case.network(*case.inputs(slice(1)))


@pytest.mark.parametrize("variant", CASES)
class TestShapes:
    def test_taps_are_what_feature_info_says_at_576x1024(self, variant, meta_forward):
        name, kwargs = CASES[variant]
        network, output = meta_forward(name, 150, **kwargs)
        assert output.logits.shape == (2, 150, 576 // network.logits_stride, 1024 // network.logits_stride)
        taps = {key: tuple(output.features[key].shape) for key in network.feature_info}
        assert taps == {
            key: (2, channels, 576 // stride, 1024 // stride)
            for key, (channels, stride) in network.feature_info.items()
        }
        assert output.features.keys() - network.feature_info.keys() <= {"lane_existence"}

    def test_a_single_class(self, variant, meta_forward):
        name, kwargs = CASES[variant]
        network, output = meta_forward(name, 1, input_size=(64, 64), **kwargs)
        assert output.logits.shape == (2, 1, 64 // network.logits_stride, 64 // network.logits_stride)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["mafnet_r152", "mafnet_r34", "mafnet_r18", "erfnet", "sne_roadseg_r152", "mfnet"])
def test_depth_of_one_or_three_channels(name, channels, meta_forward):
    network, output = meta_forward(name, input_size=(64, 64), depth_channels=channels)
    assert network.modalities == ("rgb", "depth")
    assert output.logits.shape == (2, 3, 64, 64)


class TestBuildNetwork:
    def test_a_misspelt_name_gets_a_suggestion(self):
        with pytest.raises(RoadKdError, match="network 'erfnett' is unknown: did you mean 'erfnet'"):
            build_network("erfnett", 5)

    def test_an_unknown_option_is_named(self):
        with pytest.raises(RoadKdError, match="network 'enet': option 'depth_channels' is unknown: it takes none"):
            build_network("enet", 5, depth_channels=1)

    @pytest.mark.parametrize(
        ("num_classes", "options", "message"),
        [
            (0, {}, "num_classes is 0, expected 1 or more"),
            (5, {"depth_channels": -1}, "depth_channels is -1, expected 0"),
        ],
    )
    def test_impossible_numbers_are_named(self, num_classes, options, message):
        with pytest.raises(RoadKdError, match=message):
            build_network("erfnet", num_classes, **options)
