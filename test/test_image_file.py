# SPDX-License-Identifier: Apache-2.0
import io
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from road_kd_seg.errors import FrameError
from road_kd_seg.image_file import decode_image, decode_label_image, decode_rgb

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
DEPTH = np.random.default_rng(0).integers(0, 9000, (6, 8), np.uint16)


def encode(suffix, pixels):
    return cv2.imencode(suffix, pixels)[1].tobytes()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height, bits=8, color=0):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))


def jpeg_header(width, height):
    return b"\xff\xd8\xff\xc0\x00\x0b\x08" + struct.pack(">HH", height, width) + b"\x01\x01\x11\x00\xff\xd9"


class TestDecode:
    def test_a_png_comes_back_exactly(self):
        np.testing.assert_array_equal(decode_rgb(encode(".png", RGB[..., ::-1]), "image"), RGB)
        np.testing.assert_array_equal(decode_image(encode(".png", DEPTH), "depth"), DEPTH)

    def test_a_jpeg_is_what_opencv_makes_of_it(self):
        encoded = encode(".jpg", RGB)
        np.testing.assert_array_equal(
            decode_rgb(encoded, "image"), cv2.imdecode(np.frombuffer(encoded, np.uint8), 1)[..., ::-1]
        )

    def test_exif_orientation_is_ignored(self):
        exif = Image.Exif()
        exif[0x112] = 6  # turn by 90 degrees
        for suffix in ("jpeg", "png"):
            stream = io.BytesIO()
            Image.fromarray(RGB).save(stream, suffix, exif=exif)
            assert decode_rgb(stream.getvalue(), "image").shape == RGB.shape
            assert decode_image(stream.getvalue(), "image").shape == RGB.shape

    @pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".webp", ".ppm", ".hdr", ".sr"])
    def test_codecs_that_nobody_documented_are_refused(self, suffix):
        encoded = encode(suffix, RGB.astype(np.float32) if suffix == ".hdr" else RGB)
        with pytest.raises(FrameError, match="no JPEG or PNG"):
            decode_rgb(encoded, "image")

    @pytest.mark.parametrize(
        "bomb",
        [
            png_header(20_000, 20_000) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""),
            png_header(2**31 - 1, 2**31 - 1) + chunk(b"IEND", b""),
            png_header(0, 5) + chunk(b"IEND", b""),
            jpeg_header(65_535, 65_535),
        ],
    )
    def test_pixels_are_counted_before_they_are_decoded(self, bomb):
        begun = time.process_time()
        with pytest.raises(FrameError, match=r"pixels, expected 1 to 50000000"):
            decode_rgb(bomb, "image")
        assert time.process_time() - begun < 0.1

    @pytest.mark.parametrize("marker", [0x00, 0x01, *range(0xD0, 0xDA)])
    def test_a_marker_without_a_length_hides_no_larger_image_from_the_count(self, marker):
        """libjpeg reads on behind it, at a header of 16000x16000; who takes a length there, at a small one."""
        sound = encode(".jpg", RGB)
        large = bytearray(sound)
        at = sound.index(b"\xff\xc0")
        large[at + 5 : at + 9] = struct.pack(">HH", 16_000, 16_000)
        hidden = b"\xff\xd8\xff" + bytes([marker]) + large[2:-2]
        begun = time.process_time()
        with pytest.raises(FrameError, match="damaged JPEG"):
            decode_rgb(hidden.ljust(4 + int.from_bytes(large[2:4], "big"), b"\0") + sound[2:], "image")
        assert time.process_time() - begun < 0.1

    def test_a_size_other_than_the_expected_one_is_refused_before_it_is_decoded(self):
        with pytest.raises(FrameError, match="5000x4000 pixels, expected 8x6"):
            decode_image(png_header(5000, 4000) + chunk(b"IEND", b""), "depth", (6, 8))

    def test_compressed_text_and_profiles_never_reach_the_decoder(self):
        plain = encode(".png", DEPTH)
        bomb = zlib.compress(bytes(100_000_000), 9)
        extra = chunk(b"zTXt", b"k\0\0" + bomb) + chunk(b"iCCP", b"p\0\0" + bomb)
        begun = time.process_time()
        np.testing.assert_array_equal(decode_image(plain[:33] + extra + plain[33:], "depth"), DEPTH)
        assert time.process_time() - begun < 0.1

    def test_a_jpeg_of_thousands_of_scans_is_refused(self):
        encoded = encode(".jpg", RGB)
        with pytest.raises(FrameError, match="damaged JPEG"):
            decode_rgb(encoded[:-2] + b"\xff\xda" * 5000 + encoded[-2:], "image")

    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    def test_every_way_of_cutting_it_short_is_noticed(self, suffix):
        encoded = encode(suffix, RGB)
        for length in range(len(encoded)):
            with pytest.raises(FrameError, match="image: its"):
                decode_rgb(encoded[:length], "image")

    def test_one_flipped_bit_in_a_png_is_noticed(self):
        encoded = encode(".png", DEPTH)
        for at in range(8, len(encoded)):
            with pytest.raises(FrameError):
                decode_image(encoded[:at] + bytes([encoded[at] ^ 1]) + encoded[at + 1 :], "depth", DEPTH.shape)

    def test_a_flood_of_damaged_ones_does_not_flood_the_terminal(self):
        script = (
            "import cv2, numpy, sys, zlib\n"
            "from road_kd_seg.image_file import decode_image\n"
            "from test_image_file import DEPTH, chunk, encode\n"
            "sound = encode('.png', DEPTH)\n"
            "at, end = sound.index(b'IDAT'), sound.index(b'IEND') - 4\n"
            "stream = bytearray(zlib.decompress(sound[at + 4 : end - 4]))\n"
            "for number in range(50):\n"
            "    pixels = zlib.compress(bytes(stream))[: 20 + number % 30]\n"
            "    try: decode_image(sound[: at - 4] + chunk(b'IDAT', pixels) + sound[end:], 'depth')\n"
            "    except Exception as error: assert 'damaged' in str(error)\n"
            "    assert (decode_image(sound, 'depth') == DEPTH).all()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
        )
        assert len(done.stderr.splitlines()) <= 1

    @pytest.mark.parametrize(("bits", "color", "interlace"), [(3, 0, 0), (4, 2, 0), (16, 3, 0), (8, 5, 0), (8, 0, 2)])
    def test_a_header_that_png_does_not_know_never_reaches_the_decoder(self, bits, color, interlace, capfd):
        header = struct.pack(">IIBBBBB", 8, 6, bits, color, 0, 0, interlace)
        png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(900)))
        with pytest.raises(FrameError, match="damaged PNG"):
            decode_image(png + chunk(b"IEND", b""), "depth")
        assert capfd.readouterr().err == ""

    @given(st.binary(max_size=60), st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", encode(".jpg", RGB)[:200]]))
    def test_noise_is_refused_in_words(self, noise, start):
        with pytest.raises(FrameError, match="image: its"):
            decode_label_image(start + noise, "image")


class TestDecodeLabelImage:
    @pytest.mark.parametrize("bits", [1, 2, 4, 8])
    def test_of_a_palette_the_indices_count(self, bits):
        indices = np.random.default_rng(bits).integers(0, 2**bits, (7, 13)).astype(np.uint8)
        image = Image.fromarray(indices)
        image.putpalette(bytes(value * 7 % 256 for i in range(2**bits) for value in (i, 3 * i, 5 * i)))
        stream = io.BytesIO()
        image.save(stream, "png", bits=bits)
        assert image.mode == "P"
        np.testing.assert_array_equal(decode_label_image(stream.getvalue(), "label"), indices)

    def test_one_gray_bit_is_0_and_255(self):
        stream = io.BytesIO()
        Image.fromarray(RGB[..., 0] > 99).save(stream, "png")
        np.testing.assert_array_equal(
            decode_label_image(stream.getvalue(), "label"), np.where(RGB[..., 0] > 99, 255, 0)
        )

    def test_gray_and_colors_stay(self):
        np.testing.assert_array_equal(decode_label_image(encode(".png", RGB[..., 0]), "label"), RGB[..., 0])
        np.testing.assert_array_equal(decode_label_image(encode(".png", RGB[..., ::-1]), "label"), RGB)
