# SPDX-License-Identifier: Apache-2.0
"""What nav2's layers do with our messages, by their documented rules (docs/NAV2.md), on rendered roads."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from road_kd_seg.clouds import costmap_points, ground_points, organized_points
from road_kd_seg.frame import Segmentation
from road_kd_seg.ground import assess_depth
from road_kd_seg.postprocess import obstacle_points
from road_kd_seg.synthetic.drive import render_scene
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "config" / "nav2.yaml").read_text())
LAYERS = CONFIG["local_costmap"]["local_costmap"]["ros__parameters"]
SETTINGS = yaml.safe_load((ROOT / "config" / "seg.yaml").read_text())["/**"]["ros__parameters"]
LIMITS = {"max_range_m": SETTINGS["max_range_m"], "min_confidence": SETTINGS["min_confidence"]}


@pytest.fixture(scope="module")
def scenes():
    """Frames that hold negative obstacles, with the ground truth as segmentation."""
    found = []
    for seed in range(1_000_000, 1_000_012):
        frame, label = render_scene(seed, 144, 256)
        if (label == 3).sum() > 50:
            found.append((frame, Segmentation(label.copy(), np.ones(label.shape, np.float32))))
    assert len(found) >= 3
    return found


def kept(points, frame, source):
    """Which points the obstacle layer takes of a source, by their height above the road."""
    plane = assess_depth(frame.depth_m).plane
    xyz = np.stack([points[axis] for axis in "xyz"], -1).astype(np.float64)
    height_m = plane.height_m(xyz, frame.intrinsics)
    layer = LAYERS["obstacle_layer"]
    low = max(layer["min_obstacle_height"], source["min_obstacle_height"])
    high = min(layer["max_obstacle_height"], source["max_obstacle_height"])
    return (height_m >= low) & (height_m <= high)


class TestObstacleLayer:
    SOURCE = LAYERS["obstacle_layer"]["road_obstacles"]

    def share_kept(self, scenes, make):
        taken = total = 0
        for frame, segmentation in scenes:
            points = make(frame, segmentation)
            points = points[points["label"] == 3]
            taken, total = taken + kept(points, frame, self.SOURCE).sum(), total + len(points)
        return taken / total

    def test_every_point_of_a_pothole_passes(self, scenes):
        height_m = SETTINGS["negative_obstacle_height_m"]

        def lifted(frame, segmentation):
            plane = assess_depth(frame.depth_m).plane
            return costmap_points(frame, segmentation, DEFAULT_TAXONOMY, plane, height_m=height_m, **LIMITS)

        assert self.share_kept(scenes, lifted) == 1.0

    def test_without_lifting_nearly_none_would(self, scenes):
        assert self.share_kept(scenes, lambda f, s: obstacle_points(f, s, DEFAULT_TAXONOMY, **LIMITS)) < 0.05

    def test_its_sources_are_topics_of_the_node_that_mark_and_clear(self):
        layer = LAYERS["obstacle_layer"]
        sources = {name: layer[name] for name in layer["observation_sources"].split()}
        assert [source["topic"] for source in sources.values()] == [
            "/road_seg/costmap_points",
            "/road_seg/ground_points",
        ]
        assert [(source["marking"], source["clearing"]) for source in sources.values()] == [
            (True, False),
            (False, True),
        ]

    def test_the_clearing_source_covers_the_road_within_its_heights(self, scenes):
        source = LAYERS["obstacle_layer"]["road_ground"]
        for frame, segmentation in scenes:
            points = ground_points(
                frame,
                segmentation,
                DEFAULT_TAXONOMY,
                stride=SETTINGS["ground_points_stride"],
                max_range_m=source["raytrace_max_range"],
            )
            xyz = np.stack([points[axis] for axis in "xyz"], -1).astype(np.float64)
            height_m = assess_depth(frame.depth_m).plane.height_m(xyz, frame.intrinsics)
            inside = (height_m >= source["min_obstacle_height"]) & (height_m <= source["max_obstacle_height"])
            assert inside.mean() > 0.99
            assert len(points) > 20


class TestSemanticSegmentationLayer:
    CAMERA = LAYERS["semantic_segmentation_layer"]["camera"]

    def test_every_class_has_exactly_one_type(self):
        named = [name for kind in self.CAMERA["class_types"] for name in self.CAMERA[kind]["classes"]]
        assert sorted(named) == sorted(DEFAULT_TAXONOMY.names)

    def test_the_cloud_is_as_large_as_the_mask(self, scenes):
        frame, segmentation = scenes[0]
        points = organized_points(frame.depth_m, frame.intrinsics, SETTINGS["points_stride"])
        assert points.shape == segmentation.label.shape


def test_the_lifecycle_manager_expects_no_bond():
    assert CONFIG["lifecycle_manager_perception"]["ros__parameters"]["bond_timeout"] == 0.0
