# SPDX-License-Identifier: Apache-2.0
"""The files in config/ against the running node."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from ros_graph import INPUTS, START_S, Graph

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def node(tmp_path_factory, tiny_bundle):
    """A graph with a node on the topics of a RealSense camera."""
    graph = Graph(tmp_path_factory.mktemp("config"))
    remaps = [part for name in INPUTS for part in ("-r", f"{name}:=/camera/camera/{name}")]
    graph.start_node(*remaps, model=tiny_bundle)
    # Endpoints and names of nodes travel apart.
    there = lambda: ("road_seg", "/") in graph.node.get_node_names_and_namespaces()  # noqa: E731
    graph.until(lambda: graph.node.count_subscribers("/camera/camera/color/camera_info") and there(), "it", START_S)
    yield graph.node
    graph.close()


def names(found) -> set[str]:
    return {name for name, _ in found}


class TestSros2Policy:
    POLICY = ElementTree.parse(ROOT / "config" / "sros2" / "policy.xml")

    def allowed(self, path: str) -> set[str]:
        return {item.text for item in self.POLICY.iterfind(f".//{path}/*")}

    def test_it_allows_what_the_node_does_and_nothing_else(self, node):
        published = names(node.get_publisher_names_and_types_by_node("road_seg", "/"))
        subscribed = names(node.get_subscriber_names_and_types_by_node("road_seg", "/"))
        served = names(node.get_service_names_and_types_by_node("road_seg", "/"))
        with_vision_msgs = {"/road_seg/label_info", "/road_seg/obstacles"}
        assert self.allowed("topics[@publish='ALLOW']") - with_vision_msgs == published - with_vision_msgs
        assert self.allowed("topics[@subscribe='ALLOW']") == subscribed
        assert self.allowed("services[@reply='ALLOW']") == served

    def test_what_target_frame_needs_stands_in_a_comment(self):
        text = (ROOT / "config" / "sros2" / "policy.xml").read_text()
        uncommented = re.sub(r"<!-- with the parameter target_frame: (.*?) -->", r"\1", text)
        policy = ElementTree.fromstring(uncommented)
        subscribed = {item.text for item in policy.iterfind(".//topics[@subscribe='ALLOW']/*")}
        assert subscribed - self.allowed("topics[@subscribe='ALLOW']") == {"/tf", "/tf_static"}


class TestViewers:
    def test_rviz_and_foxglove_show_the_same_topics_and_the_node_has_them(self, node):
        rviz = yaml.safe_load((ROOT / "config" / "seg.rviz").read_text())
        shown = {item["Topic"]["Value"] for item in rviz["Visualization Manager"]["Displays"] if "Topic" in item}
        text = (ROOT / "config" / "foxglove.json").read_text()
        json.loads(text)
        assert set(re.findall(r'"(/(?:camera|road_seg)/[\w/]+)"', text)) == shown
        published = names(node.get_publisher_names_and_types_by_node("road_seg", "/"))
        assert {topic for topic in shown if topic.startswith("/road_seg/")} <= published

    def test_rviz_has_a_dock_for_every_panel_and_image(self):
        rviz = yaml.safe_load((ROOT / "config" / "seg.rviz").read_text())
        panels = {item["Name"] for item in rviz["Panels"]}
        images = {item["Name"] for item in rviz["Visualization Manager"]["Displays"] if item["Class"].endswith("Image")}
        state = bytes.fromhex(rviz["Window Geometry"]["QMainWindow State"])
        assert all(name.encode("utf-16-be") in state for name in panels | images)
