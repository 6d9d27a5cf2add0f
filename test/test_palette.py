# SPDX-License-Identifier: Apache-2.0
"""The classes' colors, seen by people without red or green receptors (Machado et al., IEEE TVCG 2009)."""

import numpy as np
import pytest

from road_kd_seg.bundle import load_bundle
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

VISION = {
    "usual": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
"""From linear RGB to the linear RGB that looks the same to them."""
APART = 40
"""CIELAB distance: 2.3 is just noticeable, and half of it is lost when a color is laid over an image."""
ASPHALT = (110, 110, 110)


def cielab(rgb, vision):
    """CIELAB (D65) of (N, 3) sRGB colors under a kind of color vision."""
    value = np.array(rgb) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4) @ np.array(vision).T
    to_xyz = np.array([[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07217], [0.01933, 0.11919, 0.95030]])
    xyz = np.clip(linear, 0, 1) @ to_xyz.T / [0.95047, 1, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


def distances(colors, vision):
    lab = cielab(colors, vision)
    return np.linalg.norm(lab[:, None] - lab[None], axis=-1)


def test_white_and_black_are_a_hundred_apart():
    assert distances([(0, 0, 0), (255, 255, 255)], np.eye(3))[0, 1] == pytest.approx(100, abs=0.01)


SHIPPED = load_bundle("road_student").taxonomy


@pytest.mark.parametrize("taxonomy", [DEFAULT_TAXONOMY, SHIPPED], ids=["default", "shipped"])
@pytest.mark.parametrize("vision", VISION.values(), ids=VISION.keys())
class TestPalette:
    def test_every_two_classes_are_far_apart(self, taxonomy, vision):
        between = distances([c.color for c in taxonomy.classes], vision)
        assert between[np.triu_indices(len(taxonomy), 1)].min() >= APART

    def test_obstacles_are_far_from_asphalt(self, taxonomy, vision):
        colors = [c.color for c in taxonomy.classes if c.role.value == "obstacle"]
        assert distances([ASPHALT, *colors], vision)[0, 1:].min() >= APART
