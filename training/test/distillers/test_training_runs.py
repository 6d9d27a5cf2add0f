# SPDX-License-Identifier: Apache-2.0
"""A small training run of every method: terms fall, the student improves, the first steps are as they were.

`golden.json` holds the first 20 total losses of each run. After a change that is meant to alter them, rewrite it
with `python training/test/distillers/test_training_runs.py`, and say in the commit why they changed.
"""

import copy
import dataclasses
import functools
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from road_kd_seg.metrics import confusion_matrix, mean_iou
from road_kd_seg.networks import FeatureInfo, SegmentationNetwork, SegOutput
from road_kd_training.distillers import DISTILLERS, NetworkInfo

GOLDEN = Path(__file__).with_name("golden.json")
GOLDEN_STEPS = 20
STEPS = 150
CLASSES = 4
SIZE = (16, 24)
TAPS = (("mid", "mid"), ("deep", "deep"))

AGREE_WHILE_UNTRAINED = ("cct", "sad")
"""Self-distillation whose terms are near zero as long as nothing is learned: they fall from a trained student on."""


class TinyNetwork(SegmentationNetwork):
    """Two strided convolutions and a classifier, of a given width."""

    def __init__(self, num_classes, width):
        super().__init__(num_classes)
        self.feature_info = {"mid": FeatureInfo(width, 2), "deep": FeatureInfo(2 * width, 4)}
        self.mid = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.classifier = nn.Conv2d(2 * width, num_classes, 1)

    def forward(self, rgb, depth=None):
        mid = self.mid(rgb).relu()
        deep = self.deep(mid).relu()
        logits = F.interpolate(self.classifier(deep), rgb.shape[-2:], mode="bilinear", align_corners=False)
        return SegOutput(logits, {"mid": mid, "deep": deep})


def toy_batch(seed, batch=4):
    """Noisy images of colored rectangles on class 0, their labels, and a rim that is ignored."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.zeros(batch, *SIZE, dtype=torch.long)
    for sample in label:
        for k in range(1, CLASSES):
            top, left = (int(torch.randint(0, side // 2, (1,), generator=generator)) for side in SIZE)
            sample[top : top + SIZE[0] // 2, left : left + SIZE[1] // 3] = k
    colors = torch.eye(CLASSES, dtype=torch.float64)[:, 1:]
    noise = 0.3 * torch.randn(batch, 3, *SIZE, generator=generator, dtype=torch.float64)
    label[:, 0] = 255
    return colors[label.where(label < CLASSES, 0)].movedim(-1, 1) + noise, label


def mean_iou_of(network):
    """On images that no run trains on."""
    image, label = toy_batch(seed=999, batch=8)
    with torch.no_grad():
        prediction = network(image).logits.argmax(1)
    return mean_iou(confusion_matrix(label.numpy(), prediction.numpy(), CLASSES))


def network_of(width, seed):
    torch.manual_seed(seed)
    return TinyNetwork(CLASSES, width).double()


@functools.cache
def teacher_of(seed):
    """A wider network, trained on the labels."""
    network = network_of(12, seed)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for step in range(100):
        image, label = toy_batch(step)
        loss = F.cross_entropy(network(image).logits, label, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


def config_of(kind, from_trained):
    """The method's defaults, with the tiny networks' taps, and a discriminator of their size."""
    config_class = kind.Config
    changes = {}
    for field in dataclasses.fields(config_class):
        if field.name == "taps" and "logits" not in str(field.default):
            of_student_only = field.default is not dataclasses.MISSING and isinstance(field.default[0], str)
            changes["taps"] = ("mid", "deep") if of_student_only else TAPS
        if field.name == "tap":
            changes["tap"] = "deep"
        if field.name == "ramp_steps" and from_trained:
            changes["ramp_steps"] = 0
        if kind.__name__ == "Holistic" and field.name == "width":
            changes["width"] = 2
    return config_class(**changes)


@dataclasses.dataclass(frozen=True)
class Run:
    totals: list[float]
    distillation: list[float]
    iou_before: float
    iou_after: float


@functools.cache
def run_of(method, from_trained):
    """Train a student with the method's default weights beside the cross entropy."""
    kind = DISTILLERS[method]
    student = copy.deepcopy(teacher_of(2)).train().requires_grad_() if from_trained else network_of(5, seed=1)
    learns = kind.trains_peers
    count = kind.needs.min_teachers
    teachers = [network_of(5, seed=2 + i) if learns else teacher_of(2 + i) for i in range(count)]
    infos = [NetworkInfo.of("tiny", network) for network in (student, *teachers)]
    torch.manual_seed(3)
    distiller = kind(config_of(kind, from_trained), infos[0], infos[1:]).double()
    others = nn.ModuleList([distiller, *(teachers if learns else [])])
    parties = [list(student.parameters()), list(others.parameters())]
    # Plain gradient descent: Adam's first steps turn rounding into signs, and golden curves into chance.
    optimizer = torch.optim.SGD([x for party in parties for x in party], 0.05, momentum=0.9)
    before = mean_iou_of(student)
    totals, distillation = [], []
    torch.manual_seed(4)
    for step in range(STEPS):
        image, label = toy_batch(step % 8)
        output = student(image)
        others_output = [teacher(image) for teacher in teachers]
        terms = distiller(output, others_output, label, step)
        weighted = sum(kind.default_weights[name] * term for name, term in terms.items())
        supervised = [output, *(others_output if learns else [])]
        total = weighted + sum(F.cross_entropy(one.logits, label, ignore_index=255) for one in supervised)
        optimizer.zero_grad()
        total.backward()
        for party in parties:
            nn.utils.clip_grad_norm_(party, 1.0)
        optimizer.step()
        totals.append(total.item())
        distillation.append(weighted.item())
    return Run(totals, distillation, before, mean_iou_of(student))


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("method", sorted(DISTILLERS))
class TestTrainingRun:
    def test_the_distillation_terms_fall(self, method):
        distillation = run_of(method, method in AGREE_WHILE_UNTRAINED).distillation
        # batches come round every eight steps
        assert sum(distillation[-8:]) < sum(distillation[:8])

    def test_the_student_improves(self, method):
        run = run_of(method, False)
        assert run.iou_after > run.iou_before + 0.1

    def test_the_first_steps_are_as_they_were(self, method):
        golden = json.loads(GOLDEN.read_text())
        # A change of a method shows in the first digits; another order of float64 sums stays far below 1e-5.
        assert run_of(method, False).totals[:GOLDEN_STEPS] == pytest.approx(golden[method], rel=1e-5)


def test_no_golden_curve_is_left_over():
    assert set(json.loads(GOLDEN.read_text())) == set(DISTILLERS)


def regenerate():
    torch.set_num_threads(1)
    curves = {
        method: [float(f"{x:.9g}") for x in run_of(method, False).totals[:GOLDEN_STEPS]]
        for method in sorted(DISTILLERS)
    }
    lines = (f"{json.dumps(method)}: {json.dumps(curve)}" for method, curve in curves.items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    regenerate()
