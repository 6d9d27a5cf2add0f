# SPDX-License-Identifier: Apache-2.0
"""Damaged input by the thousand: each is refused by a RoadKdError of one printable line, or its result is sane.

500 cases run with the other tests; `make fuzz` runs 10,000, and `FUZZ_SEED=N` draws others. A case is fixed by its
kind, the seed and its number, which a failure prints.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from pathlib import Path
from random import Random
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml

from hostile import LENGTHS, NUMBERS, damaged_bytes, damaged_data
from recordings import make_frame
from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.bundle import MANIFEST, WEIGHTS
from road_kd_seg.camera_info import fit_camera_info
from road_kd_seg.errors import RoadKdError
from road_kd_seg.frame import Intrinsics, RgbdFrame, Segmentation
from road_kd_seg.image_codec import (
    COLOR_ENCODINGS,
    DEPTH_ENCODINGS,
    decode_color,
    decode_depth,
    decode_label,
    depth_from_message,
    label_from_message,
    rgb_from_message,
)
from road_kd_seg.postprocess import obstacle_points
from road_kd_seg.replay.labels import read_label_folder
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

CASES = int(os.environ.get("FUZZ_CASES", "500"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
SIZE = (48, 64)


def check_depth(depth_m):
    assert np.isfinite(depth_m).all()
    assert (depth_m >= 0).all()


def check_segmenter(segmenter):
    """Warm it up, segment one frame and look at what is published of it."""
    segmenter.warm_up(*segmenter.bundle.input.size)
    rgb, depth_m = np.full((*SIZE, 3), 90, np.uint8), np.full(SIZE, 3, np.float32)
    frame = RgbdFrame(rgb, depth_m, Intrinsics(60, 60, 32, 24, SIZE[1], SIZE[0]))
    segmentation = segmenter(frame)
    assert segmentation.label.max() < len(segmenter.taxonomy)
    assert np.isfinite(segmentation.confidence).all()
    json.loads(segmenter.taxonomy.to_json())


def fuzz_image(random, world):
    decode, encodings = random.choice(
        [(decode_color, [*COLOR_ENCODINGS]), (decode_depth, [*DEPTH_ENCODINGS]), (decode_label, ["mono8", "8UC1"])]
    )
    fields = dict.fromkeys(("height", "width", "step"))
    for key in fields:
        fields[key] = random.choice([1, 2, 6, 8, 16, 24, 64, *LENGTHS])
    encoding = random.choice([*encodings, "", "\x1b[31m", "x" * 10_000])
    image = decode(
        encoding=encoding,
        **fields,
        is_bigendian=random.choice([0, 1, 255]),
        data=random.randbytes(random.choice([0, 1, 48, 144, 1000])),
    )
    if decode is decode_depth:
        check_depth(image)


def encoded_image(random):
    random_array = np.random.default_rng(random.randrange(50))
    pixels = random.choice([
        random_array.integers(0, 5, (6, 8), np.uint8),
        random_array.integers(0, 256, (6, 8, 3), np.uint8),
        random_array.integers(0, 9000, (6, 8), np.uint16),
        random_array.integers(0, 256, (6, 8, 4), np.uint8),
    ])  # fmt: skip
    suffix = random.choice([".png", ".png", ".jpg", ".bmp", ".tiff", ".webp"])
    data = cv2.imencode(suffix, pixels if suffix in (".png", ".tiff") else pixels.astype(np.uint8))[1].tobytes()
    return damaged_bytes(random, data) if random.random() < 0.7 else data


def fuzz_compressed_image(random, world):
    decode = random.choice([rgb_from_message, depth_from_message, label_from_message])
    header = struct.pack("<iff", 0, *(random.choice([*NUMBERS[:6], 0.5, 1e30, float("nan")]) for _ in range(2)))
    body = encoded_image(random)
    formats = [
        "jpeg",
        "16UC1; compressedDepth png",
        "32FC1; compressedDepth png",
        "16UC1; compressedDepth rvl",
        "\x1b\n",
    ]
    if random.random() < 0.2:
        body = struct.pack("<ii", random.choice([8, *LENGTHS[:5]]), 6) + random.randbytes(40)
    data = header + body if decode is depth_from_message else body
    image = decode(SimpleNamespace(format=random.choice(formats), data=data))
    if decode is depth_from_message:
        check_depth(image)


def fuzz_camera_info(random, world):
    k = [60.0, 0, 32, 0, 60, 24, 0, 0, 1]
    for _ in range(random.randint(0, 3)):
        k[random.randrange(9)] = float(random.choice(NUMBERS))
    choices = [0, 0, 1, SIZE[1], SIZE[0], *LENGTHS]
    roi = SimpleNamespace(**{key: random.choice(choices) for key in ("x_offset", "y_offset", "width", "height")})
    info = SimpleNamespace(
        header=SimpleNamespace(frame_id=random.choice(["camera", "", "\x1b[31m" * 9])),
        k=k,
        width=random.choice([SIZE[1], *choices]),
        height=random.choice([SIZE[0], *choices]),
        binning_x=random.choice(choices),
        binning_y=random.choice(choices),
        roi=roi,
    )
    if random.random() < 0.6:
        info.width, info.height, info.binning_x, info.binning_y, roi.width, roi.height = SIZE[1], SIZE[0], 0, 0, 0, 0
    camera = fit_camera_info(info, "camera", SIZE).intrinsics
    if camera is not None:
        frame = RgbdFrame(np.zeros((*SIZE, 3), np.uint8), np.full(SIZE, 3, np.float32), camera)
        everywhere = Segmentation(np.full(SIZE, 3, np.uint8), np.ones(SIZE, np.float32))
        points = obstacle_points(frame, everywhere, DEFAULT_TAXONOMY, max_range_m=10.0, min_confidence=0.0)
        assert all(np.isfinite(points[axis]).all() for axis in "xyz")


def fuzz_manifest(random, world):
    manifest = damaged_data(random, world.manifest)
    check_segmenter(world.load(yaml.safe_dump(manifest, sort_keys=False).encode(), world.weights))


def fuzz_manifest_text(random, world):
    check_segmenter(world.load(damaged_bytes(random, yaml.safe_dump(world.manifest).encode()), world.weights))


def fuzz_weights(random, world):
    size = struct.unpack("<Q", world.weights[:8])[0]
    header, body = world.weights[8 : 8 + size], world.weights[8 + size :]
    if random.random() < 0.6:
        header = json.dumps(damaged_data(random, json.loads(header))).encode("utf-8", "backslashreplace")
    else:
        header = damaged_bytes(random, header)
    weights = struct.pack("<Q", len(header)) + header + body
    manifest = world.manifest | {"weights": {"sha256": hashlib.sha256(weights).hexdigest()}}
    check_segmenter(world.load(yaml.safe_dump(manifest).encode(), weights))


def fuzz_label_folder(random, world):
    folder = world.folder("labels")
    names = ["5", "007", "\u0663", "9" * 200, "1e5", " 5", "-5", "12000000005"]
    for name in random.sample(names, 3):
        (folder / f"{name}.png").write_bytes(encoded_image(random))
    for _, label in read_label_folder(folder):
        assert label.dtype == np.uint8


def fuzz_bag(random, world):
    folder = world.folder("bag") / "bag"
    shutil.copytree(world.bag, folder)
    path = random.choice(sorted(folder.iterdir()))
    path.write_bytes(damaged_bytes(random, path.read_bytes()))
    with BagReader(random.choice([folder, path])) as reader:
        for frame, _ in reader.frames(on_invalid=lambda error: check_message(error)):
            if frame.depth_m is not None:
                check_depth(frame.depth_m)


KINDS = {
    fuzz_image: 24,
    fuzz_compressed_image: 24,
    fuzz_camera_info: 10,
    fuzz_manifest: 12,
    fuzz_manifest_text: 8,
    fuzz_weights: 4,
    fuzz_label_folder: 8,
    fuzz_bag: 10,
}
"""Share of the cases in percent."""


class World:
    """What the cases damage, and a folder for them."""

    def __init__(self, root: Path, bundle: Path) -> None:
        self.root = root
        self.manifest = yaml.safe_load((bundle / MANIFEST).read_text())
        self.weights = (bundle / WEIGHTS).read_bytes()
        self.bag = root / "sound"
        write_bag(self.bag, [make_frame(number) for number in range(2)])

    def folder(self, name: str) -> Path:
        shutil.rmtree(self.root / name, ignore_errors=True)
        (self.root / name).mkdir()
        return self.root / name

    def load(self, manifest: bytes, weights: bytes) -> Segmenter:
        folder = self.folder("bundle")
        (folder / MANIFEST).write_bytes(manifest)
        (folder / WEIGHTS).write_bytes(weights)
        return Segmenter.from_bundle(folder, device="cpu")


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_bundle):
    return World(tmp_path_factory.mktemp("fuzz"), tiny_bundle)


def check_message(error: RoadKdError) -> None:
    message = str(error)
    assert message.isprintable(), message
    assert 0 < len(message) <= 1200
    assert "<class '" not in message


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.removeprefix("fuzz_"))
def test_damaged_input_is_refused_in_words_or_harmless(kind, world):
    for number in range(max(1, CASES * KINDS[kind] // 100)):
        try:
            kind(Random(f"{SEED}/{kind.__name__}/{number}"), world)
        except RoadKdError as error:
            check_message(error)
        except Exception as error:
            raise AssertionError(f"{kind.__name__}, seed {SEED}, case {number}: {error!r}") from error
