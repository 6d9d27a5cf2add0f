# SPDX-License-Identifier: Apache-2.0
import math
import sys

import pytest
import torch
from torch import nn

from road_kd_seg.backends import OnnxBackend
from road_kd_seg.bundle import ONNX, add_attachment, load_bundle, save_bundle
from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks import SegmentationNetwork, SegOutput, build_network
from road_kd_seg.preprocess.input_spec import InputSpec
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_seg.tools import onnx_export
from road_kd_seg.tools.onnx_export import Parity, compare, export_onnx, to_onnx


@pytest.fixture(scope="module")
def rgb_bundle(tmp_path_factory):
    torch.manual_seed(0)
    return save_bundle(
        tmp_path_factory.mktemp("models") / "rgb",
        build_network("mfnet_rgb", len(DEFAULT_TAXONOMY)),
        name="rgb",
        network_name="mfnet_rgb",
        network_kwargs={},
        taxonomy=DEFAULT_TAXONOMY,
        input_spec=InputSpec((32, 48)),
    )


class Tiny(SegmentationNetwork):
    """Exports in a second."""

    size_divisor = 4

    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.final = nn.Conv2d(8, num_classes, 1)

    def forward(self, rgb, depth=None):
        self.check_input(rgb, depth)
        x = self.layers(rgb)
        return SegOutput(self.final(x), {"tap": x})


class TestToOnnx:
    def test_the_same_weights_give_the_same_file(self):
        network = Tiny(3)
        assert to_onnx(network, (16, 16)) == to_onnx(network, (16, 16))

    def test_nothing_in_it_tells_where_it_was_made(self, tiny_onnx_bundle):
        model = (tiny_onnx_bundle / ONNX).read_bytes()
        assert len(model) > 1_000_000  # the weights are in it
        assert b".py" not in model

    def test_batch_norm_uses_its_running_statistics_whatever_the_mode(self):
        network = Tiny(3).train()
        network.layers[1].running_mean.fill_(0.7)
        backend, rgb = OnnxBackend(to_onnx(network, (16, 16)), "cpu"), torch.randn(1, 3, 16, 16)
        with torch.no_grad():
            torch.testing.assert_close(backend.infer(rgb, None), network.eval()(rgb).logits, atol=1e-5, rtol=1e-5)

    def test_a_size_between_strides_is_refused(self):
        with pytest.raises(RoadKdError, match="Tiny: input is 30x48, expected multiples of 4: resize to 32x48"):
            to_onnx(Tiny(2), (30, 48))

    def test_without_onnxscript_it_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxscript", None)
        with pytest.raises(RoadKdError, match="run 'pip install onnx onnxscript onnxruntime'"):
            to_onnx(Tiny(2), (16, 16))


class TestExportOnnx:
    def test_a_network_is_checked_on_noise_and_on_scenes(self, rgb_bundle):
        model, parities = export_onnx(load_bundle(rgb_bundle))
        assert [parity.what.rstrip(" 0123456789") for parity in parities] == ["random input", *["synthetic scene"] * 2]
        assert all(parity.agreement > 0.999 and parity.max_difference < 1e-4 for parity in parities)
        assert OnnxBackend(model, "cpu").shapes == {"rgb": (1, 3, 32, 48), "logits": (1, 5, 32, 48)}

    def test_one_that_predicts_differently_is_refused(self, rgb_bundle, monkeypatch):
        other = to_onnx(Tiny(len(DEFAULT_TAXONOMY)), (32, 48))
        monkeypatch.setattr(onnx_export, "to_onnx", lambda *_: other)  # what a wrong exporter would write
        with pytest.raises(RoadKdError, match="as ONNX, mfnet_rgb predicts differently: random input: .*Nothing was"):
            export_onnx(load_bundle(rgb_bundle))


class TestParity:
    @pytest.mark.parametrize(
        ("agreement", "difference", "passed"),
        [(1.0, 0.0, True), (0.999, 1.0, True), (0.9989, 0.0, False), (1.0, math.nan, False), (1.0, math.inf, False)],
    )
    def test_passes_from_999_of_1000_pixels_and_only_if_finite(self, agreement, difference, passed):
        assert Parity("x", agreement, difference).passed is passed

    def test_counts_pixels_and_takes_the_largest_difference(self):
        network = Tiny(2).eval()
        backend = OnnxBackend(to_onnx(network, (16, 16)), "cpu")
        rgb = torch.randn(1, 3, 16, 16)
        with torch.no_grad():
            network.final.weight.zero_()
            network.final.bias.copy_(torch.tensor([0.0, 1.0]))
        logits = backend.infer(rgb, None)
        parity = compare(network, backend, "noise", rgb, None)
        assert parity.agreement == pytest.approx((logits.argmax(1) == 1).float().mean().item())
        expected = (logits - torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)).abs().max().item()
        assert parity.max_difference == pytest.approx(expected)


class TestAddOnnx:
    def test_saving_other_weights_removes_it(self, rgb_bundle, tmp_path):
        bundle = load_bundle(rgb_bundle)
        arguments = {
            "name": "rgb",
            "network_name": "mfnet_rgb",
            "network_kwargs": {},
            "taxonomy": bundle.taxonomy,
            "input_spec": bundle.input,
        }
        folder = save_bundle(tmp_path / "bundle", bundle.build_network(), **arguments)
        add_attachment(folder, "onnx", b"graph")
        assert load_bundle(folder).read_attachment("onnx") == b"graph"
        save_bundle(folder, build_network("mfnet_rgb", len(bundle.taxonomy)), **arguments)
        assert not (folder / ONNX).exists()
        assert load_bundle(folder).onnx_sha256 is None
