# SPDX-License-Identifier: Apache-2.0
import struct
import subprocess
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from road_kd_training.cli import main
from road_kd_training.datasets import build_dataset


@pytest.fixture
def dataset(tmp_path):
    """One frame of 80 x 120, the color as JPEG and as PNG; depth; and a palette label with other files beside it."""
    root = tmp_path / "frames"
    for kind in ("rgb", "depth", "label"):
        (root / kind).mkdir(parents=True)
    cv2.imwrite(str(root / "rgb" / "0.jpg"), np.full((80, 120, 3), (10, 120, 200), np.uint8))
    depth = np.repeat(np.repeat(np.arange(40 * 60).reshape(40, 60), 2, 0), 2, 1).astype(np.uint16)
    cv2.imwrite(str(root / "depth" / "0.png"), depth)
    label = Image.fromarray(np.repeat(np.arange(5, dtype=np.uint8), 24)[None].repeat(80, 0))
    label.putpalette([value for index in range(5) for value in (index, 50 * index, 255)])
    label.save(root / "label" / "0.png")
    (root / "train.txt").write_text("0\n")
    (root / ".hidden").write_text("stays behind")
    return root


def pack(*arguments):
    return main(["pack", *(str(argument) for argument in arguments)])


def test_the_smaller_copy_is_the_same_dataset(dataset, tmp_path, capsys):
    assert pack(dataset, "--out", tmp_path / "packed", "--width", "60") == 0
    sample = build_dataset("frames", root=str(tmp_path / "packed"), split="train")[0]
    assert sample.rgb.shape == (40, 60, 3)
    assert abs(sample.rgb.astype(int) - (200, 120, 10)).max() <= 3
    np.testing.assert_allclose(sample.depth_m * 1000, np.arange(40 * 60).reshape(40, 60), rtol=1e-6)
    np.testing.assert_array_equal(sample.label, np.repeat(np.arange(5), 12)[None].repeat(40, 0))
    assert not (tmp_path / "packed" / ".hidden").exists()
    assert "4 files" in capsys.readouterr().out


def test_images_that_are_small_enough_stay_as_they_are(dataset, tmp_path):
    assert pack(dataset, "--out", tmp_path / "packed", "--width", "120") == 0
    for path in (p for p in (tmp_path / "packed").rglob("*") if p.is_file()):
        assert path.read_bytes() == (dataset / path.relative_to(tmp_path / "packed")).read_bytes()


def test_what_cannot_be_packed_is_named(dataset, tmp_path, capsys):
    (dataset / "rgb" / "1.png").write_bytes(b"no image")
    for arguments, message in (
        ([tmp_path / "none", "--out", tmp_path / "p"], "none is no folder"),
        ([dataset, "--out", dataset], "holds files already"),
        ([dataset, "--out", tmp_path / "p", "--width", "0"], "width is 0"),
        ([dataset, "--out", tmp_path / "p", "--width", "60"], "1.png cannot be copied"),
    ):
        assert pack(*arguments) == 1
        assert message in capsys.readouterr().err


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 900 900\n%%EndComments\n(x) print\n%%EOF\n"
HUGE = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 13_000, 13_000, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(100))),
        (b"IEND", b""),
    )
)


@pytest.mark.parametrize("content", [POSTSCRIPT, HUGE, HUGE.replace(b"IDAT", b"IDAX")], ids=["EPS", "huge", "chunk"])
def test_what_other_people_call_an_image_is_refused_and_leaves_nothing(dataset, tmp_path, capsys, monkeypatch, content):
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **_: started.append(words))
    (dataset / "rgb" / "1.png").write_bytes(content)
    assert pack(dataset, "--out", tmp_path / "p", "--width", "60") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "1.png cannot be copied" in line
    assert not (tmp_path / "p" / "rgb" / "1.png").exists()
    assert not started


def test_a_link_does_not_put_a_file_of_this_machine_into_the_copy(dataset, tmp_path, capsys):
    (tmp_path / "secret").write_text("key")
    (dataset / "notes.txt").symlink_to(tmp_path / "secret")
    assert pack(dataset, "--out", tmp_path / "p") == 1
    assert "notes.txt is a link that leads out of" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()
    (dataset / "notes.txt").unlink()
    (dataset / "again.txt").symlink_to("train.txt")
    assert pack(dataset, "--out", tmp_path / "p") == 0
    assert (tmp_path / "p" / "again.txt").read_text() == "0\n"
