# SPDX-License-Identifier: Apache-2.0
"""A bundle proves itself: whatever an engine gets wrong is noticed before the first real frame."""

import shutil
import sys
import time

import numpy as np
import pytest
import torch
import yaml

from road_kd_seg import segmenter as segmenter_module
from road_kd_seg.backends import load_backend
from road_kd_seg.bundle import GOLDEN, MANIFEST, ONNX, add_attachment, load_bundle, save_bundle
from road_kd_seg.errors import BundleError, RoadKdError
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.golden import MAX_BYTES, GoldenFrame, describe_difference, golden_size, pack_golden, unpack_golden
from road_kd_seg.networks import build_network
from road_kd_seg.preprocess.input_spec import DepthEncoding, InputSpec
from road_kd_seg.preprocess.tensors import preprocess_frame
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.synthetic import render_scene
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_seg.tools.golden_frames import make_golden

pytestmark = pytest.mark.xdist_group("golden")  # one worker, as exporting the graphs takes a while

SPEC = InputSpec((64, 96), DepthEncoding("plane_residual"))


def balanced_network(seed):
    """Untrained, but every class wins some pixels of a rendered scene."""
    torch.manual_seed(seed)
    network = build_network("erfnet", len(DEFAULT_TAXONOMY), depth_channels=1).eval()
    frame = render_scene(2_000_100, 64, 96).frame
    with torch.inference_mode():
        logits = network(*preprocess_frame(frame.rgb, frame.depth_m, SPEC)).logits
    std, mean = torch.std_mean(logits, dim=(0, 2, 3))
    network.classifier.weight.data /= std[None, :, None, None]
    network.classifier.bias.data = (network.classifier.bias.data - mean) / std
    return network


def save(folder, seed=0, spec=SPEC):
    return save_bundle(
        folder,
        balanced_network(seed),
        name="proven",
        network_name="erfnet",
        network_kwargs={"depth_channels": 1},
        taxonomy=DEFAULT_TAXONOMY,
        input_spec=spec,
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = save(tmp_path_factory.mktemp("models") / "proven")
    add_attachment(folder, "golden", make_golden(load_bundle(folder)))
    return folder


@pytest.fixture
def bundle(original, tmp_path):
    """A folder that may be damaged."""
    return shutil.copytree(original, tmp_path / "proven")


@pytest.fixture(scope="module")
def graphs():
    """model.onnx of the right weights, of other ones, and of another input size."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from road_kd_seg.tools.onnx_export import to_onnx

    right, other = balanced_network(0), balanced_network(1)
    return {"right": to_onnx(right, SPEC.size), "stale": to_onnx(other, SPEC.size), "small": to_onnx(right, (32, 48))}


class Sabotaged:
    """A backend that does something else with its inputs or its logits."""

    def __init__(self, backend, before=lambda rgb, depth: (rgb, depth), after=lambda logits: logits):
        self.device, self.precision, self.device_name = backend.device, backend.precision, "sabotaged"
        self.infer = lambda rgb, depth: after(backend.infer(*before(rgb, depth)))


def slow(logits):
    deadline = time.perf_counter() + 0.1
    while time.perf_counter() < deadline:
        pass
    return logits


class TestCheck:
    def test_the_exporters_own_engine_passes_entirely(self, bundle):
        assert Segmenter.from_bundle(bundle, device="cpu", backend="torch").check_golden() == 1.0

    def test_every_class_is_there_to_be_confused(self, original):
        labels = [golden.label for golden in unpack_golden((original / GOLDEN).read_bytes())]
        assert len(labels) == 3
        assert len(np.unique(labels)) >= 4

    @pytest.mark.parametrize(
        "sabotage",
        [
            {"before": lambda rgb, depth: (rgb.flip(1), depth)},
            {"before": lambda rgb, depth: (rgb * 0.5, depth)},
            {"before": lambda rgb, depth: (rgb, -depth)},
            {"before": lambda rgb, depth: (rgb.flip(3), depth)},
            {"after": lambda logits: logits.clamp(max=logits.quantile(0.9))},
            {"after": lambda logits: logits.roll(1, dims=3)},
            {"after": lambda logits: torch.full_like(logits, torch.nan)},
        ],
        ids=["swapped channels", "other std", "other sign of depth", "mirrored", "saturating", "shifted", "not finite"],
    )
    def test_a_sabotaged_backend_is_refused_with_what_differs(self, bundle, sabotage):
        loaded = load_bundle(bundle)
        segmenter = Segmenter(loaded, Sabotaged(load_backend("torch", loaded, "cpu"), **sabotage))
        with pytest.raises(BundleError, match=r"on sabotaged, .*% of golden frame \d have .* expected 99.50%: .* are"):
            segmenter.warm_up(72, 128)

    @pytest.mark.parametrize("change", [{"mean": [0.4, 0.5, 0.6]}, {"std": [0.4, 0.4, 0.4]}])
    def test_another_mean_or_std_in_the_manifest_is_refused(self, bundle, change):
        manifest = yaml.safe_load((bundle / MANIFEST).read_text())
        manifest["input"] |= change
        (bundle / MANIFEST).write_text(yaml.safe_dump(manifest))
        with pytest.raises(BundleError, match="have the exporter's label"):
            Segmenter.from_bundle(bundle, device="cpu")

    def test_one_flipped_bit_of_the_golden_frames_is_noticed(self, bundle):
        content = bytearray((bundle / GOLDEN).read_bytes())
        content[-1] ^= 1
        (bundle / GOLDEN).write_bytes(content)
        with pytest.raises(BundleError, match="golden.safetensors has sha256"):
            Segmenter.from_bundle(bundle, device="cpu")

    def test_a_slow_engine_is_told_by_its_forecast(self, bundle):
        loaded = load_bundle(bundle)
        backend = load_backend("torch", loaded, "cpu")
        assert Segmenter(loaded, Sabotaged(backend, after=slow)).warm_up(72, 128, repeats=3) > 100

    def test_without_golden_frames_there_is_nothing_to_check(self, tiny_bundle):
        segmenter = Segmenter.from_bundle(tiny_bundle, device="cpu")
        assert segmenter.check_golden() is None
        assert segmenter.warm_up() > 0


class TestChoice:
    def test_a_cpu_runs_the_graph(self, bundle, graphs):
        add_attachment(bundle, "onnx", graphs["right"])
        segmenter = Segmenter.from_bundle(bundle, device="cpu")
        assert "onnxruntime, fp32" in segmenter.device_name
        assert segmenter.notes == ()

    @pytest.mark.parametrize(
        ("graph", "reason"),
        [("stale", "golden frame 1 have the exporter's label"), ("small", r"rgb \(1, 3, 32, 48\), .* needs rgb")],
    )
    def test_a_graph_of_other_weights_or_size_is_passed_over_by_auto_and_refused_by_name(
        self, bundle, graphs, graph, reason
    ):
        add_attachment(bundle, "onnx", graphs[graph])
        segmenter = Segmenter.from_bundle(bundle, device="cpu")
        assert "torch, fp32" in segmenter.device_name
        assert len(segmenter.notes) == 1
        with pytest.raises(BundleError, match=reason) as caught:
            Segmenter.from_bundle(bundle, device="cpu", backend="onnx")
        assert str(caught.value) in segmenter.notes[0]

    def test_a_missing_file_and_a_missing_onnxruntime_are_said(self, bundle, graphs, monkeypatch):
        add_attachment(bundle, "onnx", graphs["right"])
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "onnxruntime", None)
            segmenter = Segmenter.from_bundle(bundle, device="cpu")
        assert "torch, fp32" in segmenter.device_name
        assert "run 'pip install onnxruntime'" in segmenter.notes[0]
        (bundle / ONNX).unlink()
        segmenter = Segmenter.from_bundle(bundle, device="cpu")
        assert "torch, fp32" in segmenter.device_name
        assert "model.onnx" in segmenter.notes[0]

    def test_int8_that_the_bundle_lacks_is_said(self, bundle):
        segmenter = Segmenter.from_bundle(bundle, device="cpu", precision="int8")
        assert segmenter.notes == ("precision int8: not here, running fp32",)

    def test_bf16_without_units_for_it_is_said_and_fp32_runs(self, bundle, monkeypatch):
        monkeypatch.setattr(segmenter_module, "has_bf16", lambda: False)
        segmenter = Segmenter.from_bundle(bundle, device="cpu", precision="bf16")
        assert "fp32" in segmenter.device_name
        assert "this CPU has no bf16 units" in segmenter.notes[0]

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
    @pytest.mark.parametrize("backend", ["auto", "torch", "onnx"])
    def test_a_provider_that_is_not_here_is_an_error(self, bundle, graphs, backend):
        add_attachment(bundle, "onnx", graphs["right"])
        with pytest.raises(RoadKdError, match="this machine has 0 CUDA devices"):
            Segmenter.from_bundle(bundle, device="cuda", backend=backend)


class TestFile:
    @pytest.mark.parametrize("depth", [True, False])
    def test_frames_survive_it(self, depth):
        random = np.random.default_rng(0)
        rgb, label = random.integers(0, 256, (2, 8, 12, 3), np.uint8), random.integers(0, 5, (2, 8, 12), np.uint8)
        depth_m = (random.integers(0, 9000, (2, 8, 12)) / np.float32(1000)).astype(np.float32)
        frames = [GoldenFrame(RgbdFrame(rgb[i], depth_m[i] if depth else None), label[i]) for i in range(2)]
        for before, after in zip(frames, unpack_golden(pack_golden(frames)), strict=True):
            np.testing.assert_array_equal(after.frame.rgb, before.frame.rgb)
            np.testing.assert_array_equal(after.label, before.label)
            if depth:
                np.testing.assert_array_equal(after.frame.depth_m, before.frame.depth_m)
            else:
                assert after.frame.depth_m is None

    @pytest.mark.parametrize("size", [(64, 96), (288, 512), (512, 1024), (1024, 2048)])
    def test_it_stays_small(self, size):
        height, width = golden_size(size, 3)
        frames = [
            GoldenFrame(
                RgbdFrame(np.zeros((height, width, 3), np.uint8), np.ones((height, width), np.float32)),
                np.zeros((height, width), np.uint8),
            )
        ] * 3
        assert len(pack_golden(frames)) <= MAX_BYTES

    @pytest.mark.parametrize(
        "content",
        [b"", b"no safetensors", bytes(MAX_BYTES + 1), b"\x02\0\0\0\0\0\0\0{}"],
        ids=["empty", "text", "too large", "no arrays"],
    )
    def test_anything_else_is_refused_in_one_line(self, content):
        with pytest.raises(BundleError, match="golden frames") as caught:
            unpack_golden(content)
        assert "\n" not in str(caught.value)

    def test_the_most_frequent_difference_is_named(self):
        got, wanted = np.array([[1, 1, 0, 2]], np.uint8), np.array([[2, 2, 0, 1]], np.uint8)
        names = DEFAULT_TAXONOMY.names
        assert describe_difference(got, wanted, names) == "50.0% of the pixels are road instead of lane_marking"
