# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from road_kd_seg.networks import FeatureInfo, SegOutput
from road_kd_training.distillers import DISTILLERS, NetworkInfo

SIZE = (32, 48)
STUDENT_TAPS = {"mid": FeatureInfo(6, 4), "deep": FeatureInfo(8, 8)}
TEACHER_TAPS = {"mid": FeatureInfo(6, 4), "deep": FeatureInfo(16, 4)}


class TinyPair:
    """A student and a teacher whose `deep` taps differ in channels and size, and whose outputs are noise."""

    num_classes = 5

    def __init__(self, num_classes=5):
        self.student = NetworkInfo("student", num_classes, STUDENT_TAPS)
        self.teacher = NetworkInfo("teacher", num_classes, TEACHER_TAPS)
        self.num_classes = num_classes

    def build(self, method, *, teacher=None, **options):
        """The named method under its own configuration; `taps` is filled in where the method has no default."""
        kind = DISTILLERS[method]
        config_class = kind.Config
        torch.manual_seed(0)
        return kind(config_class(**options), self.student, [teacher or self.teacher])

    def output(self, info, batch=3, seed=0, dtype=torch.float32, scale=1.0, requires_grad=False):
        """Noise in the shapes that `info` announces, for a 32x48 input."""
        generator = torch.Generator().manual_seed(seed)

        def noise(channels, stride):
            shape = (batch, channels, SIZE[0] // stride, SIZE[1] // stride)
            values = (torch.randn(shape, generator=generator) * scale).to(dtype)
            return values.requires_grad_(requires_grad)

        features = {name: noise(*tap) for name, tap in info.feature_info.items()}
        return SegOutput(noise(info.num_classes, 1), features)

    def outputs(self, batch=3, seed=0, **options):
        """Student's output, with gradient, and the teachers'."""
        student = self.output(self.student, batch, seed, requires_grad=True, **options)
        return student, [self.output(self.teacher, batch, seed + 100, requires_grad=True, **options)]

    def target(self, batch=3, seed=0, ignored=True):
        """Class ids (B, 32, 48); class 4 is absent from the first sample, and 255 covers the top rows."""
        generator = torch.Generator().manual_seed(seed)
        target = torch.randint(0, self.num_classes, (batch, *SIZE), generator=generator)
        target[0][target[0] == self.num_classes - 1] = 0
        if ignored:
            target[:, :6] = 255
        return target


@pytest.fixture
def tiny_pair():
    return TinyPair()


@pytest.fixture
def make_tiny_pair():
    return TinyPair
