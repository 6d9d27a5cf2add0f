# SPDX-License-Identifier: Apache-2.0
"""Bundles that were made to hurt: each is refused in one line, at once, before anything is built."""

import hashlib
import json
import os
import shutil
import struct
import time

import numpy as np
import pytest
import safetensors.numpy
import torch
import yaml

from road_kd_seg.bundle import MANIFEST, WEIGHTS, add_attachment, load_bundle
from road_kd_seg.errors import BundleError
from road_kd_seg.networks import build_network
from road_kd_seg.segmenter import Segmenter

SECONDS = 1.0
"""In which a node must still be responsive while it refuses."""


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def edit(bundle, path, value):
    """Set one value of the manifest, e.g. at "input.size"."""
    manifest = yaml.safe_load((bundle / MANIFEST).read_text())
    *owners, last = path.split(".")
    owner = manifest
    for key in owners:
        owner = owner[key]
    owner[last] = value
    (bundle / MANIFEST).write_text(yaml.safe_dump(manifest, sort_keys=False))


def set_weights(bundle, content):
    (bundle / WEIGHTS).write_bytes(content)
    edit(bundle, "weights.sha256", hashlib.sha256(content).hexdigest())


def refuse(bundle, match=""):
    begun = time.process_time()
    with pytest.raises(BundleError, match=match) as caught:
        load_bundle(bundle).build_network()
    assert time.process_time() - begun < SECONDS
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 1200


def alias_bomb(depth):
    lines = ["b0: &b0 [x, x]"]
    lines += [f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 10)}]" for i in range(1, depth)]
    return "\n".join(lines) + "\n"


class TestManifest:
    @pytest.mark.parametrize(
        "key", ["name", "format_version", "network.name", "weights.sha256", "input.size", "network.kwargs"]
    )
    @pytest.mark.parametrize("depth", [4, 6, 9])
    def test_a_bomb_of_aliases_goes_off_nowhere(self, bundle, key, depth):
        edit(bundle, key, "BOMB")
        text = (bundle / MANIFEST).read_text().replace("BOMB", f"*b{depth - 1}")
        (bundle / MANIFEST).write_text(alias_bomb(depth) + text)
        refuse(bundle)

    @pytest.mark.parametrize(
        "text",
        [
            "[" * 100_000,
            "{a: " * 60_000,
            "- " * 120_000,
            "? " * 100_000,
            "a" * 255_999,
            "[" + "1," * 120_000 + "1]",
            "format_version: " + "1:" * 120_000 + "1",
            "format_version: " + "9" * 5000,
            "format_version: 0x" + "f" * 3900,
            "&a [*a]",
            "x" * 256_001,
        ],
        ids=["lists", "maps", "dashes", "keys", "text", "numbers", "base60", "digits", "hex", "itself", "size"],
    )
    def test_neither_depth_nor_size_nor_numbers_take_time(self, bundle, text):
        (bundle / MANIFEST).write_text(text)
        refuse(bundle)

    @pytest.mark.parametrize(
        "text",
        [
            "!!python/object/apply:os.system ['true']",
            "!!binary aGk=",
            "!!set {a}",
            "!!omap [a: 1]",
            "!!timestamp x",
            "? [1, 2]\n: x",
            '"\\ud800"',
            "%YAML 9.9",
            "a: 1\n...\nb: 2",
        ],
    )
    def test_only_plain_data_is_constructed(self, bundle, text):
        (bundle / MANIFEST).write_text(text)
        refuse(bundle)

    def test_a_date_stays_text(self, bundle):
        edit(bundle, "provenance", {"date": "DATE"})
        (bundle / MANIFEST).write_text((bundle / MANIFEST).read_text().replace("DATE", "2024-99-99"))
        assert load_bundle(bundle).provenance == {"date": "2024-99-99"}

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("name", "a\x1b[31m"),
            ("name", "x" * 201),
            ("name", 5),
            ("input.size", [64]),
            ("input.size", [0, 96]),
            ("input.size", [64, 10**9]),
            ("input.size", [65, 96]),
            ("input.size", [64.0, 96]),
            ("input.size", "64"),
            ("input.mean", [0, 0, float("nan")]),
            ("input.mean", [0, 0, 1e300]),
            ("input.std", [1, 1, 0]),
            ("input.std", [1, 1, 1e-45]),
            ("input.std", [1, 1, float("inf")]),
            ("input.crop", [0, 0, 1, 1e-320]),
            ("input.crop", [0.5, 0, 0.5, 1]),
            ("input.crop", [0, 0, 0.1, 1]),
            ("input.crop", [0, 0, 1, float("nan")]),
            ("input.depth", None),
            ("input.depth", {"kind": "jet", "low": 0, "high": 1}),
            ("input.depth.kind", "nope"),
            ("input.depth.high", -1.0),
            ("input.depth.high", 1e-320),
            ("input.depth.low", float("-inf")),
            ("network", []),
            ("network.kwargs", [1]),
            ("network.kwargs", {1: 2}),
            ("network.kwargs", {"depth_channels": 10**9}),
            ("network.kwargs", {"depth_channels": -1}),
            ("network.kwargs", {"depth_channels": True}),
            ("network.kwargs", {"depth_channels": "1"}),
            ("network.kwargs", {"depth_channels": 1, "num_classes": 5}),
            ("network.kwargs", {"depth_channels": 1, "self": 5}),
            ("network.kwargs", {"depth_channels": 1, "lane_existence": 10**6}),
            ("network.name", ["erfnet"]),
            ("network.name", "__class__"),
            ("classes", {"id": 0}),
            ("classes", []),
            ("weights", None),
            ("weights.sha256", None),
            ("onnx", []),
            ("onnx", {"sha256": None}),
            ("provenance", "text"),
            ("format_version", True),
            ("format_version", 1.5),
        ],
    )
    def test_every_field_has_a_type_and_a_range(self, bundle, key, value):
        edit(bundle, key, value)
        refuse(bundle)

    def test_loading_never_asks_a_hub_for_weights(self, bundle):
        for name in ("deeplabv3_r18", "unet_r34", "mafnet_r18"):
            edit(bundle, "network", {"name": name, "kwargs": {"pretrained": True}})
            refuse(bundle, "no option 'pretrained' in a bundle")


class TestWeights:
    def test_the_wrong_network_is_noticed_before_it_is_built(self, bundle):
        with torch.device("meta"):
            build_network("unet_r34", 2)  # imports timm, which takes two seconds once
        edit(bundle, "input.depth", None)
        for name in ("pspnet_r101", "segnet_vgg16", "deeplabv3plus_r101"):
            edit(bundle, "network", {"name": name, "kwargs": {}})
            refuse(bundle, f"does not fit network '{name}'")

    def test_a_pipe_does_not_hang_it(self, bundle):
        (bundle / WEIGHTS).unlink()
        os.mkfifo(bundle / WEIGHTS)
        refuse(bundle, "no regular file")

    @pytest.mark.parametrize("target", ["/dev/zero", "/proc/self/mem", "/", "weights.safetensors"])
    def test_nor_does_what_a_symlink_leads_to(self, bundle, target):
        (bundle / WEIGHTS).unlink()
        (bundle / WEIGHTS).symlink_to(target)
        refuse(bundle, r"no regular file|cannot be read|has sha256")

    def test_more_than_a_gigabyte_is_not_read(self, bundle):
        with (bundle / WEIGHTS).open("r+b") as stream:
            stream.truncate(1_000_000_001)
        refuse(bundle, "expected at most 1000000000")

    @pytest.mark.parametrize("length", [0, 2, 2**63])
    def test_what_is_just_small_enough_is_not_read_for_another_network(self, bundle, length):
        with (bundle / WEIGHTS).open("r+b") as stream:
            stream.write(struct.pack("<Q", length) + b"{}")
            stream.truncate(1_000_000_000)
        refuse(bundle, "does not fit network")

    def test_nor_is_what_follows_the_tensors(self, bundle):
        with (bundle / WEIGHTS).open("r+b") as stream:
            stream.truncate(1_000_000_000)
        refuse(bundle, "1000000000 bytes, expected")

    def test_what_was_hashed_is_what_is_loaded(self, bundle):
        loaded = load_bundle(bundle)
        (bundle / WEIGHTS).write_bytes(b"swapped")
        assert loaded.build_network().training is False

    @pytest.mark.parametrize("length", [0, 1, 2**31, 2**63 - 1, 2**64 - 1])
    def test_a_header_of_any_claimed_length(self, bundle, length):
        content = (bundle / WEIGHTS).read_bytes()
        set_weights(bundle, struct.pack("<Q", length) + content[8:])
        refuse(bundle, "does not fit network")

    @pytest.mark.parametrize(
        "change",
        [
            {"dtype": "F64"},
            {"dtype": ["F32"]},
            {"dtype": "X"},
            {"shape": [2**62, 8]},
            {"shape": [-1]},
            {"shape": None},
            {"data_offsets": [0, 2**70]},
            {"data_offsets": [-4, 4]},
            {"data_offsets": None},
            {"data_offsets": [0, 4]},
        ],
    )
    def test_a_tensor_of_another_kind(self, bundle, change):
        content = (bundle / WEIGHTS).read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + size])
        name = next(name for name in header if name.endswith("weight"))
        header[name] |= change
        text = json.dumps(header).encode()
        set_weights(bundle, struct.pack("<Q", len(text)) + text + content[8 + size :])
        refuse(bundle, "does not fit network")

    @pytest.mark.parametrize(
        "header", [b"[" * 100_000, b'{"a":' * 100_000, b"[]", b"5", b"\xff", b'{"a": 9' + b"9" * 5000 + b"}"]
    )
    def test_a_header_that_is_none(self, bundle, header):
        set_weights(bundle, struct.pack("<Q", len(header)) + header)
        refuse(bundle, "does not fit network")

    def test_escape_sequences_in_the_name_of_a_tensor(self, bundle):
        header = json.dumps({"\x1b[31m\n" * 1000: {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}).encode()
        set_weights(bundle, struct.pack("<Q", len(header)) + header + bytes(4))
        refuse(bundle, "does not fit network")

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_tensor_that_is_described_twice(self, bundle, order):
        content = (bundle / WEIGHTS).read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        name, entry = next(iter(json.loads(content[8 : 8 + size]).items()))
        other = json.dumps(entry | {"dtype": "I32"})
        text = content[8 : 8 + size].decode().rstrip()
        twice = [f'"{name}": {other}', text[1:-1]][::order]
        header = f"{{{', '.join(twice)}}}".encode()
        set_weights(bundle, struct.pack("<Q", len(header)) + header + content[8 + size :])
        if order == 1:  # the later one counts
            network = load_bundle(bundle).build_network()
            assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
        else:
            refuse(bundle, "does not fit network")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_not_finite(self, bundle, value):
        from safetensors.torch import load_file, save

        tensors = load_file(bundle / WEIGHTS)
        tensors["classifier.bias"][0] = value
        set_weights(bundle, save(tensors))
        refuse(bundle, "not finite")


class TestGoldenFrames:
    def attach(self, bundle, **arrays):
        add_attachment(bundle, "golden", safetensors.numpy.save(arrays))

    def refuse(self, bundle, match):
        begun = time.process_time()
        with pytest.raises(BundleError, match=match):
            Segmenter.from_bundle(bundle, device="cpu")
        assert time.process_time() - begun < SECONDS

    def test_a_hundred_thousand_tiny_ones_are_not_segmented_one_by_one(self, bundle):
        count = 100_000
        self.attach(bundle, rgb=np.zeros((count, 1, 1, 3), np.uint8), label=np.zeros((count, 1, 1), np.uint8))
        self.refuse(bundle, "N at most 16")

    def test_a_file_that_is_too_large_is_not_read(self, bundle):
        self.attach(bundle, rgb=np.zeros((1, 1000, 1000, 3), np.uint8))
        self.refuse(bundle, "expected at most 1000000")


def test_a_sound_bundle_loads_no_slower_than_its_network_is_built_at_random(bundle):
    def seconds(action):
        times = []
        for _ in range(5):
            begun = time.process_time()
            action()
            times.append(time.process_time() - begun)
        return min(times)

    random = seconds(lambda: build_network("erfnet", 5, depth_channels=1))
    torch.manual_seed(0)
    assert seconds(lambda: load_bundle(bundle).build_network()) < random + 0.1
