# SPDX-License-Identifier: Apache-2.0
"""Parameter counts and tap shapes that were seen in the authors' or the closest public code, to the last digit."""

import pytest
import torch

from road_kd_seg.networks import build_network
from road_kd_seg.networks.common.summary import summarize_network

PARAMETERS = [
    ("mafnet_r152", 2, {}, 354_446_570),
    ("mafnet_r34", 2, {"image_size": (512, 512)}, 113_071_466),
    ("mafnet_r18", 2, {}, 22_351_722),
    ("erfnet", 37, {}, 2_070_134),
    ("erfnet", 5, {}, 2_063_926),
    ("erfnet", 5, {"lane_existence": 4}, 2_609_183),
    ("enet", 5, {}, 349_644),
    ("pspnet_r101", 19, {}, 70_437_350),
    ("pspnet_r101", 5, {"variant": "intra_kd"}, 65_576_517),
    ("pspnet_r18", 19, {}, 13_068_262),
    ("deeplabv3plus_r101", 2, {}, 58_749_090),
    ("deeplabv3plus_r50", 2, {}, 39_756_962),
    ("sne_roadseg_r152", 2, {"depth_channels": 1}, 201_318_534),
    ("mfnet", 9, {}, 736_275),
]
"""Network, classes, options, parameters. With auxiliary heads: ERFNet's and CWD's counts include them."""

PRINTED_MILLIONS = [
    ("pspnet_mbv2", 1.98),
    ("deeplabv3_r18", 12.62),
    ("deeplabv3_mbv2", 2.45),
]
"""Table 5 of CWD, 19 classes, where no code is public."""

CPKD_TAPS = {
    "mafnet_r152": {
        "encoder1": (64, 288, 512),
        "encoder3": (512, 72, 128),
        "encoder5": (2048, 18, 32),
        "decoder4": (512, 72, 128),
        "decoder2": (128, 288, 512),
    },
    "mafnet_r18": {
        "encoder1": (64, 144, 256),
        "encoder3": (128, 36, 64),
        "encoder5": (512, 9, 16),
        "decoder4": (128, 36, 64),
        "decoder2": (32, 144, 256),
    },
}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(name: str, num_classes: int, **kwargs):
    with torch.device("meta"):
        return build_network(name, num_classes, **kwargs)


@pytest.mark.parametrize(("name", "num_classes", "kwargs", "parameters"), PARAMETERS)
def test_parameters(name, num_classes, kwargs, parameters):
    assert count(on_meta(name, num_classes, **kwargs)) == parameters


@pytest.mark.parametrize(("name", "millions"), PRINTED_MILLIONS)
def test_parameters_as_cwd_rounds_them(name, millions):
    assert round(count(on_meta(name, 19)) / 1e6, 2) == millions


def test_parameters_of_sne_roadsegs_encoders():
    both, rgb = on_meta("sne_roadseg_r152", 2, depth_channels=1), on_meta("sne_roadseg_r152_rgb", 2)
    assert count(both.rgb_stages) + count(both.depth_stages) == 116_281_344
    assert count(rgb.rgb_stages) == 58_143_808


def test_parameters_of_mfnets_encoders():
    both, rgb = on_meta("mfnet", 9), on_meta("mfnet_rgb", 9)
    assert count(both.rgb_encoder) + count(both.depth_encoder) == 601_848
    assert count(rgb.rgb_encoder) == 528_096


@pytest.mark.parametrize("name", CPKD_TAPS)
def test_cpkd_taps_at_576x1024(name, meta_forward):
    _, output = meta_forward(name, 2)
    assert {tap: tuple(feature.shape[1:]) for tap, feature in output.features.items()} == CPKD_TAPS[name]


@pytest.mark.parametrize(("name", "giga_multiplications"), [("pspnet_mbv2", 16.40), ("deeplabv3_mbv2", 20.39)])
def test_multiplications_at_512x1024_as_cwd_prints_them(name, giga_multiplications):
    computed = summarize_network(name, 19, (512, 1024)).gflops / 2
    assert computed == pytest.approx(giga_multiplications, abs=0.04)  # our bin means are products and count: 0.03 G
