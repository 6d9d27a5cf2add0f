# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from road_kd_seg.errors import FrameError, RoadKdError
from road_kd_seg.frame import Intrinsics, RgbdFrame, Segmentation
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, Role, SemanticClass, Taxonomy

RGB = np.zeros((4, 6, 3), np.uint8)


class TestRgbdFrame:
    def test_size_is_height_and_width(self):
        assert RgbdFrame(RGB, None).size == (4, 6)

    @pytest.mark.parametrize("rgb", [RGB[..., 0], RGB.astype(np.float32), RGB[..., :2]])
    def test_what_is_no_color_image_is_refused(self, rgb):
        with pytest.raises(FrameError, match=r"expected uint8 \(H, W, 3\)"):
            RgbdFrame(rgb, None)

    def test_millimeters_are_refused(self):
        with pytest.raises(FrameError, match="expected float32"):
            RgbdFrame(RGB, np.zeros((4, 6), np.uint16))

    def test_unaligned_depth_says_how_to_align_it(self):
        with pytest.raises(FrameError, match=r"depth is 3x2, color is 6x4: .*align_depth.enable:=true"):
            RgbdFrame(RGB, np.zeros((2, 3), np.float32))

    def test_intrinsics_scale_with_the_image(self):
        assert Intrinsics(100, 110, 50, 40, 100, 80).scaled(50, 40) == Intrinsics(50, 55, 25, 20, 50, 40)

    @pytest.mark.parametrize("depth_mm", [np.zeros((2, 4), np.uint16), np.zeros((2, 3), np.int32)])
    def test_millimeters_of_another_size_or_type_are_refused(self, depth_mm):
        with pytest.raises(FrameError, match=r"depth_mm: got .*, expected uint16 \(2, 3\)"):
            RgbdFrame(np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.float32), depth_mm=depth_mm)


class TestSegmentation:
    def test_confidence_is_computed_once_and_only_when_somebody_asks(self):
        calls = []

        def compute():
            calls.append(1)
            return np.ones((4, 6), np.float32)

        segmentation = Segmentation(RGB[..., 0], compute)
        assert not calls
        assert segmentation.confidence is segmentation.confidence
        assert len(calls) == 1


class TestTaxonomy:
    def test_survives_plain_data_and_json(self):
        assert Taxonomy.from_dicts(DEFAULT_TAXONOMY.to_dicts()) == DEFAULT_TAXONOMY
        assert json.loads(DEFAULT_TAXONOMY.to_json())["classes"] == DEFAULT_TAXONOMY.to_dicts()

    def test_both_kinds_of_obstacle_have_the_obstacle_role(self):
        table = DEFAULT_TAXONOMY.role_table(Role.OBSTACLE)
        assert table[:5].tolist() == [0, 0, 0, 255, 255]
        assert not table[5:].any()

    def test_ids_with_a_gap_are_refused(self):
        with pytest.raises(RoadKdError, match="expected 0, 1, 2"):
            Taxonomy(DEFAULT_TAXONOMY.classes[1:])

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            ({"role": "hazard"}, r"role is 'hazard', expected one of background, drivable, lane, obstacle"),
            ({"color": [1]}, r"color is \[1\], expected a list of 3 values"),
            ({"color": [0, 0, 256]}, r"color\[2\] is 256, expected a whole number from 0 to 255"),
            ({"color": [0, 0, True]}, r"color\[2\] is True, expected a whole number"),
            ({"id": "x"}, "id is 'x', expected a whole number"),
            ({"id": 255}, "id is 255, expected a whole number from 0 to 254"),
            ({"name": "road\x1b[31m"}, "name is .*, expected text of 1 to 200 printable characters"),
            ({"name": "x" * 201}, "name is .*, expected text of 1 to 200"),
            ({"name": " "}, "name is ' ', expected text"),
            ({"name": 5}, "name is 5, expected text"),
        ],
    )
    def test_a_damaged_class_says_what_was_expected(self, damage, reason):
        classes = DEFAULT_TAXONOMY.to_dicts()
        classes[1].update(damage)
        with pytest.raises(RoadKdError, match=r"^classes\[1\]\." + reason):
            Taxonomy.from_dicts(classes)

    def test_the_ignored_value_never_becomes_a_class(self):
        colors = [SemanticClass(i, f"c{i}", Role.BACKGROUND, (0, 0, 0)) for i in range(256)]
        assert len(Taxonomy(tuple(colors[:255]))) == 255
        for classes in (tuple(colors), ()):
            with pytest.raises(RoadKdError, match="classes, expected 1 to 255"):
                Taxonomy(classes)
