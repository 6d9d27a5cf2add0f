# SPDX-License-Identifier: Apache-2.0
"""What a listing says of each dataset beside its options: whether it has depth, and under which terms it comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class DatasetFacts(NamedTuple):
    """As `docs/DATASETS.md` has them."""

    depth: str
    """Where depth comes from; "none" without any."""
    license: str
    """Summed up in a word: read the original."""


def lacks_depth(dataset: str) -> bool:
    """Whether a dataset never has depth; False of datasets of other packages."""
    return dataset in FACTS and FACTS[dataset].depth == "none"


FACTS: Mapping[str, DatasetFacts] = {
    "ade20k": DatasetFacts("none", "images for non-commercial research and education; annotations BSD-3"),
    "apolloscape_lane": DatasetFacts("none", "own terms"),
    "bag": DatasetFacts("the aligned depth topic", "yours"),
    "camvid": DatasetFacts("none", "free for research, no license text"),
    "cityscapes": DatasetFacts(
        "from stereo disparity and the calibration of each frame, where both are unpacked", "own terms, non-commercial"
    ),
    "culane": DatasetFacts("none", "own terms"),
    "frames": DatasetFacts("uint16 mm", "yours"),
    "kitti_semantics": DatasetFacts(
        "depth (256 x m) or disparity (256 x px) of your own, else sparse LiDAR disp_occ_0", "CC BY-NC-SA 3.0"
    ),
    "llamas": DatasetFacts("none", "own terms"),
    "no4k": DatasetFacts(
        "jet colors to numbers; their scale is not published, far_m sets it (10 m)", "no license text"
    ),
    "nuimages": DatasetFacts("none; depth (256 x m) of your own", "CC BY-NC-SA 4.0 and the nuScenes terms"),
    "pothole600": DatasetFacts("rebuilt from transformed disparity on a nominal plane", "no license text"),
    "real_roads": DatasetFacts("none", "MIT and CC BY 4.0, by source"),
    "roadnet": DatasetFacts("none", "no license text"),
    "stereo_pothole": DatasetFacts("rebuilt from transformed disparity on a nominal plane", "MIT"),
    "synthetic": DatasetFacts("as a D455 would measure it", "that of this repository"),
    "vkitti2": DatasetFacts("dense, cm; sky is invalid", "CC BY-NC-SA 3.0"),
    "voc": DatasetFacts("none", "Flickr's terms; SBD free for research"),
}
