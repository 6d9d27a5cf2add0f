# SPDX-License-Identifier: Apache-2.0
"""What `import road_kd_seg` offers and costs."""

import subprocess
import sys

import pytest

import road_kd_seg


def modules_after(code: str) -> set[str]:
    """Names of the modules that a fresh interpreter holds after `code`."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


class TestPublicNames:
    @pytest.mark.parametrize("name", road_kd_seg.__all__)
    def test_every_name_of_all_can_be_imported(self, name):
        assert getattr(road_kd_seg, name) is not None

    @pytest.mark.parametrize("name", road_kd_seg.__all__)
    def test_every_name_of_all_is_listed_by_dir(self, name):
        assert name in dir(road_kd_seg)

    def test_a_name_is_the_same_object_as_in_its_module(self):
        from road_kd_seg.segmenter import Segmenter

        assert road_kd_seg.Segmenter is Segmenter

    def test_an_unknown_name_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match="'road_kd_seg' has no attribute 'segmenter_of'"):
            road_kd_seg.segmenter_of  # noqa: B018

    def test_importing_the_package_loads_no_torch_and_no_opencv(self):
        assert not modules_after("import road_kd_seg") & {"torch", "cv2", "numpy", "timm"}

    def test_the_frame_loads_no_torch(self):
        assert "torch" not in modules_after("from road_kd_seg import RgbdFrame")
