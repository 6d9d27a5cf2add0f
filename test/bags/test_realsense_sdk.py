# SPDX-License-Identifier: Apache-2.0
"""Recordings of the RealSense SDK, laid out as librealsense's writers do, of a scene whose geometry is known."""

import numpy as np
import pytest

from recorders import ROS1, image, record, string, write_ros1, write_sqlite
from road_kd_seg.bags.alignment import DepthAlignment
from road_kd_seg.bags.reader import BagReader
from road_kd_seg.errors import BagError, FrameError
from road_kd_seg.frame import Intrinsics

COLOR, DEPTH = "/device_0/sensor_1/Color_0", "/device_0/sensor_0/Depth_0"
COLOR_CAMERA = Intrinsics(60.0, 60.0, 32.0, 24.0, 64, 48)
DEPTH_CAMERA = Intrinsics(40.0, 40.0, 42.0, 24.0, 84, 48)
OFFSET_M = 0.2
"""p_color = p_depth + OFFSET_M along x, far more than any camera has: so that a wrong sign is seen."""
WALL_M, BOX_M = 4.0, 2.0


def depth_m():
    """A wall with a box before it, as the depth camera sees it; the box spans x from -0.4 to 0.4 m."""
    columns = np.arange(84)
    x = (columns - DEPTH_CAMERA.cx) / DEPTH_CAMERA.fx * BOX_M
    return np.tile(np.where(np.abs(x) <= 0.4, BOX_M, WALL_M).astype(np.float32), (48, 1))


def texts(unit="0.001000"):
    """What the SDK writes about the cameras into a .db3."""

    def camera(c):
        size, center = f"width={c.width};height={c.height}", f"fx={c.fx};ppx={c.cx};fy={c.fy};ppy={c.cy}"
        return f"{size};{center};model=Brown Conrady;coeffs=0,0,0,0,0"

    return {
        f"{DEPTH}/info/camera_info": camera(DEPTH_CAMERA),
        f"{COLOR}/info/camera_info": camera(COLOR_CAMERA),
        f"{DEPTH}/tf/0": "rotation=1,0,0,0,1,0,0,0,1;translation=0,0,0",
        f"{COLOR}/tf/0": f"rotation=1,0,0,0,1,0,0,0,1;translation={OFFSET_M},0,0",
        "/device_0/sensor_0/option/Depth Units/value": unit,
        f"{DEPTH}/image/metadata": "Frame Number=1;",
    }


def write_sdk(path, described, units_per_m=1000, compressed=False):
    records = [record(topic, string(text), 1) for topic, text in described.items()]
    for number in range(3):
        stamp_ns = 1_700_000_000_000_000_000 + number * 33_000_000
        rgb = np.full((48, 64, 3), number, np.uint8)
        stored = np.rint(depth_m() * units_per_m).astype(np.uint16)
        records.append(record(f"{DEPTH}/image/data", image(stored, "mono16", stamp_ns, frame_id="Depth_0"), stamp_ns))
        records.append(record(f"{COLOR}/image/data", image(rgb, "rgb8", stamp_ns, frame_id="Color_0"), stamp_ns))
    return write_sqlite(path, records, compressed=compressed)


def check(reader):
    frames = list(reader.frames())
    assert len(frames) == 3
    for number, (frame, _) in enumerate(frames):
        assert frame.rgb[0, 0, 0] == number
        assert frame.intrinsics == COLOR_CAMERA
        row = frame.depth_m[24]
        # The box spans x = -0.2 to 0.6 m before the color camera: columns 26 to 50.
        box = np.flatnonzero(np.abs(row - BOX_M) < 0.01)
        assert abs(box[0] - 26) <= 1
        assert abs(box[-1] - 50) <= 1
        wall = np.flatnonzero(np.abs(row - WALL_M) < 0.01)
        assert wall[0] == 0
        assert wall[-1] == 63
        assert np.abs(row[(row > 0)][:, None] - [BOX_M, WALL_M]).min(1).max() < 0.01


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("unit", "units_per_m"), [("0.001000", 1000), ("0.000100", 10000)])
def test_depth_of_a_db3_is_aligned_by_what_the_file_says(tmp_path, compressed, unit, units_per_m):
    file = write_sdk(tmp_path / "viewer.db3", texts(unit), units_per_m, compressed)
    with BagReader(file) as reader:
        check(reader)
        assert any(
            f"aligned to color by the file's own calibration (unit {float(unit):g} m)" in n for n in reader.notes
        )
        assert reader.duration_ns == 66_000_000
        with pytest.raises(BagError, match="which a node cannot align: evaluate it without --live"):
            reader.check_live()


def test_depth_of_a_ros1_bag_is_aligned_alike(tmp_path):
    def camera_info(camera):
        k = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1.0])
        region = ROS1.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        from recorders import header

        return ROS1.types["sensor_msgs/msg/CameraInfo"](
            header(0, "", ROS1),
            camera.height,
            camera.width,
            "",
            np.zeros(5),
            k,
            np.zeros(9),
            np.zeros(12),
            0,
            0,
            region,
        )

    def transform(x):
        vector, quaternion = ROS1.types["geometry_msgs/msg/Vector3"], ROS1.types["geometry_msgs/msg/Quaternion"]
        return ROS1.types["geometry_msgs/msg/Transform"](vector(x, 0.0, 0.0), quaternion(0.0, 0.0, 0.0, 1.0))

    messages = [
        (f"{DEPTH}/info/camera_info", camera_info(DEPTH_CAMERA), 1),
        (f"{COLOR}/info/camera_info", camera_info(COLOR_CAMERA), 1),
        (f"{DEPTH}/tf/0", transform(0.0), 1),
        (f"{COLOR}/tf/0", transform(OFFSET_M), 1),
        ("/device_0/sensor_0/option/Depth Units/value", ROS1.types["std_msgs/msg/Float32"](0.001), 1),
    ]
    for number in range(3):
        stamp_ns = 1_000_000_000 + number * 33_000_000
        rgb = np.full((48, 64, 3), number, np.uint8)
        stored = np.rint(depth_m() * 1000).astype(np.uint16)
        messages.append((f"{DEPTH}/image/data", image(stored, "mono16", stamp_ns, store=ROS1), stamp_ns))
        messages.append((f"{COLOR}/image/data", image(rgb, "rgb8", stamp_ns, store=ROS1), stamp_ns))
    with BagReader(write_ros1(tmp_path / "viewer.bag", messages, compression="lz4")) as reader:
        check(reader)


def test_without_calibration_depth_is_not_used_and_it_is_said(tmp_path):
    described = {topic: text for topic, text in texts().items() if not topic.startswith(f"{COLOR}/tf")}
    with BagReader(write_sdk(tmp_path / "viewer.db3", described)) as reader:
        assert all(frame.depth_m is None for frame, _ in reader.frames())
        assert any(
            "lacks the calibration to align it: it is not used; record through the ROS" in n for n in reader.notes
        )


class TestDepthAlignment:
    def test_one_camera_onto_itself_changes_nothing(self):
        align = DepthAlignment(COLOR_CAMERA, COLOR_CAMERA, np.eye(3), np.zeros(3))
        depth = np.random.default_rng(0).uniform(0.5, 9, (48, 64)).astype(np.float32)
        np.testing.assert_array_equal(align(depth), depth)

    def test_a_finer_image_has_no_grid_of_holes(self):
        fine = COLOR_CAMERA.scaled(128, 96)
        align = DepthAlignment(COLOR_CAMERA, fine, np.eye(3), np.zeros(3))
        aligned = align(np.full((48, 64), 3, np.float32))
        assert (aligned[1:-1, 1:-1] == 3).all()

    def test_what_is_nearer_covers_what_is_behind(self):
        coarse = COLOR_CAMERA.scaled(32, 24)
        align = DepthAlignment(COLOR_CAMERA, coarse, np.eye(3), np.zeros(3))
        depth = np.full((48, 64), 5, np.float32)
        depth[::2, ::2] = 2
        assert (align(depth) == 2).mean() > 0.9

    def test_a_turn_about_the_optical_axis_turns_the_image(self):
        square = Intrinsics(60.0, 60.0, 31.5, 31.5, 64, 64)
        quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        depth = np.random.default_rng(0).uniform(0.5, 9, (64, 64)).astype(np.float32)
        aligned = DepthAlignment(square, square, quarter, np.zeros(3))(depth)
        np.testing.assert_array_equal(aligned, np.rot90(depth, -1))

    def test_an_image_of_another_size_is_refused(self):
        align = DepthAlignment(COLOR_CAMERA, COLOR_CAMERA, np.eye(3), np.zeros(3))
        with pytest.raises(FrameError, match="depth is 8x6, the recording's calibration is for 64x48"):
            align(np.ones((6, 8), np.float32))
