# SPDX-License-Identifier: Apache-2.0
"""Pages of pictures for a person to check labels that a network made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from road_kd_seg.postprocess import overlay
from road_kd_seg.taxonomy import Taxonomy

CELL_WIDTH, MARGIN, GAP = 480, 16, 8
CAPTION_HEIGHT, HEADER_HEIGHT = 24, 84
ROWS = 5
"""Frames per page: as many 16:9 rows as a screen shows without scrolling far."""
OVERLAY_ALPHA = 0.5
PAPER, INK, FAINT = (22, 24, 29), (232, 234, 238), (150, 156, 166)

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""


@dataclass(frozen=True)
class Entry:
    """One frame on a sheet."""

    caption: str
    rgb: Picture
    label: NDArray[np.uint8]
    """(H, W) class ids, 255 where ignored."""
    confidence: NDArray[np.uint8]
    """(H, W), probability x 255."""


def draw_pages(entries: Iterator[Entry], count: int, taxonomy: Taxonomy, title: str) -> Iterator[Picture]:
    """Lay out frames in rows of image, overlay and confidence; one page is in memory at a time.

    Args:
        entries: the frames, in the order in which they are to be seen.
        count: how many there are.
        taxonomy: names and colors for the legend.
        title: heads every page.
    """
    pages = -(-count // ROWS)
    for page in range(pages):
        shown = [next(entries) for _ in range(min(ROWS, count - page * ROWS))]
        yield _page(shown, taxonomy, f"{title}   page {page + 1} of {pages}")


def _page(entries: Sequence[Entry], taxonomy: Taxonomy, title: str) -> Picture:
    rows = [np.hstack([_cell(picture) for picture in _pictures(entry, taxonomy)]) for entry in entries]
    height = HEADER_HEIGHT + sum(CAPTION_HEIGHT + row.shape[0] + GAP for row in rows) + MARGIN
    width = 3 * CELL_WIDTH + 2 * GAP + 2 * MARGIN
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, 12), title, INK, _font(20))
    _draw_legend(page, draw, taxonomy)
    y = HEADER_HEIGHT
    for entry, row in zip(entries, rows, strict=True):
        draw.text((MARGIN, y + 3), entry.caption, INK, _font(15))
        page.paste(Image.fromarray(row), (MARGIN, y + CAPTION_HEIGHT))
        y += CAPTION_HEIGHT + row.shape[0] + GAP
    return np.asarray(page)


def _pictures(entry: Entry, taxonomy: Taxonomy) -> tuple[Picture, Picture, Picture]:
    return entry.rgb, overlay(entry.rgb, entry.label, taxonomy, OVERLAY_ALPHA), paint_confidence(entry.confidence)


def paint_confidence(confidence: NDArray[np.uint8]) -> Picture:
    """Black where the network is sure, bright where it is not; (H, W, 3) RGB."""
    painted: Picture = cv2.applyColorMap(255 - confidence, cv2.COLORMAP_INFERNO)[..., ::-1].astype(np.uint8)
    return painted


def _cell(picture: Picture) -> Picture:
    """The picture at the sheet's width, with a gap to its right."""
    height = max(1, round(picture.shape[0] * CELL_WIDTH / picture.shape[1]))
    shrinks = picture.shape[1] >= CELL_WIDTH
    size, interpolation = (CELL_WIDTH, height), cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    resized = cv2.resize(np.ascontiguousarray(picture), size, interpolation=interpolation)
    return cv2.copyMakeBorder(resized, 0, 0, 0, GAP, cv2.BORDER_CONSTANT, value=PAPER).astype(np.uint8, copy=False)


def _draw_legend(page: Image.Image, draw: ImageDraw.ImageDraw, taxonomy: Taxonomy) -> None:
    """Heads of the columns: the classes over the overlay, a scale over the confidence."""
    y, font = 50, _font(15)
    draw.text((MARGIN, y), "image", FAINT, font)
    x = MARGIN + CELL_WIDTH + GAP
    for name, color in [*((c.name, c.color) for c in taxonomy.classes), ("ignored", (0, 0, 0))]:
        draw.rectangle((x, y + 2, x + 13, y + 15), fill=color, outline=FAINT)
        draw.text((x + 18, y), name, FAINT, font)
        x += 30 + round(draw.textlength(name, font))
    x = max(x, MARGIN + 2 * (CELL_WIDTH + GAP))
    draw.text((x, y), "confidence 0", FAINT, font)
    x += round(draw.textlength("confidence 0", font)) + 6
    scale = paint_confidence(np.tile(np.linspace(0, 255, 120).astype(np.uint8), (14, 1)))
    page.paste(Image.fromarray(scale), (x, y + 2))
    draw.text((x + 126, y), "1", FAINT, font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
