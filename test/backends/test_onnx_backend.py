# SPDX-License-Identifier: Apache-2.0
import hashlib
import shutil
import subprocess
import sys

import pytest
import torch
import yaml

from road_kd_seg.backends import BACKENDS, OnnxBackend, load_backend
from road_kd_seg.bundle import MANIFEST, ONNX, load_bundle
from road_kd_seg.errors import BundleError, RoadKdError, ShapeMismatch
from road_kd_seg.host import pick_num_threads

RGB, DEPTH = (1, 3, 64, 96), (1, 1, 64, 96)


@pytest.fixture(scope="module")
def backend(tiny_onnx_bundle):
    return load_backend("onnx", load_bundle(tiny_onnx_bundle), "cpu")


@pytest.fixture
def bundle(tiny_onnx_bundle, tmp_path):
    """A folder that may be damaged."""
    return shutil.copytree(tiny_onnx_bundle, tmp_path / "bundle")


def edit_manifest(folder, change):
    manifest = yaml.safe_load((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(yaml.safe_dump(manifest))


def run_without(module, script):
    """Run Python as on a machine that lacks a package; returns what it prints."""
    blocked = f"import sys; sys.modules[{module!r}] = None\n"
    done = subprocess.run([sys.executable, "-c", blocked + script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestInfer:
    def test_logits_are_those_of_torch(self, backend, tiny_onnx_bundle):
        reference = load_backend("torch", load_bundle(tiny_onnx_bundle), "cpu")
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            inputs = torch.randn(RGB, generator=generator), torch.randn(DEPTH, generator=generator)
            torch.testing.assert_close(backend.infer(*inputs), reference.infer(*inputs), atol=1e-5, rtol=1e-4)

    def test_memory_layout_does_not_matter(self, backend):
        rgb, depth = torch.randn(RGB), torch.randn(1, 2, 64, 96)[:, ::2]
        expected = backend.infer(rgb.clone(), depth.contiguous())
        assert torch.equal(backend.infer(rgb.contiguous(memory_format=torch.channels_last), depth), expected)
        assert torch.equal(backend.infer(rgb.flip(3).flip(3), depth), expected)

    def test_every_output_has_memory_of_its_own(self, backend):
        first = backend.infer(torch.zeros(RGB), torch.zeros(DEPTH))
        kept = first.clone()
        assert not torch.equal(backend.infer(torch.ones(RGB), torch.ones(DEPTH)), first)
        assert torch.equal(first, kept)

    @pytest.mark.parametrize(
        ("rgb", "depth", "message"),
        [
            (torch.zeros(RGB), None, "got rgb, the model takes rgb and depth"),
            (torch.zeros(RGB).double(), torch.zeros(DEPTH), "rgb is torch.float64 on cpu, expected float32 on cpu"),
            (torch.zeros(RGB), torch.zeros(DEPTH, device="meta"), "depth is torch.float32 on meta, expected float32"),
        ],
        ids=["missing", "type", "device"],
    )
    def test_inputs_that_it_cannot_take_are_named(self, backend, rgb, depth, message):
        with pytest.raises(RoadKdError, match=message):
            backend.infer(rgb, depth)

    @pytest.mark.parametrize("shape", [(1, 3, 32, 96), (2, 3, 64, 96)])
    def test_its_size_is_fixed(self, backend, shape):
        with pytest.raises(
            ShapeMismatch, match=r"rgb: got shape .*, expected \(1, 3, 64, 96\): the size of model.onnx"
        ):
            backend.infer(torch.zeros(shape), torch.zeros(DEPTH))

    def test_it_says_where_it_runs(self, backend):
        assert backend.device == torch.device("cpu")
        assert backend.device_name == f"cpu ({pick_num_threads(0)} threads, onnxruntime, fp32)"


class TestLoading:
    def test_pytorch_around_the_engine_gets_its_number_of_threads(self, tiny_onnx_bundle):
        before = torch.get_num_threads()
        try:
            load_backend("onnx", load_bundle(tiny_onnx_bundle), "cpu", num_threads=3)
            assert torch.get_num_threads() == 3
        finally:
            torch.set_num_threads(before)

    def test_a_bundle_without_the_file_says_how_to_write_one(self, tiny_bundle):
        with pytest.raises(
            BundleError, match=r"it has no model.onnx. Write .*'road-kd export BUNDLE --out DIR --onnx', or use backend"
        ):
            load_backend("onnx", load_bundle(tiny_bundle))

    def test_one_flipped_bit_is_noticed(self, bundle):
        content = bytearray((bundle / ONNX).read_bytes())
        content[len(content) // 2] ^= 1
        (bundle / ONNX).write_bytes(content)
        with pytest.raises(
            BundleError, match=r"model.onnx has sha256 \w{12}…, model.yaml expects \w{12}….*road-kd export"
        ):
            load_backend("onnx", load_bundle(bundle))

    def test_a_missing_file_is_named_and_missed_by_nobody_else(self, bundle):
        (bundle / ONNX).unlink()
        with pytest.raises(BundleError, match="model.onnx is missing. Fetch it again, or write a new bundle"):
            load_backend("onnx", load_bundle(bundle))
        load_backend("torch", load_bundle(bundle), "cpu").infer(torch.zeros(RGB), torch.zeros(DEPTH))

    def test_another_input_than_the_manifests_is_refused_with_both(self, bundle):
        edit_manifest(bundle, lambda m: m["input"].update(size=[64, 128]))
        with pytest.raises(
            BundleError, match=r"model.onnx has rgb \(1, 3, 64, 96\), .*model.yaml needs rgb \(1, 3, 64, 128\), "
        ):
            load_backend("onnx", load_bundle(bundle))

    def test_a_file_that_is_no_onnx_is_refused_in_one_line(self, bundle):
        (bundle / ONNX).write_bytes(b"not a graph")
        edit_manifest(bundle, lambda m: m["onnx"].update(sha256=hashlib.sha256(b"not a graph").hexdigest()))
        with pytest.raises(BundleError, match="model.onnx cannot be opened by onnxruntime") as caught:
            load_backend("onnx", load_bundle(bundle))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"precision": "fp16"}, "precision 'fp16': backend onnx has fp32 and int8 only: use one of these"),
            ({"device": "cuda:99"}, "CUDA devices: use auto or cpu"),
            ({"device": "tpu"}, "device 'tpu'"),
        ],
    )
    def test_what_it_cannot_do_is_said(self, tiny_onnx_bundle, options, message):
        with pytest.raises(RoadKdError, match=message):
            OnnxBackend.from_bundle(load_bundle(tiny_onnx_bundle), **options)

    def test_an_unknown_backend_lists_the_known_ones(self, tiny_bundle):
        with pytest.raises(RoadKdError, match="backend 'tensorrt' is unknown: use auto, torch, onnx, openvino"):
            load_backend("tensorrt", load_bundle(tiny_bundle))
        assert list(BACKENDS) == ["torch", "onnx", "openvino"]


class TestWithoutOnnxruntime:
    def test_torch_runs_and_onnx_says_what_to_install(self, tiny_onnx_bundle):
        printed = run_without(
            "onnxruntime",
            "from road_kd_seg.errors import RoadKdError\n"
            "from road_kd_seg.segmenter import Segmenter\n"
            f"Segmenter.from_bundle({str(tiny_onnx_bundle)!r}, device='cpu').warm_up(48, 64)\n"
            "try:\n"
            f"    Segmenter.from_bundle({str(tiny_onnx_bundle)!r}, backend='onnx')\n"
            "except RoadKdError as error:\n"
            "    print(error)\n",
        )
        assert printed.startswith("backend 'onnx' needs onnxruntime: ")
        assert "run 'pip install onnxruntime' (for CUDA: onnxruntime-gpu), or use backend torch" in printed
        assert printed.count("\n") == 1
