# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch

from road_kd_training.detection.data import mirror
from road_kd_training.detection.detectors import DETECTORS, DetectorSpec, build_detector, load_detector, save_detector
from road_kd_training.distillers import NetworkInfo
from road_kd_training.errors import TrainingError
from road_kd_training.experiments import find_experiment
from road_kd_training.experiments.plan import make_plan
from road_kd_training.objective import build_methods

SIDES = (64, 96)


def small(name="retinanet_r18", **options):
    torch.manual_seed(0)
    return build_detector(name, 2, sides=SIDES, **options)


def scene():
    image = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
    return image, {"boxes": torch.tensor([[10.0, 10, 40, 40]]), "labels": torch.tensor([1])}


@pytest.mark.parametrize("name", ["retinanet_r18", "faster_rcnn_r18"])
class TestDetector:
    def test_its_losses_are_those_of_torchvision(self, name):
        (detector, twin), (image, target) = (small(name).train(), small(name).train()), scene()
        torch.manual_seed(1)
        losses, _ = detector([image], [target])
        torch.manual_seed(1)
        theirs = twin.model([image], [target])
        assert losses.keys() == theirs.keys()
        assert {key: value.item() for key, value in losses.items()} == pytest.approx(
            {key: value.item() for key, value in theirs.items()}
        )

    def test_levels_have_the_channels_and_strides_that_it_says(self, name):
        image = torch.rand(3, 64, 96)
        levels = small(name).eval().pyramid([image, image])
        detector = small(name)
        assert list(levels) == list(detector.feature_info)
        for level, info in detector.feature_info.items():
            assert levels[level].shape == (2, info.channels, -(-64 // info.stride), -(-96 // info.stride))

    def test_the_pyramid_of_a_pass_is_the_one_that_a_teacher_shows(self, name):
        detector, (image, target) = small(name, frozen_norms=True).train(), scene()
        _, levels = detector([image], [target])
        shown = detector.pyramid([image])
        for level in levels:
            torch.testing.assert_close(levels[level], shown[level])

    def test_detections_lie_in_the_image_and_have_classes_from_1(self, name):
        (found,) = small(name).detect([torch.rand(3, 128, 192)])
        assert found["boxes"].shape[1] == 4
        assert len(found["boxes"]) <= 100
        assert ((found["boxes"] >= 0) & (found["boxes"] <= 192)).all()
        assert set(found["labels"].tolist()) <= {0, 1, 2}

    def test_an_image_without_objects_has_finite_losses(self, name):
        image, _ = scene()
        empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
        losses, _ = small(name).train()([image], [empty])
        assert all(torch.isfinite(loss) for loss in losses.values())

    def test_a_saved_detector_detects_the_same(self, name, tmp_path):
        detector = small(name).train()
        with torch.no_grad():
            detector([scene()[0]] * 2, [scene()[1]] * 2)  # moves the statistics of its norms
        save_detector(tmp_path, detector, DetectorSpec(name, ["a", "b"], SIDES, {"step": 1}))
        loaded, spec = load_detector(tmp_path)
        image = scene()[0]
        assert (spec.class_names, spec.sides, spec.provenance) == (["a", "b"], SIDES, {"step": 1})
        for ours, theirs in zip(
            detector.eval().pyramid([image]).values(), loaded.pyramid([image]).values(), strict=True
        ):
            torch.testing.assert_close(ours, theirs)


def test_an_unknown_detector_is_named_with_the_nearest():
    with pytest.raises(TrainingError, match="detector 'retinanet_50' is unknown: did you mean 'retinanet_r50'"):
        build_detector("retinanet_50", 2, sides=SIDES)


def test_a_folder_without_detector_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"detector.json"):
        load_detector(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ["retinanet_r18"]),
        ("name", "../retinanet"),
        ("class_names", 5),
        ("class_names", ["a\x1b[31m"]),
        ("class_names", ["a"] * 10**4),
        ("sides", [10**9, 10**9]),
        ("sides", "64"),
        ("sides", [float("nan"), 64]),
        ("provenance", []),
    ],
)
def test_a_description_made_to_hurt_is_refused_before_anything_is_built(tmp_path, key, value):
    described = {"name": "retinanet_r18", "class_names": ["a"], "sides": [64, 96], "provenance": {}} | {key: value}
    (tmp_path / "detector.json").write_text(json.dumps(described))
    with pytest.raises(TrainingError, match=rf"holds no detector \({key}") as caught:
        load_detector(tmp_path)
    assert str(caught.value).isprintable()


def test_every_detector_can_be_built():
    with torch.device("meta"):
        for name in DETECTORS:
            build_detector(name, 80, sides=(800, 1333))


def test_students_have_about_the_printed_number_of_parameters():
    """36.19 and 43.57 million in the paper, 37.7 and 41.5 million in mmdetection's own tables."""
    counts = {}
    with torch.device("meta"):
        for name in ("retinanet_r50", "faster_rcnn_r50"):
            detector = build_detector(name, 80, sides=(800, 1333))
            counts[name] = detector.num_parameters / 1e6
    assert counts == pytest.approx({"retinanet_r50": 36.19, "faster_rcnn_r50": 43.57}, rel=0.06)


def test_freezing_norms_takes_no_parameters_away():
    assert (
        small(frozen_norms=True).num_parameters
        == small().num_parameters
        == sum(p.numel() for p in small().parameters())
    )


def test_a_mirror_image_is_mirrored_twice_to_itself():
    image, target = scene()
    once = mirror(image, target)
    assert once[1]["boxes"].tolist() == [[56, 10, 86, 40]]
    again = mirror(*once)
    assert torch.equal(again[0], image)
    assert torch.equal(again[1]["boxes"], target["boxes"])


@pytest.mark.parametrize("scale", ["smoke", "reduced", "small", "full"])
def test_rows_of_table_6_find_their_levels_and_teachers(scale):
    def info(config):
        detector = build_detector(config.network.name, 2, sides=(config.input.height, config.input.width))
        return NetworkInfo(config.network.name, 2, detector.feature_info)

    plan = make_plan(find_experiment("cwd/table6"), scale, out="out", data_root="data")
    with torch.device("meta"):
        for run in plan.runs:
            methods = build_methods(run.config, info(run.config), [info(need.config) for need in run.needs], [])
            assert len(methods) == len(run.row.methods)
