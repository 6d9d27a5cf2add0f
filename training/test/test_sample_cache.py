# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.config import DataConfig
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.errors import DatasetError
from road_kd_training.sample_cache import SampleCache
from road_kd_training.windows import ROAD_PLANE


class Counting:
    """Samples that know how often they were decoded."""

    taxonomy = DEFAULT_TAXONOMY

    def __init__(self):
        self.reads = 0

    def __len__(self):
        return 2

    def __getitem__(self, index):
        self.reads += 1
        rgb = np.full((40, 60, 3), index, np.uint8)
        depth_m = None if index else np.full((40, 60), 1.5, np.float32)
        return RgbdSample(rgb, depth_m, None if index else rgb[..., 0], f"frame_{index}")


@pytest.fixture
def source():
    return Counting()


def cache(source, folder, **options):
    return SampleCache(source, folder, DataConfig("frames", options))


@pytest.mark.parametrize("index", [0, 1])
def test_a_sample_comes_back_as_it_was(source, tmp_path, index):
    expected = source[index]
    first, second = (cache(source, tmp_path)[index] for _ in range(2))
    for found in (first, second):
        assert found.id == expected.id
        np.testing.assert_array_equal(found.rgb, expected.rgb)
        for ours, theirs in ((found.depth_m, expected.depth_m), (found.label, expected.label)):
            assert (ours is None) == (theirs is None)
            np.testing.assert_array_equal(ours, theirs)
        assert found.meta[ROAD_PLANE].shape == (3,)


def test_each_sample_is_decoded_once(source, tmp_path):
    for _ in range(3):
        _ = cache(source, tmp_path)[0]
    assert source.reads == 1


def test_other_options_are_another_cache(source, tmp_path):
    _ = cache(source, tmp_path, root="a")[0], cache(source, tmp_path, root="b")[0]
    assert source.reads == 2


def test_a_folder_that_cannot_be_written_is_named(source, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"000000.safetensors cannot be written: .*leave sample_cache out"):
        _ = cache(source, tmp_path / "file")[0]
