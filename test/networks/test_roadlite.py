# SPDX-License-Identifier: Apache-2.0
"""RoadLite: its sizes as documented, and what its shape promises."""

import pytest
import torch

from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks import build_network
from road_kd_seg.networks.common.summary import summarize_network
from road_kd_seg.networks.roadlite import SHAPES

PARAMETERS = {"s": 414_737, "m": 956_245, "l": 1_707_037}


@pytest.mark.parametrize("size", SHAPES)
def test_parameters_are_as_documented(size):
    with torch.device("meta"):
        network = build_network("roadlite", 5, size=size)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[size]


def test_multiplications_at_288x512_are_as_documented():
    assert summarize_network("roadlite", 5, (288, 512)).gflops / 2 == pytest.approx(0.957, abs=0.001)


def test_an_unknown_size_is_named():
    with pytest.raises(RoadKdError, match="roadlite: size is 'xl', expected one of s, m, l"):
        build_network("roadlite", 5, size="xl")


def test_depth_costs_the_stem_alone():
    with torch.device("meta"):
        with_depth, color = (build_network("roadlite", 5, size="s", depth_channels=d) for d in (1, 0))
    more = sum(p.numel() for p in with_depth.parameters()) - sum(p.numel() for p in color.parameters())
    assert more == SHAPES["s"].encoder[0] * 9


def test_every_pixel_sees_the_whole_image():
    """The global mean: a change in one corner reaches the logits of the opposite one."""
    torch.manual_seed(0)
    network = build_network("roadlite", 3, size="s", depth_channels=0).eval().double()
    image = torch.rand(1, 3, 256, 256, dtype=torch.float64)
    changed = image.clone()
    changed[..., :32, :32] += 1
    with torch.no_grad():
        difference = network(image).logits - network(changed).logits
    assert difference[..., -1, -1].abs().min() > 0
