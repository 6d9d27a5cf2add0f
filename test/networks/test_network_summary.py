# SPDX-License-Identifier: Apache-2.0
import pytest

from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks import NETWORKS
from road_kd_seg.networks.common.summary import PAPERS, summarize_network, summarize_networks


def test_every_network_has_a_row_in_the_order_of_the_table():
    rows = summarize_networks(size=(64, 64))
    assert [row.name for row in rows] == list(NETWORKS)
    assert PAPERS.keys() == NETWORKS.keys()
    assert all(row.parameters > 0 and row.gflops > 0 and row.taps for row in rows)


def test_operations_grow_with_the_area():
    small, large = (summarize_network("erfnet", size=size).gflops for size in ((64, 64), (128, 192)))
    assert large == pytest.approx(6 * small)


def test_modalities_and_taps_are_the_networks_own():
    row = summarize_network("mfnet", size=(64, 64))
    assert row.modalities == ("rgb", "depth")
    assert row.taps["encoder5"] == (132, 16)


def test_an_unknown_network_is_named():
    with pytest.raises(RoadKdError, match="network 'unet' is unknown"):
        summarize_network("unet")
