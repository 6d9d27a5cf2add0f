"""A node that runs is given bundles, parameters and messages that were made to hurt, and works on."""

import os
import shutil
from pathlib import Path

import pytest
import yaml
from sensor_msgs.msg import Image

from road_kd_seg.bundle import MANIFEST, WEIGHTS

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


def test_hostile_bundles_are_refused_at_once_and_the_node_works_on(graph, stamps, tiny_bundle, tmp_path):
    process = graph.start_node(model=tiny_bundle)
    graph.outputs(stamps, label=Image)
    for number, attack in enumerate(
        [alias_bomb, deep_manifest, pipe_for_weights, endless_weights, another_network, escape_sequences]
    ):
        bundle = shutil.copytree(tiny_bundle, tmp_path / f"hostile{number}")
        attack(bundle)
        before_s = processor_s(process.pid)
        result = graph.set_parameters(model=str(bundle))
        assert not result.successful, attack.__name__
        assert result.reason.isprintable()
        assert graph.lifecycle_state() == "active"
        assert processor_s(process.pid) - before_s < SECONDS, attack.__name__
    graph.outputs(stamps, label=Image)
    assert process.stop() == 0
    assert "Traceback" not in process.log
    assert "\x1b]0" not in process.log
    assert "\n[ERROR] forged" not in process.log


def test_an_untrusted_bundle_is_not_loaded_where_a_key_is_required(graph, tiny_bundle, tmp_path):
    (tmp_path / "key.pub.pem").write_text("no key is needed: the bundle is not even signed")
    process = graph.start_node(model=tiny_bundle, trusted_key=tmp_path / "key.pub.pem")
    assert graph.status()["state"] == "unconfigured"
    assert "it is not signed" in process.log
    assert process.stop() == 0
