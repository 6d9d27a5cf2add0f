# SPDX-License-Identifier: Apache-2.0
"""A node that runs is given bundles, parameters and messages that were made to hurt, and works on."""

import hashlib
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import yaml
from builtin_interfaces.msg import Time
from lifecycle_msgs.srv import ChangeState
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from road_kd_seg.bundle import MANIFEST, WEIGHTS, add_attachment

pytestmark = pytest.mark.ros

SECONDS = 1.0
"""Of the node's processor time within which it refuses a bundle, and so can respond again."""


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def alias_bomb(bundle):
    lines = ["b0: &b0 [x, x]"] + [f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 10)}]" for i in range(1, 9)]
    (bundle / MANIFEST).write_text("\n".join(lines) + "\nformat_version: 1\nname: *b8\n")


def deep_manifest(bundle):
    (bundle / MANIFEST).write_text("[" * 200_000)


def pipe_for_weights(bundle):
    (bundle / WEIGHTS).unlink()
    os.mkfifo(bundle / WEIGHTS)


def endless_weights(bundle):
    (bundle / WEIGHTS).unlink()
    (bundle / WEIGHTS).symlink_to("/dev/zero")


def another_network(bundle):
    manifest = yaml.safe_load((bundle / MANIFEST).read_text())
    manifest["network"] = {"name": "segnet_vgg16", "kwargs": {}}
    manifest["input"]["depth"] = None
    (bundle / MANIFEST).write_text(yaml.safe_dump(manifest))


def escape_sequences(bundle):
    manifest = yaml.safe_load((bundle / MANIFEST).read_text())
    manifest["classes"][1]["name"] = "road\x1b]0;title\x07\x1b[31m\n[ERROR] forged"
    (bundle / MANIFEST).write_text(yaml.safe_dump(manifest))


def a_hundred_thousand_golden_frames(bundle):
    pixels = {"rgb": np.zeros((100_000, 1, 1, 3), np.uint8), "label": np.zeros((100_000, 1, 1), np.uint8)}
    add_attachment(bundle, "golden", safetensors.numpy.save(pixels))


def weights_of_a_gigabyte(bundle):
    with (bundle / WEIGHTS).open("r+b") as stream:
        stream.truncate(1_000_000_000)


def weights_that_are_not_finite(bundle):
    content = bytearray((bundle / WEIGHTS).read_bytes())
    content[-4:] = struct.pack("<f", float("nan"))
    (bundle / WEIGHTS).write_bytes(content)
    manifest = yaml.safe_load((bundle / MANIFEST).read_text())
    manifest["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    (bundle / MANIFEST).write_text(yaml.safe_dump(manifest))


ATTACKS = [
    alias_bomb,
    deep_manifest,
    pipe_for_weights,
    endless_weights,
    another_network,
    escape_sequences,
    a_hundred_thousand_golden_frames,
    weights_of_a_gigabyte,
    weights_that_are_not_finite,
]


def test_hostile_bundles_are_refused_at_once_and_the_node_works_on(graph, stamps, tiny_bundle, tmp_path):
    process = graph.start_node(model=tiny_bundle)
    graph.outputs(stamps, label=Image)
    for number, attack in enumerate(ATTACKS):
        bundle = shutil.copytree(tiny_bundle, tmp_path / f"hostile{number}")
        attack(bundle)
        before_s = processor_s(process.pid)
        result = graph.set_parameters(model=str(bundle))
        assert not result.successful, attack.__name__
        assert result.reason.isprintable()
        assert graph.lifecycle_state() == "active"
        assert processor_s(process.pid) - before_s < SECONDS, attack.__name__
    request = ChangeState.Request()
    request.transition.label = "\x1b]0;title\x07\n[ERROR] forged"
    assert not graph.call(ChangeState, "/road_seg/change_state", request).success
    graph.outputs(stamps, label=Image)
    assert process.stop() == 0
    assert "Traceback" not in process.log
    assert "\x1b]0" not in process.log
    assert "\n[ERROR] forged" not in process.log


@pytest.mark.parametrize("sec", [-1, -(2**31)])
def test_a_clock_before_the_beginning_of_time_does_not_end_it(graph, stamps, tiny_bundle, sec):
    process = graph.start_node(model=tiny_bundle, use_sim_time=True)
    graph.wait_for_inputs()
    clock = graph.node.create_publisher(Clock, "/clock", 10)
    graph.until(clock.get_subscription_count, "the node's clock")

    def said():
        clock.publish(Clock(clock=Time(sec=sec, nanosec=2**32 - 1)))
        return "dropped: ValueError" in process.log

    graph.until(said, "the refusal")
    clock.publish(Clock(clock=Time(sec=5)))
    graph.outputs(stamps, label=Image)
    assert process.stop() == 0
    assert "Traceback" not in process.log


def test_an_untrusted_bundle_is_not_loaded_where_a_key_is_required(graph, tiny_bundle, tmp_path):
    (tmp_path / "key.pub.pem").write_text("no key is needed: the bundle is not even signed")
    process = graph.start_node(model=tiny_bundle, trusted_key=tmp_path / "key.pub.pem")
    assert graph.status()["state"] == "unconfigured"
    assert "it is not signed" in process.log
    assert process.stop() == 0
