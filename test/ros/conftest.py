# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from road_kd_seg.bundle import add_attachment, load_bundle, save_bundle
from road_kd_seg.networks import build_network
from road_kd_seg.preprocess.input_spec import DepthEncoding, InputSpec
from road_kd_seg.preprocess.tensors import preprocess
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_seg.tools.onnx_export import to_onnx
from ros_graph import HEIGHT, WIDTH, Graph, assert_all_accounted_for


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Graph]:
    """A ROS graph with an active seg_node, shared by the tests of a module; each works with stamps of its own."""
    graph = Graph(tmp_path_factory.mktemp("running"))
    process = graph.start_node(model=tiny_bundle)
    graph.wait_for_inputs()
    yield graph
    assert process.stop() == 0, process.log
    assert "Traceback" not in process.log
    assert_all_accounted_for(process.counters())
    graph.close()


def save_tiny(folder: Path, name: str, depth: DepthEncoding | None) -> Path:
    """An untrained student for small images, tuned so that every class wins some pixels of `Graph`'s images."""
    torch.manual_seed(0)
    options = {"depth_channels": depth.channels} if depth else {}
    network, spec = build_network("erfnet", len(DEFAULT_TAXONOMY), **options).eval(), InputSpec((64, 96), depth)
    rgb = torch.randint(0, 256, (1, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    with torch.inference_mode():
        logits = network(*preprocess(rgb, torch.full((1, HEIGHT, WIDTH), 3.0) if depth else None, spec)).logits
    std, mean = torch.std_mean(logits, dim=(0, 2, 3))
    network.classifier.weight.data /= std[None, :, None, None]
    network.classifier.bias.data = (network.classifier.bias.data - mean) / std
    return save_bundle(
        folder / name,
        network,
        name=name,
        network_name="erfnet",
        network_kwargs=options,
        taxonomy=DEFAULT_TAXONOMY,
        input_spec=spec,
    )


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained RGB-D student for small images that sees every class somewhere."""
    return save_tiny(tmp_path_factory.mktemp("models"), "tiny", DepthEncoding("metric", 0, 10))


@pytest.fixture(scope="session")
def tiny_onnx_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_bundle` with a model.onnx."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("models") / "tiny_onnx")
    bundle = load_bundle(folder)
    add_attachment(folder, "onnx", to_onnx(bundle.build_network(), bundle.input.size))
    return folder


@pytest.fixture(scope="session")
def tiny_rgb_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained RGB student with the classes of `tiny_bundle`."""
    return save_tiny(tmp_path_factory.mktemp("models"), "tiny_rgb", None)
