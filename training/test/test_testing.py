# SPDX-License-Identifier: Apache-2.0
"""The public checks pass on what is right and name what is wrong."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import torch

from road_kd_seg.backends import load_backend
from road_kd_seg.bundle import load_bundle
from road_kd_seg.networks import NETWORKS, SegOutput
from road_kd_seg.networks.mfnet import MfNet
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training import RgbdSample
from road_kd_training.distillers.cwd import Cwd
from road_kd_training.testing import check_backend, check_dataset, check_distiller, check_network


def failures(checks) -> dict[str, str]:
    """Names and messages of the checks that fail."""
    found = {}
    for check in checks:
        try:
            check()
        except AssertionError as error:
            found[str(check)] = str(error)
    return found


class TestDistiller:
    def test_terms_that_were_not_announced_are_named(self):
        class Unannounced(Cwd):
            """Its terms have other names."""

            default_weights: ClassVar = {"channel_kl": 1.0, "extra": 1.0}

        found = failures(check_distiller(Unannounced))
        message = "terms are ['channel_kl'], default_weights announce ['channel_kl', 'extra']"
        assert found["its terms are the announced finite scalars and teach the student"] == message

    def test_a_gradient_into_the_teacher_is_found(self):
        class Leaky(Cwd):
            """Forgets to detach."""

            def forward(self, student, teachers, target, step):
                return {"channel_kl": (student.logits - teachers[0].logits).square().mean()}

        assert failures(check_distiller(Leaky))["no gradient reaches a frozen teacher"].endswith("detach it")

    def test_options_reach_the_method(self):
        assert failures(check_distiller(Cwd, temperature=1.0, adapter="conv_bn_relu")) == {}


class TestNetwork:
    @pytest.mark.parametrize("name", ["mfnet", "erfnet", "roadlite"])
    def test_ours_pass(self, name):
        assert failures(check_network(NETWORKS[name])) == {}

    def test_a_tap_that_is_not_as_announced_is_named(self):
        class Wrong(MfNet):
            def forward(self, rgb, depth=None):
                output = super().forward(rgb, depth)
                return SegOutput(output.logits, {name: x[:, :-1] for name, x in output.features.items()})

        message = failures(check_network(Wrong, depth_channels=1))["logits and taps have the announced shapes"]
        assert "feature_info says (2, " in message

    def test_a_parameter_without_gradient_is_named(self):
        class Idle(MfNet):
            def __init__(self, num_classes, **options):
                super().__init__(num_classes, **options)
                self.spare = torch.nn.Linear(1, 1)

        assert (
            "spare.weight" in failures(check_network(Idle, depth_channels=1))["every parameter gets a finite gradient"]
        )


class Frames:
    """Three frames that a test may spoil."""

    taxonomy = DEFAULT_TAXONOMY

    def __init__(self, **changes):
        self.changes = changes

    def __len__(self):
        return 3

    def __getitem__(self, index):
        noise = np.random.default_rng(index)
        sample = RgbdSample(
            noise.integers(0, 256, (4, 6, 3), np.uint8),
            np.ones((4, 6), np.float32),
            noise.integers(0, 5, (4, 6), np.uint8),
            str(index),
        )
        return dataclasses.replace(sample, **self.changes)


class TestDataset:
    def test_one_that_is_right_passes(self):
        assert failures(check_dataset(Frames())) == {}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"depth_m": np.full((4, 6), np.nan, np.float32)}, "0: depth_m is negative or not finite; 0 means invalid"),
            ({"label": np.full((4, 6), 9, np.uint8)}, "0: label ids [9] of 5 classes"),
            ({"label": np.zeros((2, 6), np.uint8)}, "0: label has another size than rgb"),
            ({"id": "same"}, "two samples have one id"),
        ],
    )
    def test_what_is_wrong_is_named(self, change, message):
        assert message in failures(check_dataset(Frames(**change))).values()


class TestBackend:
    def test_torch_passes(self, tiny_bundle):
        bundle = load_bundle(tiny_bundle)
        backend = load_backend("torch", bundle, "cpu")
        assert failures(check_backend(backend, bundle.build_network(), bundle.input.size)) == {}

    def test_another_network_and_a_reused_buffer_are_found(self, tiny_bundle):
        bundle = load_bundle(tiny_bundle)
        backend, buffer = load_backend("torch", bundle, "cpu"), torch.zeros(())

        class Reusing:
            device, device_name = backend.device, "one buffer"

            def infer(self, rgb, depth):
                nonlocal buffer
                logits = -backend.infer(rgb, depth)
                buffer = buffer.copy_(logits) if buffer.ndim else logits
                return buffer

        found = failures(check_backend(Reusing(), bundle.build_network(), bundle.input.size))
        assert found.keys() == {"it predicts as PyTorch does", "every output has memory of its own"}
