# SPDX-License-Identifier: Apache-2.0
"""What the runtime imports is what package.xml and setup.py say, and nothing more."""

import ast
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]

PYTHON = {
    "cv2": ("python3-opencv", "opencv-python-headless"),
    "jinja2": ("python3-jinja2", "jinja2"),
    "matplotlib": ("python3-matplotlib", "matplotlib"),
    "numpy": ("python3-numpy", "numpy"),
    "rich": ("python3-rich", "rich"),
    "rosbags": ("python3-rosbags-pip", "rosbags"),
    "timm": ("python3-timm-pip", "timm"),
    "torch": ("python3-pytorch-pip", "torch"),
    "yaml": ("python3-yaml", "pyyaml"),
}
"""Module → its key in rosdep and its name on PyPI."""
WITHOUT_KEY = {"safetensors", "onnx", "onnxruntime", "onnxscript", "openvino", "model_signing", "ray", "rerun"}
"""On PyPI under their own name, and unknown to rosdep: README says how to install them."""
OF_ROSBAGS = {"backports", "compression", "lz4"}
"""Decompression, which rosbags requires itself."""
ROS_WITHOUT_WHEELS = {
    *("ament_index_python", "launch", "launch_ros", "message_filters", "sensor_msgs_py"),
    *("tf2_ros_py", "vision_msgs"),
}
"""ROS packages that PyPI has not, or that come with others: used where they are installed."""
NAMED_OTHERWISE = {"tf2_ros": "tf2_ros_py"}
"""Module → its ROS package."""
STARTED = {"realsense2_camera", "rviz2", "ros2launch"}
"""What launch files start, and what starts them."""
PLAYED = {"geometry_msgs", "tf2_msgs"}
"""Message packages that bags hold; bag_player imports a type by its name."""


def imported() -> set[str]:
    modules: set[str] = set()
    for file in [*(ROOT / "road_kd_seg").rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules.add(node.module.partition(".")[0])
    return modules - set(sys.stdlib_module_names) - {"road_kd_seg"} - OF_ROSBAGS


def depends(kind: str) -> set[str]:
    return {item.text for item in ElementTree.parse(ROOT / "package.xml").iter(kind)}


def ros_modules() -> set[str]:
    modules = imported() - PYTHON.keys() - WITHOUT_KEY
    return {NAMED_OTHERWISE.get(module, module) for module in modules}


def test_package_xml_names_what_is_imported_started_or_played():
    keys = {PYTHON[module][0] for module in imported() & PYTHON.keys()}
    assert depends("exec_depend") == keys | ros_modules() | STARTED | PLAYED


def test_setup_py_names_what_is_imported():
    text = (ROOT / "setup.py").read_text()
    python = {PYTHON[module][1] for module in imported() & PYTHON.keys()} | {
        module.replace("_", "-") for module in WITHOUT_KEY & imported()
    }
    # builtin_interfaces and rcl_interfaces come with rclpy.
    wheels = ros_modules() - ROS_WITHOUT_WHEELS - {"builtin_interfaces", "rcl_interfaces"}
    names = python | {f"ros-{module.replace('_', '-')}" for module in wheels}
    assert {name for name in names if not re.search(rf'"{name}\b', text)} == set()


def test_the_tests_depend_on_what_they_import_in_a_colcon_workspace():
    assert depends("test_depend") >= {"cv_bridge", "python3-hypothesis", "python3-pytest", "python3-pytest-timeout"}


def test_the_versions_of_python_that_are_promised_are_those_that_ci_runs():
    (matrix,) = re.findall(r"^ +python: \[(.*)\]$", (ROOT / ".github/workflows/ci.yaml").read_text(), re.MULTILINE)
    for file in ("setup.py", "training/pyproject.toml"):
        assert re.findall(r"Python :: (3\.\d+)", (ROOT / file).read_text()) == re.findall(r"3\.\d+", matrix)
