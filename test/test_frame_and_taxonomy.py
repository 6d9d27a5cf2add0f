import json

import numpy as np
import pytest

from road_kd_seg.errors import FrameError, RoadKdError
from road_kd_seg.frame import Intrinsics, RgbdFrame
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, Role, Taxonomy

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

    @pytest.mark.parametrize("damage", [{"role": "hazard"}, {"color": [1]}, {"id": "x"}])
    def test_a_damaged_class_names_the_known_roles(self, damage):
        classes = DEFAULT_TAXONOMY.to_dicts()
        classes[0].update(damage)
        with pytest.raises(RoadKdError, match=r"role \(background, drivable, lane, obstacle\)"):
            Taxonomy.from_dicts(classes)
