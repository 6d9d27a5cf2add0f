# SPDX-License-Identifier: Apache-2.0
import dataclasses
import itertools
import json
import os
import signal

import pytest
import torch
import yaml

from road_kd_seg.bundle import load_bundle
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, Taxonomy
from road_kd_training.augment import mix
from road_kd_training.checkpoints import LAST
from road_kd_training.config import AugmentConfig, DataConfig, InputConfig, NetworkConfig, TrainConfig
from road_kd_training.data import common_taxonomy
from road_kd_training.datasets import build_dataset
from road_kd_training.engine import STUDENT, Trainer
from road_kd_training.errors import TrainingError
from road_kd_training.evaluate import score_dataset
from road_kd_training.run_folder import read_result
from road_kd_training.schedules import learning_rate


@pytest.fixture
def config(stereo_tree, tmp_path):
    def data(split):
        return [DataConfig("stereo_pothole", {"root": str(stereo_tree), "split": split})]

    return TrainConfig(
        name="tiny",
        network=NetworkConfig("erfnet", {"depth_channels": 1}),
        train=data("train"),
        validation=data("validation"),
        output=str(tmp_path / "run"),
        input=InputConfig(height=32, width=64),
        augment=AugmentConfig(),
        steps=4,
        batch_size=2,
        warmup_steps=1,
        ema_decay=0.5,
        mixed_precision="no",
        num_workers=0,
        validate_every=4,
    )


class InterruptedTrainer(Trainer):
    """Somebody presses Ctrl-C in the midst of the third step."""

    def _train_step(self, *batch):
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return super()._train_step(*batch)


def weights_of(folder):
    return torch.load(folder, weights_only=True)["averages"][STUDENT]


class TestTrainer:
    def test_interrupt_and_resume_give_the_same_weights_as_one_run(self, config, tmp_path):
        Trainer(config).run()
        halved = dataclasses.replace(config, output=str(tmp_path / "halved"))
        with pytest.raises(KeyboardInterrupt):
            InterruptedTrainer(halved).run()
        assert torch.load(tmp_path / "halved" / LAST, weights_only=True)["step"] == 3
        Trainer(halved).run()
        whole, resumed = weights_of(tmp_path / "run" / LAST), weights_of(tmp_path / "halved" / LAST)
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)

    def test_the_bundle_segments_and_says_where_it_comes_from(self, config):
        bundle = Trainer(config).run()
        segmenter = Segmenter.from_bundle(bundle, device="cpu")
        score = score_dataset(segmenter, build_dataset("stereo_pothole", **config.validation[0].options))
        provenance = load_bundle(bundle).provenance
        assert provenance["step"] == 4
        assert provenance["validation"]["stereo_pothole"] == score.to_dict(segmenter.taxonomy)
        assert json.loads((bundle.parent / "config.json").read_text())["steps"] == 4

    def test_runs_of_one_process_may_differ_in_precision(self, config, tmp_path):
        for precision in ("bf16", "no"):
            trainer = Trainer(dataclasses.replace(config, mixed_precision=precision, output=str(tmp_path / precision)))
            assert trainer.accelerator.mixed_precision == precision

    def test_a_loss_that_is_not_finite_stops_the_run(self, config):
        trainer = Trainer(config)
        next(trainer.components.learner.student.parameters()).data.fill_(float("inf"))
        with pytest.raises(TrainingError, match="cross_entropy is (nan|inf) at step 0: lower learning_rate"):
            trainer.run()

    def test_class_weights_must_fit_the_classes(self, config):
        with pytest.raises(TrainingError, match="has 2 values, expected 5: one each for background, road"):
            Trainer(dataclasses.replace(config, class_weights=[1.0, 2.0]))

    def test_a_second_stage_starts_from_the_first_ones_weights(self, config, tmp_path):
        first = Trainer(config).run()
        second = Trainer(dataclasses.replace(config, output=str(tmp_path / "second"), init_from=str(first)))
        shipped = load_bundle(first).build_network().state_dict()
        started = second.learner.networks[STUDENT].state_dict()
        assert all(torch.equal(shipped[key], started[key]) for key in shipped)

    def test_other_colors_of_the_classes_do_not_matter(self, config, tmp_path):
        first = Trainer(config).run()
        manifest = yaml.safe_load((first / "model.yaml").read_text())
        manifest["classes"][1]["color"] = [1, 2, 3]
        (first / "model.yaml").write_text(yaml.safe_dump(manifest))
        assert Trainer(dataclasses.replace(config, output=str(tmp_path / "second"), init_from=str(first))).step == 0

    def test_weights_of_another_network_are_refused(self, config, tiny_bundle):
        other = dataclasses.replace(config, network=NetworkConfig("mfnet"), init_from=str(tiny_bundle))
        with pytest.raises(TrainingError, match="holds network erfnet .*: set network to the same"):
            Trainer(other)

    def test_a_damaged_checkpoint_says_what_to_do(self, config, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / LAST).write_bytes(b"half a check")
        with pytest.raises(TrainingError, match=r"last.pt is damaged .*: delete it to start over"):
            Trainer(config)

    def test_another_recipe_in_the_same_folder_is_refused(self, config):
        Trainer(config).run()
        with pytest.raises(TrainingError, match="holds a run with another batch_size, seed: choose another output"):
            Trainer(dataclasses.replace(config, seed=1, batch_size=3))

    def test_a_finished_run_returns_at_once_with_the_same_result(self, config):
        folder = Trainer(config).run().parent
        result = read_result(folder)
        Trainer(config).run()
        assert read_result(folder) == result
        assert result["steps"] == 4
        assert set(result["validation"]) == {"stereo_pothole"}

    def test_without_a_better_score_for_some_validations_it_ends_early(self, config, monkeypatch):
        monkeypatch.setattr("road_kd_training.engine.mean_selection", lambda scores: 0.5)
        still = dataclasses.replace(config, validate_every=1, patience=2, steps=9)
        folder = Trainer(still).run().parent
        assert read_result(folder)["steps"] == 3
        assert read_result(folder)["best_step"] == 1

    def test_a_full_disk_is_named(self, config, monkeypatch):
        def no_space(handle):
            if "last.pt" in os.readlink(f"/proc/self/fd/{handle}"):
                raise OSError(28, "No space left on device")

        trainer = Trainer(config)
        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(TrainingError, match=r"last.pt: cannot be written \(No space left .*\): free some space"):
            trainer.run()

    def test_out_of_memory_names_the_stage_and_the_last_good_checkpoint(self, config):
        trainer = Trainer(config)
        trainer.learner.student.forward = exhaust
        with pytest.raises(
            TrainingError, match="out of memory in the student's forward pass at step 0: .*there is no checkpoint yet"
        ):
            trainer.run()

    def test_datasets_of_different_classes_are_refused(self, config, monkeypatch):
        other = Taxonomy(DEFAULT_TAXONOMY.classes[:2])
        trainer_data = [*config.validation, config.train[0]]
        datasets = [build_dataset("stereo_pothole", **one.options) for one in trainer_data]
        datasets[1].taxonomy = other
        with pytest.raises(TrainingError, match=r"has classes \['background', 'road'\], 'stereo_pothole' has"):
            common_taxonomy(trainer_data, datasets)


def exhaust(*_):
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_the_learning_rate_warms_up_and_decays_to_nothing(config):
    config = dataclasses.replace(config, steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9]
    assert rates[50] == pytest.approx(0.5**0.9)
    assert rates[-1] == pytest.approx(0.01**0.9)
    assert all(a > b for a, b in itertools.pairwise(rates[9:]))


class TestSchedules:
    def rates(self, config, **changes):
        config = dataclasses.replace(config, steps=100, warmup_steps=0, learning_rate=1.0, **changes)
        return [learning_rate(config, step) for step in range(100)]

    def test_exponential_ends_near_gamma_by_equal_factors(self, config):
        rates = self.rates(config, schedule="exponential", gamma=0.01)
        assert rates[-1] == pytest.approx(0.01**0.99)
        assert rates[1] / rates[0] == pytest.approx(rates[99] / rates[98])

    def test_step_falls_at_each_milestone(self, config):
        rates = self.rates(config, schedule="step", gamma=0.5, milestones=[10, 20])
        assert (rates[9], rates[10], rates[19], rates[20], rates[99]) == (1, 0.5, 0.5, 0.25, 0.25)

    def test_constant_stays(self, config):
        assert set(self.rates(config, schedule="constant")) == {1.0}


def test_cosine_falls_along_half_a_wave(config):
    config = dataclasses.replace(config, steps=100, warmup_steps=0, learning_rate=1.0, schedule="cosine")
    assert [learning_rate(config, step) for step in (0, 50)] == pytest.approx([1.0, 0.5])
    assert learning_rate(config, 99) < 1e-3


def test_the_encoders_rate_is_scaled(config):
    network = NetworkConfig("lite0_fpn", {"depth_channels": 1})
    scaled = dataclasses.replace(config, network=network, encoder_learning_rate_factor=0.1)
    groups = Trainer(scaled).optimizers[0].param_groups
    assert [group["rate_factor"] for group in groups] == [0.1, 1.0]


class TestMixup:
    def test_each_mixture_lies_between_two_images_and_has_no_label(self):
        torch.manual_seed(0)
        rgb = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(4, 2, 2, 3) * 60
        mixed, label = mix(rgb, torch.zeros(4, 2, 2, dtype=torch.long))
        assert mixed.dtype == torch.uint8
        assert (mixed.flatten(1) == mixed.flatten(1)[:, :1]).all()
        assert mixed.max() <= 180
        assert (label == 255).all()
        assert not torch.equal(mixed, rgb)
