# SPDX-License-Identifier: Apache-2.0
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
import yaml

# colcon builds and tests the runtime alone.
collect_ignore_glob = [] if find_spec("road_kd_training") else ["*"]

SIZE = (72, 128)


@pytest.fixture
def other_bundle(tiny_bundle, tmp_path):
    """The tiny bundle's network with other weights."""
    import torch

    from road_kd_seg.bundle import load_bundle, save_bundle
    from road_kd_seg.networks import build_network

    bundle = load_bundle(tiny_bundle)
    torch.manual_seed(7)
    return save_bundle(
        tmp_path / "other",
        build_network(bundle.network, len(bundle.taxonomy), **bundle.network_kwargs),
        name="other",
        network_name=bundle.network,
        network_kwargs=bundle.network_kwargs,
        taxonomy=bundle.taxonomy,
        input_spec=bundle.input,
    )


@pytest.fixture
def stereo_tree(tmp_path):
    """stereo_pothole in small: four frames, two of them validation; a pothole 17,000 units deep."""
    root = tmp_path / "stereo_pothole"
    generator = np.random.default_rng(0)
    for folder in ("rgb", "tdisp", "label"):
        (root / folder).mkdir(parents=True)
    for name in ("d1_01", "d1_02", "d1_06", "d2_09"):
        label = np.zeros(SIZE, np.uint8)
        label[40:50, 30:60] = 255
        tdisp = generator.normal(50_000, 300, SIZE)
        tdisp[label > 0] -= 17_000
        tdisp[0, :10] = 0
        cv2.imwrite(str(root / "rgb" / f"{name}.jpg"), generator.integers(90, 110, (*SIZE, 3), np.uint8))
        cv2.imwrite(str(root / "tdisp" / f"{name}.png"), tdisp.astype(np.uint16))
        cv2.imwrite(str(root / "label" / f"{name}.png"), label)
    return root


@pytest.fixture
def recipe(stereo_tree, tmp_path):
    """One step on the tiny tree."""

    def data(split):
        return [{"dataset": "stereo_pothole", "options": {"root": str(stereo_tree), "split": split}}]

    path = tmp_path / "recipe.yaml"
    settings = {
        "name": "tiny",
        "output": str(tmp_path / "run"),
        "network": {"name": "erfnet", "options": {"depth_channels": 1}},
        "input": {"height": 32, "width": 64},
        "train": data("train"),
        "validation": data("validation"),
        "steps": 1,
        "batch_size": 2,
        "num_workers": 0,
        "mixed_precision": "no",
        "validate_every": 1,
    }
    path.write_text(yaml.safe_dump(settings))
    return path
