# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import pytest

from road_kd_training.config import MIRRORED_ONLY, DataConfig, InputConfig, NetworkConfig, TrainConfig
from road_kd_training.data import run_data
from road_kd_training.detection.train import DetectionTrainer
from road_kd_training.engine import Trainer
from road_kd_training.errors import DatasetError, TrainingError
from road_kd_training.run_folder import CONFIG, RESULT, claim_folder


@pytest.fixture
def config(tmp_path):
    source = [DataConfig("synthetic", {"root": str(tmp_path / "mistyped"), "num_scenes": 2})]
    return TrainConfig("tiny", NetworkConfig("enet"), source, source, str(tmp_path / "run"), steps=1)


def test_training_longer_is_refused_with_the_way_to_do_it(config, tmp_path):
    claim_folder(tmp_path / "run", config)
    (tmp_path / "run" / RESULT).write_text("{}")
    with pytest.raises(TrainingError, match=r"another steps.*start another run with init_from: .*run/bundle$"):
        claim_folder(tmp_path / "run", dataclasses.replace(config, steps=2))
    with pytest.raises(TrainingError, match="another seed, steps: choose another output, or delete it$"):
        claim_folder(tmp_path / "run", dataclasses.replace(config, steps=2, seed=1))


def test_a_wrong_root_of_synthetic_scenes_is_an_error_and_no_new_folder(config, tmp_path):
    with pytest.raises(DatasetError, match=r"synthetic: root .*mistyped is no folder: .*'road-kd synth"):
        run_data(config)
    assert not (tmp_path / "mistyped").exists()


def test_a_folder_is_claimed_only_once_data_and_networks_stand(config, tmp_path):
    with pytest.raises(DatasetError, match="mistyped"):
        Trainer(dataclasses.replace(config, mixed_precision="no"))
    assert not list((tmp_path / "run").iterdir())


def test_every_root_is_checked_before_anything_is_rendered(config, tmp_path):
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    synthetic = [DataConfig("synthetic", {"root": str(scenes), "num_scenes": 2})]
    wrong = [DataConfig("stereo_pothole", {"root": str(tmp_path / "elsewhere")})]
    with pytest.raises(DatasetError, match="elsewhere"):
        run_data(dataclasses.replace(config, train=synthetic, validation=wrong))
    assert not list(scenes.iterdir())


DETECTION = {
    "network": NetworkConfig("retinanet_r18"),
    "augment": MIRRORED_ONLY,
    "input": InputConfig(64, 96, depth="none"),
}


@pytest.mark.parametrize(
    ("trainer", "changes"),
    [(Trainer, {}), (DetectionTrainer, DETECTION)],
    ids=["segmentation", "detection"],
)
def test_another_runs_folder_is_refused_before_the_data_are_looked_at(config, tmp_path, trainer, changes):
    wanted = dataclasses.replace(config, mixed_precision="no", ema_decay=0.0, **changes)
    claim_folder(tmp_path / "run", wanted)
    (tmp_path / "run" / RESULT).write_text("{}")
    with pytest.raises(TrainingError, match="holds a run with another seed"):
        trainer(dataclasses.replace(wanted, seed=1))
    with pytest.raises(DatasetError):  # of the same run: the data come next, and are not there
        trainer(wanted)


def test_a_run_that_was_begun_before_outputs_could_be_stored_is_resumed(config, tmp_path):
    claim_folder(tmp_path / "run", config)
    (tmp_path / "run" / RESULT).write_text("{}")
    path = tmp_path / "run" / CONFIG
    older = json.loads(path.read_text())
    del older["stored_crops"]
    path.write_text(json.dumps(older))
    claim_folder(tmp_path / "run", config)
    with pytest.raises(TrainingError, match="another stored_crops: choose another output"):
        claim_folder(tmp_path / "run", dataclasses.replace(config, stored_crops=2))
