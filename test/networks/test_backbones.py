# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from road_kd_seg.networks import build_network
from road_kd_seg.networks.common.backbones import resnet_stages

REPOSITORY = Path(__file__).parents[2]


def offline(program: str, cache: Path) -> subprocess.CompletedProcess:
    """Run Python without a network and with `cache` as Hugging Face's home."""
    environment = os.environ | {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=200, check=False
    )


def test_missing_weights_offline_are_named_with_the_mend(tmp_path):
    done = offline(
        "from road_kd_seg.errors import run_tool\n"
        "from road_kd_seg.networks import build_network\n"
        "raise SystemExit(run_tool(lambda: build_network('unet_r34', 5, pretrained=True)))",
        tmp_path,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: backbone 'resnet34.tv_in1k': its ImageNet weights are neither in timm's cache nor")
    assert "timm.create_model('resnet34.tv_in1k', pretrained=True)" in last
    assert "pass pretrained=False" in last


def test_weights_in_the_cache_are_taken_and_fit_the_deep_stem_where_they_can(tmp_path):
    weights = {key: torch.full_like(value, 0.5) for key, value in timm.create_model("resnet18").state_dict().items()}
    home = tmp_path / "hub" / "models--timm--resnet18.tv_in1k"
    (home / "snapshots" / "abc").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    save_file(weights, home / "snapshots" / "abc" / "model.safetensors")
    done = offline(
        "from road_kd_seg.networks import build_network\n"
        "backbone = build_network('pspnet_r18', 5, pretrained=True).backbone.state_dict()\n"
        "print(*(key for key, value in backbone.items() if value.is_floating_point() and not (value == 0.5).all()))",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    random = set(done.stdout.split())
    assert all(key.startswith(("conv1.", "bn1.", "layer1.0.")) for key in random)
    assert {"conv1.0.weight", "layer1.0.conv1.weight"} <= random
    assert "layer1.0.conv2.weight" not in random


def test_segnets_encoder_has_the_tensors_of_timms_vgg_in_order():
    with torch.device("meta"):
        encoders = build_network("segnet_vgg16", 2).encoders.state_dict()
        vgg = timm.create_model("vgg16_bn.tv_in1k", features_only=True).state_dict()
    assert [value.shape for value in encoders.values()] == [value.shape for value in vgg.values()]
    assert [key.rsplit(".", 1)[-1] for key in encoders] == [key.rsplit(".", 1)[-1] for key in vgg]


def test_stages_in_a_row_equal_the_trunks_features():
    torch.manual_seed(0)
    stages = resnet_stages("resnet18").eval()
    backbone = timm.create_model("resnet18", features_only=True).eval()
    backbone.load_state_dict(dict(zip(backbone.state_dict(), stages.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, 64, 64)
    for stage, expected in zip(stages, backbone(x), strict=True):
        x = stage(x)
        assert torch.equal(x, expected)
