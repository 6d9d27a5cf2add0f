# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from road_kd_seg.backends import load_backend
from road_kd_seg.bundle import load_bundle
from road_kd_seg.errors import RoadKdError

RGB, DEPTH = (1, 3, 64, 96), (1, 1, 64, 96)


@pytest.fixture(scope="module")
def backend(tiny_onnx_bundle):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    return load_backend("openvino", load_bundle(tiny_onnx_bundle), "cpu")


def test_logits_are_those_of_torch(backend, tiny_onnx_bundle):
    reference = load_backend("torch", load_bundle(tiny_onnx_bundle), "cpu")
    inputs = torch.randn(RGB), torch.randn(DEPTH)
    torch.testing.assert_close(backend.infer(*inputs), reference.infer(*inputs), atol=1e-4, rtol=1e-3)


def test_every_prediction_has_memory_of_its_own(backend):
    first = backend.infer(torch.zeros(RGB), torch.zeros(DEPTH))
    kept = first.clone()
    backend.infer(torch.ones(RGB), torch.ones(DEPTH))
    assert torch.equal(first, kept)


def test_another_shape_is_named(backend):
    with pytest.raises(RoadKdError, match="the model takes"):
        backend.infer(torch.zeros(1, 3, 32, 96), torch.zeros(DEPTH))


def test_it_runs_on_a_cpu_only(tiny_onnx_bundle):
    with pytest.raises(RoadKdError, match="backend openvino runs on a CPU"):
        load_backend("openvino", load_bundle(tiny_onnx_bundle), "cuda")
