# SPDX-License-Identifier: Apache-2.0
"""Real processes on a ROS graph of their own. Every wait has a condition and a deadline."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

HAS_ROS = importlib.util.find_spec("rclpy") is not None

if HAS_ROS:
    # Both are read when the messages and the middleware are first loaded, here and in the processes started below.
    os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

    import rclpy
    from builtin_interfaces.msg import Time
    from diagnostic_msgs.msg import DiagnosticArray
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState
    from rcl_interfaces.srv import SetParametersAtomically
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image
    from std_msgs.msg import Header

    from road_kd_seg.fastdds import use_shared_memory_profile

    IMAGE_KINDS = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}

START_S = 200.0
"""Importing PyTorch on a machine whose cores are busy many times over; a condition that holds ends every wait."""
WAIT_S = 60.0
HEIGHT, WIDTH = 48, 64
FRAME_ID = "camera_color_optical_frame"
INPUTS = ("color/image_raw", "aligned_depth_to_color/image_raw", "color/camera_info")

# Above 101 the ports of a domain overlap with those that the kernel hands out.
_domains = (1 + number % 101 for number in itertools.count(os.getpid() * 7, 13))


class Process:
    """One of our nodes, with its output in a file."""

    def __init__(self, command: list[str], log: Path, domain_id: int) -> None:
        self._log = log
        environment = os.environ | {"ROS_DOMAIN_ID": str(domain_id), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with log.open("w") as stream:
            self._process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout_s: float = WAIT_S) -> int:
        return self._process.wait(timeout_s)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Signal it, and return its exit code."""
        if self.running:
            self.send(number)
        return self.wait()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def counters(self) -> dict[str, int]:
        """The frame counters of the log."""
        lines = [line for line in self.log.splitlines() if "frame counters: " in line]
        assert len(lines) == 1, self.log
        return {key: int(value) for key, value in re.findall(r"([\w.]+)=(\d+)", lines[0])}


def is_color(topic: str) -> bool:
    return "depth" not in topic


def assert_all_accounted_for(counts: dict[str, int]) -> None:
    """received = published + Σ dropped, and nothing is on its way."""
    dropped = sum(count for name, count in counts.items() if name.startswith("dropped."))
    assert counts["received"] == counts["published"] + dropped, counts
    assert counts["in_flight"] == 0, counts


class Graph:
    """A ROS graph on a domain of its own: this process as camera and listener, our nodes as processes."""

    def __init__(self, folder: Path) -> None:
        self.domain_id = next(_domains)
        self._folder = folder
        self._processes: list[Process] = []
        use_shared_memory_profile()
        self._context = Context()
        rclpy.init(context=self._context, domain_id=self.domain_id)
        self.node = rclpy.create_node("test", context=self._context, start_parameter_services=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._camera = {
            name: self.node.create_publisher(kind, name, 10)
            for name, kind in zip(INPUTS, (Image, Image, CameraInfo), strict=True)
        }
        self.latest_status: dict[str, str] = {}
        self._reports = 0
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def close(self) -> None:
        for process in self._processes:
            if process.running:
                process.kill()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    @property
    def log(self) -> str:
        """What all processes have said."""
        return "\n".join(process.log for process in self._processes)

    def start(self, module: str, *arguments: str) -> Process:
        """Start `python -m module arguments`."""
        log = self._folder / f"{module.rpartition('.')[2]}-{self.domain_id}-{len(self._processes)}.log"
        process = Process([sys.executable, "-m", module, *arguments], log, self.domain_id)
        self._processes.append(process)
        return process

    def start_node(self, *ros_arguments: str, **parameters: object) -> Process:
        """Start a seg_node."""
        values = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
        return self.start("road_kd_seg.ros.seg_node", "--ros-args", *values, *ros_arguments)

    def until(self, condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
        """Handle messages until a condition holds."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline_s, f"waited {timeout_s} s for {what}; {self.latest_status}\n{self.log}"
            self._executor.spin_once(timeout_sec=0.02)

    def spin_once(self, timeout_s: float = 0.0) -> None:
        """Handle what has come."""
        self._executor.spin_once(timeout_sec=timeout_s)

    def listen(self, kind: type, topic: str, *, latched: bool = False) -> list:
        """Subscribe, wait for the publisher, and return the list that messages are added to."""
        messages = self.subscribe(kind, topic, latched=latched)
        self.until(lambda: self.node.count_publishers(topic), f"a publisher of {topic}", START_S)
        return messages

    def subscribe(self, kind: type, topic: str, *, latched: bool = False, raw: bool = False) -> list:
        """Subscribe, and return the list that messages (or, if `raw`, their bytes) are added to."""
        messages: list = []
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        qos = QoSProfile(depth=50, durability=durability)
        self.node.create_subscription(kind, topic, messages.append, qos, raw=raw)
        return messages

    def outputs(self, stamps: Iterator[int], **kinds: type) -> list[list]:
        """Listen to outputs of the node by name, and send pairs until each has published: only then do both ends of
        every connection know each other, and nothing is lost any more."""
        listeners = [self.listen(kind, f"/road_seg/{name}") for name, kind in kinds.items()]
        next_s = 0.0

        def published() -> bool:
            nonlocal next_s
            if time.monotonic() > next_s:
                self.publish_pair(next(stamps))
                next_s = time.monotonic() + 0.2
            return all(listeners)

        self.until(published, f"{', '.join(kinds)} of any pair", START_S)
        return listeners

    def assert_survival(self, stamps: Iterator[int]) -> None:
        """A node that runs segments the next good pair if it is active, and ends with code 0; none has lost a frame."""
        for process in (process for process in self._processes if process.running):
            self.segment_next_pair(stamps)
            assert process.stop() == 0, process.log
        for process in self._processes:
            assert "Traceback" not in process.log
            if "frame counters: " in process.log:
                assert_all_accounted_for(process.counters())

    def segment_next_pair(self, stamps: Iterator[int]) -> Image | None:
        """The label of a good pair, sent as the node takes it, raw or compressed; None if it does not listen."""
        there = lambda: ("road_seg", "/") in self.node.get_node_names_and_namespaces()  # noqa: E731
        self.until(there, "the node in the graph", START_S)
        inputs = self.node.get_subscriber_names_and_types_by_node("road_seg", "/")
        topics = [(name, kind) for name, kinds in sorted(inputs) for kind in kinds if kind in IMAGE_KINDS]
        if not topics:
            return None
        cameras = [
            (self.node.create_publisher(IMAGE_KINDS[kind], name, 10), self._camera_image(name, kind))
            for name, kind in sorted(topics, key=lambda topic: is_color(topic[0]))
        ]
        labels, next_s = self.listen(Image, "/road_seg/label"), 0.0

        def segmented() -> bool:
            nonlocal next_s
            if time.monotonic() > next_s:
                stamp_ns, next_s = next(stamps), time.monotonic() + 0.2
                for publisher, image in cameras:
                    publisher.publish(image(stamp_ns))
            return bool(labels)

        self.until(segmented, "a label of the next good pair", START_S)
        return labels[0]

    def _camera_image(self, topic: str, kind: str) -> Callable[[int], Image | CompressedImage]:
        if IMAGE_KINDS[kind] is Image:
            return self.color_image if is_color(topic) else self.depth_image
        return self.compressed_color if is_color(topic) else self.compressed_depth

    @property
    def has_listener(self) -> bool:
        """Whether anybody subscribes to the camera."""
        return any(publisher.get_subscription_count() for publisher in self._camera.values())

    def wait_for_inputs(self) -> None:
        """Until a seg_node has subscribed to the camera."""
        self.until(lambda: all(p.get_subscription_count() for p in self._camera.values()), "the node", START_S)

    def header(self, stamp_ns: int, frame_id: str = FRAME_ID) -> Header:
        sec, nanosec = divmod(stamp_ns, 1_000_000_000)
        return Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=frame_id)

    def color_image(self, stamp_ns: int, height: int = HEIGHT, width: int = WIDTH) -> Image:
        """An rgb8 image of noise that depends on the stamp alone."""
        pixels = np.random.default_rng(stamp_ns).integers(0, 256, height * width * 3, np.uint8)
        msg = Image(header=self.header(stamp_ns), height=height, width=width, encoding="rgb8", step=width * 3)
        msg.data.frombytes(pixels.tobytes())
        return msg

    def depth_image(self, stamp_ns: int, height: int = HEIGHT, width: int = WIDTH, millimeters: int = 3000) -> Image:
        """A 16UC1 image of a wall."""
        pixels = np.full((height, width), millimeters, "<u2")
        msg = Image(header=self.header(stamp_ns), height=height, width=width, encoding="16UC1", step=width * 2)
        msg.data.frombytes(pixels.tobytes())
        return msg

    def compressed_color(self, stamp_ns: int) -> CompressedImage:
        """A JPEG of one gray."""
        jpeg = cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()
        return CompressedImage(header=self.header(stamp_ns), format="rgb8; jpeg compressed bgr8", data=jpeg)

    def compressed_depth(self, stamp_ns: int) -> CompressedImage:
        """A PNG of a wall, as compressed_depth_image_transport makes it."""
        png = cv2.imencode(".png", np.full((HEIGHT, WIDTH), 3000, np.uint16))[1].tobytes()
        return CompressedImage(header=self.header(stamp_ns), format="16UC1; compressedDepth png", data=bytes(12) + png)

    def camera_info(self, stamp_ns: int, height: int = HEIGHT, width: int = WIDTH) -> CameraInfo:
        k = np.array([60.0, 0, width / 2, 0, 60.0, height / 2, 0, 0, 1])
        return CameraInfo(header=self.header(stamp_ns), height=height, width=width, k=k)

    def publish(self, color: Image | None = None, depth: Image | None = None, info: CameraInfo | None = None) -> None:
        for name, msg in zip(INPUTS, (color, depth, info), strict=True):
            if msg is not None:
                self._camera[name].publish(msg)

    def publish_pair(self, stamp_ns: int) -> Image:
        """Send color and depth; returns the color image."""
        color = self.color_image(stamp_ns)
        self.publish(color, self.depth_image(stamp_ns))
        return color

    def status(self) -> dict[str, str]:
        """What the node says about itself from now on: its values, its level and its message."""
        seen = self._reports
        self.until(lambda: self._reports >= seen + 2, "diagnostics", START_S)
        return self.latest_status

    def counts(self) -> dict[str, int]:
        """The node's counts from now on."""
        self.status()
        return self.latest_counts

    @property
    def latest_counts(self) -> dict[str, int]:
        """The node's counts as it last told them."""
        names = ("received", "published", "in_flight")
        status = self.latest_status
        return {key: int(value) for key, value in status.items() if key in names or key.startswith("dropped.")}

    def change_state(self, transition: str) -> bool:
        """Ask the node for a lifecycle transition, e.g. "configure"."""
        request = ChangeState.Request()
        request.transition.id = getattr(Transition, f"TRANSITION_{transition.upper()}")
        return self.call(ChangeState, "/road_seg/change_state", request).success

    def lifecycle_state(self) -> str:
        """unconfigured, inactive, active or finalized."""
        return self.call(GetState, "/road_seg/get_state", GetState.Request()).current_state.label

    def set_parameters(self, **values: object):
        """Set parameters as one; the result says whether they were taken, and why not."""
        request = SetParametersAtomically.Request()
        request.parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        return self.call(SetParametersAtomically, "/road_seg/set_parameters_atomically", request).result

    def call(self, kind: type, name: str, request: object):
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready, f"service {name}", START_S)
        future = client.call_async(request)
        self.until(future.done, f"a response from {name}")
        self.node.destroy_client(client)
        return future.result()

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if status.name == "/road_seg: segmentation":
                self._reports += 1
                values = {item.key: item.value for item in status.values}
                self.latest_status = {**values, "level": status.level, "message": status.message}


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    """An empty ROS graph."""
    graph = Graph(tmp_path)
    yield graph
    graph.close()


@pytest.fixture(scope="module")
def empty_graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """An empty ROS graph, shared by the tests of a module."""
    graph = Graph(tmp_path_factory.mktemp("graph"))
    yield graph
    graph.close()


@pytest.fixture
def stamps() -> Iterator[int]:
    """Rising stamps in nanoseconds, later than those of every earlier test."""
    return itertools.count(next(_epochs) * 1_000_000_000_000, 100_000_000)


_epochs = itertools.count(1)
