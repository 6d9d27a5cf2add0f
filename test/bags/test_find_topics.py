# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from road_kd_seg.bags.find_topics import find_topics
from road_kd_seg.bags.topics import CAMERA_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC, TopicNames
from road_kd_seg.errors import BagError

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"


def find(*names, wanted=None, **others):
    """Topics by name: camera_info by its last part, compressed by its suffix, images otherwise."""
    topics = {}
    for name in names:
        last = name.rsplit("/", 1)[-1]
        topics[name] = CAMERA_INFO if last == "camera_info" else COMPRESSED if last.startswith("compressed") else IMAGE
    topics |= others
    return find_topics(Path("drive"), topics, dict.fromkeys(topics, 3), wanted or TopicNames())


REALSENSE = "/camera/camera"
RECORDERS = {
    "realsense": (
        [COLOR_TOPIC, DEPTH_TOPIC, CAMERA_INFO_TOPIC, f"{REALSENSE}/depth/image_rect_raw", "/road_seg/overlay",
         f"{REALSENSE}/infra1/image_rect_raw", f"{REALSENSE}/depth/camera_info", "/road_seg/label"],
        (COLOR_TOPIC, DEPTH_TOPIC, CAMERA_INFO_TOPIC),
    ),
    "realsense, old namespace": (
        ["/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw", "/camera/color/camera_info"],
        ("/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw", "/camera/color/camera_info"),
    ),
    "realsense, compressed": (
        [f"{COLOR_TOPIC}/compressed", f"{DEPTH_TOPIC}/compressedDepth", f"{DEPTH_TOPIC}/compressed", CAMERA_INFO_TOPIC],
        (f"{COLOR_TOPIC}/compressed", f"{DEPTH_TOPIC}/compressedDepth", CAMERA_INFO_TOPIC),
    ),
    "zed": (
        ["/zed/zed_node/rgb/image_rect_color", "/zed/zed_node/rgb_raw/image_raw_color",
         "/zed/zed_node/left/image_rect_color", "/zed/zed_node/right/image_rect_color",
         "/zed/zed_node/depth/depth_registered", "/zed/zed_node/confidence/confidence_map",
         "/zed/zed_node/rgb/camera_info"],
        ("/zed/zed_node/rgb/image_rect_color", "/zed/zed_node/depth/depth_registered", "/zed/zed_node/rgb/camera_info"),
    ),
    "orbbec": (
        ["/camera/color/image_raw", "/camera/depth/image_raw", "/camera/ir/image_raw", "/camera/color/camera_info"],
        ("/camera/color/image_raw", "/camera/depth/image_raw", "/camera/color/camera_info"),
    ),
    "azure kinect": (
        ["/rgb/image_raw", "/depth_to_rgb/image_raw", "/depth/image_raw", "/rgb_to_depth/image_raw", "/ir/image_raw",
         "/rgb/camera_info"],
        ("/rgb/image_raw", "/depth_to_rgb/image_raw", "/rgb/camera_info"),
    ),
    "realsense sdk": (
        ["/device_0/sensor_0/Depth_0/image/data", "/device_0/sensor_1/Color_0/image/data",
         "/device_0/sensor_0/Infrared_1/image/data"],
        ("/device_0/sensor_1/Color_0/image/data", "/device_0/sensor_0/Depth_0/image/data", CAMERA_INFO_TOPIC),
    ),
    "usb camera": (["/image_raw", "/camera_info"], ("/image_raw", DEPTH_TOPIC, "/camera_info")),
}  # fmt: skip


@pytest.mark.parametrize("recorder", RECORDERS)
def test_the_topics_of_known_drivers_are_found(recorder):
    topics, (color, depth, camera_info) = RECORDERS[recorder]
    names = find(*topics)
    assert (names.color, names.depth, names.camera_info) == (color, depth, camera_info)


def test_of_two_cameras_one_has_to_be_named_and_brings_its_depth():
    topics = [f"/{side}/{what}/image_raw" for side in ("front", "rear") for what in ("color", "depth")]
    with pytest.raises(
        BagError, match=r"2 topics could be the color images \(/front.*, /rear.*\): name one with --color"
    ):
        find(*topics)
    names = find(*topics, wanted=TopicNames(color="/rear/color/image_raw"))
    assert names.depth == "/rear/depth/image_raw"


def test_a_name_that_was_given_without_its_transport_is_understood():
    names = find("/a/image/compressed", "/b/image", wanted=TopicNames(color="/a/image"))
    assert names.color == "/a/image/compressed"


def test_a_name_that_is_not_there_is_not_replaced_by_another():
    with pytest.raises(BagError, match=r"no color images on /nope; it holds /camera/color/image_raw \(sensor_msgs"):
        find("/camera/color/image_raw", wanted=TopicNames(color="/nope"))
    assert find("/color", "/depth", wanted=TopicNames(depth="/nope")).depth == "/nope"


def test_without_images_some_of_the_topics_are_listed():
    with pytest.raises(BagError, match=r"it holds /t0 .*/t17 \(std_msgs/msg/String\) and 10 more topics: name"):
        find(**{f"/t{number}": "std_msgs/msg/String" for number in range(20)})


def test_empty_topics_are_none():
    topics = {"/a/color": IMAGE, "/b/color": IMAGE}
    assert find_topics(Path("drive"), topics, {"/a/color": 0, "/b/color": 4}, TopicNames()).color == "/b/color"


@pytest.mark.parametrize("wanted", [TopicNames(camera_info="/x"), TopicNames(depth="/x")])
def test_a_topic_of_another_type_is_refused(wanted):
    with pytest.raises(BagError, match="/x is of type std_msgs/msg/String, expected sensor_msgs/msg/"):
        find("/color", wanted=wanted, **{"/x": "std_msgs/msg/String"})
