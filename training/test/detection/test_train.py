# SPDX-License-Identifier: Apache-2.0
"""Short runs of small detectors on a few images."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch

from road_kd_training.checkpoints import LAST
from road_kd_training.cli import main
from road_kd_training.config import (
    MIRRORED_ONLY,
    AugmentConfig,
    DataConfig,
    DistillerConfig,
    InputConfig,
    NetworkConfig,
    TeacherConfig,
    TrainConfig,
)
from road_kd_training.detection.data import Epochs
from road_kd_training.detection.detectors import load_detector
from road_kd_training.detection.train import DetectionTrainer
from road_kd_training.errors import TrainingError
from road_kd_training.run_folder import read_result

LEVELS = [["p3", "p3"], ["p4", "p4"]]


@pytest.fixture
def config(stereo_tree, tmp_path):
    """RetinaNet on the potholes of stereo_pothole's small tree."""
    data = [DataConfig("stereo_pothole", {"root": str(stereo_tree), "split": "train"})]
    return TrainConfig(
        name="tiny",
        network=NetworkConfig("retinanet_r18"),
        train=data,
        validation=data,
        output=str(tmp_path / "run"),
        input=InputConfig(64, 96, depth="none"),
        augment=MIRRORED_ONLY,
        steps=3,
        batch_size=2,
        learning_rate=1e-3,
        ema_decay=0.0,
        mixed_precision="no",
        num_workers=0,
    )


def weights_of(folder):
    return load_detector(folder)[0].state_dict()


class TestTraining:
    def test_a_run_leaves_a_detector_and_a_result(self, config, tmp_path):
        folder = DetectionTrainer(config).run()
        detector, spec = load_detector(folder)
        assert spec.class_names == ["negative_obstacle", "positive_obstacle"]
        assert spec.provenance["step"] == 3
        result = read_result(tmp_path / "run")
        assert result["steps"] == result["best_step"] == 3
        assert result["parameters"] == detector.num_parameters

    def test_a_pothole_is_learned(self, config):
        """The loss of what it was trained on falls by half."""
        trainer = DetectionTrainer(dataclasses.replace(config, steps=25, learning_rate=3e-4))
        losses = []
        step = trainer._train_step

        def noted(images, targets):
            terms = trainer.learner(images, targets, [], 0)
            losses.append(float(torch.stack(list(terms.values())).sum().detach()))
            step(images, targets)

        trainer._train_step = noted
        trainer.run()
        assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])

    def test_a_resumed_run_ends_with_the_same_weights(self, config, tmp_path):
        whole = weights_of(DetectionTrainer(config).run())
        other = dataclasses.replace(config, output=str(tmp_path / "cut"), validate_every=1)
        trainer = DetectionTrainer(other)
        step = trainer._train_step

        def interrupted(images, targets):
            if trainer.step == 2:
                raise KeyboardInterrupt
            step(images, targets)

        trainer._train_step = interrupted
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
        assert (tmp_path / "cut" / LAST).is_file()
        resumed = weights_of(DetectionTrainer(other).run())
        for name, value in whole.items():
            torch.testing.assert_close(resumed[name], value)

    def test_a_student_of_its_own_teacher_at_rest_has_nothing_to_learn_from_it(self, config, tmp_path):
        teacher = DetectionTrainer(config).run()
        distilled = dataclasses.replace(
            config,
            output=str(tmp_path / "distilled"),
            teachers=[TeacherConfig(bundle=str(teacher))],
            distillers=[DistillerConfig("cwd", {"taps": LEVELS, "temperature": 1.0}, {"channel_kl": 5.0})],
        )
        trainer = DetectionTrainer(distilled)
        images = [torch.rand(3, 64, 96)]
        targets = [{"boxes": torch.tensor([[1.0, 1, 30, 30]]), "labels": torch.tensor([1])}]
        own = trainer.teachers[0].pyramid(images)
        terms = trainer.learner.train()(images, targets, [own], 0)
        assert float(terms["cwd/channel_kl"].detach()) > 0
        itself = trainer.learner.student.pyramid(images)
        trainer.learner.eval().student.model.train()
        same = trainer.learner(images, targets, [itself], 0)
        assert float(same["cwd/channel_kl"].detach()) < float(terms["cwd/channel_kl"].detach())
        trainer.run()
        assert load_detector(tmp_path / "distilled" / "bundle")[1].provenance["distillers"][0]["method"] == "cwd"

    @pytest.mark.parametrize(("change", "message"), [
        ({"class_weights": [1.0, 2.0]}, "class_weights: detectors train without it: set it to None"),
        ({"ema_decay": 0.9}, "ema_decay: detectors train without it: set it to 0.0"),
        ({"augment": AugmentConfig()}, "augment: detectors know mirror images"),
        ({"input": InputConfig(64, 96)}, "input.depth: detectors see color only"),
        ({"network": NetworkConfig("enet")}, "detector 'enet' is unknown"),
        ({"teachers": [TeacherConfig(network=NetworkConfig("enet"))]}, "detectors learn from trained teachers"),
    ])  # fmt: skip
    def test_settings_that_detectors_do_not_have_are_refused(self, config, change, message):
        with pytest.raises(TrainingError, match=message):
            DetectionTrainer(dataclasses.replace(config, **change))

    def test_methods_that_need_more_than_features_are_refused(self, config, tmp_path):
        teacher = DetectionTrainer(config).run()
        with pytest.raises(TrainingError, match="kd needs more than features"):
            DetectionTrainer(
                dataclasses.replace(
                    config,
                    output=str(tmp_path / "kd"),
                    teachers=[TeacherConfig(bundle=str(teacher))],
                    distillers=[DistillerConfig("kd")],
                )
            )

    def test_a_teacher_of_another_image_size_is_refused(self, config, tmp_path):
        teacher = DetectionTrainer(config).run()
        with pytest.raises(TrainingError, match=r"sees images of \(64, 96\), the student of \(96, 128\)"):
            DetectionTrainer(
                dataclasses.replace(
                    config,
                    output=str(tmp_path / "larger"),
                    input=InputConfig(96, 128, depth="none"),
                    teachers=[TeacherConfig(bundle=str(teacher))],
                )
            )


class TestEpochs:
    def test_every_sample_comes_once_an_epoch_in_ever_new_order(self):
        drawn = [index for _, index in Epochs(10, 0, 0, 30)]
        epochs = [drawn[start : start + 10] for start in (0, 10, 20)]
        assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == 3

    def test_a_run_that_is_resumed_draws_what_was_left(self):
        assert list(Epochs(10, 3, 0, 30))[13:] == list(Epochs(10, 3, 13, 30))


@pytest.fixture
def scenes(tmp_path):
    """A folder that holds what the scale smoke would render: roads with one box on each."""
    folder = tmp_path / "out" / "synthetic"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for seed in (*range(24), *range(1_000_000, 1_000_004), *range(1_000_100, 1_000_106)):
        rgb = generator.integers(80, 120, (64, 128, 3), np.uint8)
        label = np.ones((64, 128), np.uint8)
        rgb[30:50, 40:80], label[30:50, 40:80] = 250, 4
        for kind, image in (("rgb", rgb), ("depth", np.full((64, 128), 2000, np.uint16)), ("label", label)):
            cv2.imwrite(str(folder / f"{seed:06d}_{kind}.png"), image)
    return folder


@pytest.mark.slow
def test_table_6_is_reproduced_at_smoke(scenes, tmp_path, capsys):
    """Every runnable row trains, its teachers first, and is scored beside the cited ones."""
    command = ["reproduce", "cwd/table6", "--scale", "smoke", "--out", str(tmp_path / "out"), "--data_root", "none"]
    assert main([*command, "--rows", "retinanet_ours"]) == 0
    report = json.loads((tmp_path / "out" / "cwd_table6_smoke.json").read_text())
    rows = {row["key"]: row for row in report["rows"]}
    assert sum(bool(row["results"]["AP"]["reported"]) for row in rows.values()) == 13
    assert {key for key, row in rows.items() if row["state"] == "done"} == {
        "retinanet_teacher", "retinanet", "retinanet_ours",
    }  # fmt: skip
    assert {row["state"] for key, row in rows.items() if key.startswith("reppoints")} == {"cited"}
    ours = rows["retinanet_ours"]["results"]
    assert 0 <= ours["AP"]["mean"] <= 100
    assert ours["FPS"]["mean"] > 0
    assert ours["Params (M)"]["mean"] == pytest.approx(rows["retinanet"]["results"]["Params (M)"]["mean"])
    assert rows["retinanet_ours"]["gradient_shares"]["cwd/channel_kl"] > 0
    text = (tmp_path / "out" / "cwd_table6_smoke.md").read_text()
    assert "the detector's own" in text
    assert "whose obstacles have boxes, replace COCO 2017" in text
    assert main([*command, "--rows", "retinanet_ours"]) == 0
    assert "finished before" in capsys.readouterr().out


@pytest.mark.parametrize("option", [["--budget", "cpu"], ["--pictures", "2"]])
def test_what_detectors_do_not_have_is_refused(option, tmp_path, capsys):
    assert main(["reproduce", "cwd/table6", "--scale", "smoke", "--out", str(tmp_path), *option]) == 1
    assert "leave --budget and --pictures out" in capsys.readouterr().err
