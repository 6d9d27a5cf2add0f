# SPDX-License-Identifier: Apache-2.0
"""Taps by module path, on networks of ours and of nobody here."""

import copy

import pytest
import timm
import torch
import torchvision
from torch import nn

from road_kd_seg.networks import FeatureInfo, build_network
from road_kd_training.errors import TrainingError
from road_kd_training.feature_taps import TappedModel, module_taps, tap_modules

IMAGES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def timm_model():
    return timm.create_model("resnet10t", num_classes=7)


class TestAnyModel:
    def test_a_timm_classifier_has_the_features_of_its_modules(self):
        model = timm_model().eval()
        tapped = TappedModel(model, ["layer2", "layer4.0"], IMAGES)
        with torch.no_grad():
            output = tapped(IMAGES)
            expected = model.layer2(model.layer1(model.maxpool(model.act1(model.bn1(model.conv1(IMAGES))))))
        assert tapped.info.feature_info == {"layer2": FeatureInfo(128, 8), "layer4.0": FeatureInfo(512, 32)}
        torch.testing.assert_close(output.features["layer2"], expected)
        assert output.logits.shape == (2, 7, 1, 1)

    def test_a_torchvision_segmenter_has_its_logits_under_out(self):
        model = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights_backbone=None, num_classes=5)
        tapped = TappedModel(model, ["backbone.16"], IMAGES)
        assert tapped.info.num_classes == 5
        assert tapped(IMAGES).logits.shape == (2, 5, 64, 96)
        assert tapped.info.feature_info["backbone.16"] == FeatureInfo(960, 16)

    def test_measuring_leaves_mode_and_statistics_as_they_were(self):
        model = timm_model().train()
        model.layer1.eval()
        before = copy.deepcopy(model.state_dict())
        TappedModel(model, ["layer2"], IMAGES)
        assert model.training
        assert not model.layer1.training
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())

    def test_gradients_flow_through_the_taps(self):
        tapped = TappedModel(timm_model(), ["layer2"], IMAGES)
        tapped(IMAGES).features["layer2"].square().mean().backward()
        assert tapped.model.conv1[0].weight.grad.abs().sum() > 0

    def test_a_copy_records_its_own_features(self):
        tapped = TappedModel(timm_model().eval(), ["layer2"], IMAGES)
        clone = copy.deepcopy(tapped)
        with torch.no_grad():
            clone.model.conv1[0].weight.zero_()
            ours, others = tapped(IMAGES).features["layer2"], clone(IMAGES).features["layer2"]
        assert not torch.equal(ours, others)

    def test_an_unknown_path_names_the_nearest(self):
        with pytest.raises(TrainingError, match="ResNet has no module 'layer5': did you mean layer"):
            TappedModel(timm_model(), ["layer5"], IMAGES)

    def test_a_module_that_returns_no_map_is_named(self):
        with pytest.raises(
            TrainingError, match=r"module 'fc' \(Linear\) returns shape \(2, 7\), expected a feature map"
        ):
            TappedModel(timm_model(), ["fc"], IMAGES)

    def test_an_output_without_logits_is_named(self):
        class Pair(nn.Module):
            def forward(self, x):
                return x, x

        with pytest.raises(TrainingError, match="Pair returns tuple, expected logits"):
            TappedModel(Pair(), [], IMAGES)


class TestNetworksOfThisPackage:
    def test_a_module_joins_the_named_taps(self):
        network = build_network("mfnet_rgb", 5)
        named = dict(network.feature_info)
        path = next(name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
        keys = list(network.state_dict())
        tap_modules(network, [path], (64, 96))
        output = network.eval()(IMAGES)
        assert network.feature_info.keys() == {*named, path} == output.features.keys()
        assert output.features[path].shape[1] == network.feature_info[path].channels
        assert list(network.state_dict()) == keys

    def test_only_paths_that_are_no_named_taps_are_found_in_options(self):
        network = build_network("mfnet_rgb", 5)
        path = next(name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
        tap = next(iter(network.feature_info))
        options = {"taps": [[path, "elsewhere"], [tap, tap]], "adapter": path}
        assert module_taps(network, options) == [path]
        assert module_taps(network, {"adapter": path}) == []
