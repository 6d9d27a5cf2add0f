# SPDX-License-Identifier: Apache-2.0
"""What every test may use.

One thread per process: the suite starts many, and OpenMP threads that share two cores wait on each other.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from road_kd_seg.bundle import add_attachment, load_bundle, save_bundle
from road_kd_seg.networks import build_network
from road_kd_seg.preprocess.input_spec import DepthEncoding, InputSpec
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_seg.tools.onnx_export import to_onnx

_NEEDED_BY = {
    "rosbags": [
        "test/bags/*",
        "test/examples/*",
        "test/fuzz/*",
        "test/replay/*",
        "test/ros/test_launch.py",
        "test/synthetic/test_drive.py",
    ],
    "rich": ["test/tools/test_seg_benchmark.py"],
    "onnxruntime": ["test/backends/test_onnx_backend.py", "test/tools/test_onnx_export.py"],
    "onnxscript": ["test/tools/test_onnx_export.py"],
    "rclpy": [
        "test/ros/*",
        "test/bags/test_player.py",
        "test/bags/test_topic_publishers.py",
        "test/replay/test_live.py",
    ],
    "road_kd_training": ["training/test/*"],
    "faster_coco_eval": ["training/test/detection/*"],
}
# Not pytest.importorskip in the modules: under launch_testing's collector it ends the collection of all of them.
collect_ignore_glob = [
    pattern for package, patterns in _NEEDED_BY.items() if find_spec(package) is None for pattern in patterns
]
pytest_plugins = ["ros_graph", *(["recordings"] if find_spec("rosbags") else [])]


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained RGB-D student with a 64x96 input: its predictions are noise. Copy it before changing it."""
    torch.manual_seed(0)
    kwargs = {"depth_channels": 1}
    return save_bundle(
        tmp_path_factory.mktemp("models") / "tiny",
        build_network("erfnet", len(DEFAULT_TAXONOMY), **kwargs),
        name="tiny",
        network_name="erfnet",
        network_kwargs=kwargs,
        taxonomy=DEFAULT_TAXONOMY,
        input_spec=InputSpec((64, 96), DepthEncoding("plane_residual")),
    )


@pytest.fixture(scope="session")
def tiny_onnx_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_bundle` with a model.onnx. Copy it before changing it."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("models") / "tiny_onnx")
    bundle = load_bundle(folder)
    add_attachment(folder, "onnx", to_onnx(bundle.build_network(), bundle.input.size))
    return folder


@pytest.hookimpl(optionalhook=True)  # known to pytest-xdist only
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: the one with the real processes waits for them half of its time."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep real processes to one worker, as two nodes on two cores would measure each other, and so the ONNX export."""
    for item in items:
        if item.get_closest_marker("ros"):
            item.add_marker(pytest.mark.xdist_group("ros"))
        elif "tiny_onnx_bundle" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("onnx"))
