from __future__ import annotations

from pathlib import Path

import pytest
import torch

from road_kd_seg.segmenter import Segmenter


@pytest.fixture
def tiny_segmenter(tiny_bundle: Path) -> Segmenter:
    torch.set_num_threads(1)  # more would wait for each other on images as small as these
    return Segmenter.from_bundle(tiny_bundle, device="cpu")
