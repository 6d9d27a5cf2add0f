# SPDX-License-Identifier: Apache-2.0
"""A node that reads the obstacle mask, in plain rclpy: `ros2 run` or `python examples/subscribe_masks.py`.

It prints which share of the lower half of the image is an obstacle, which a robot would slow down for.
"""

import signal
import threading

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image


class SlowDown(Node):
    """Listens to `/road_seg/obstacle_mask`."""

    def __init__(self) -> None:
        super().__init__("slow_down")
        self.create_subscription(Image, "/road_seg/obstacle_mask", self.on_mask, qos_profile_sensor_data)

    def on_mask(self, message: Image) -> None:
        """255 is an obstacle, 0 is not; the header is the color image's."""
        mask = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, : message.width]
        print(f"obstacles: {(mask[message.height // 2 :] > 0).mean():.1%} of the lower half", flush=True)


if __name__ == "__main__":
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # rclpy's own handlers wake rclpy.spin before they end its context: on a busy machine it may sleep again, for ever.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = SlowDown()
    while not stop.is_set():
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    rclpy.shutdown()
