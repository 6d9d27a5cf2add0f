# SPDX-License-Identifier: Apache-2.0
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from rich.console import Console

from distilled_runs import CWD, InterruptedTrainer, distilled_run, tiny_data
from road_kd_seg.networks import SegOutput
from road_kd_seg.preprocess.input_spec import InputSpec
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training import storing
from road_kd_training.augment import Augment, Crop, windows_alone
from road_kd_training.checkpoints import LAST
from road_kd_training.config import (
    AugmentConfig,
    DataConfig,
    DistillerConfig,
    InputConfig,
    NetworkConfig,
    TeacherConfig,
    TrainConfig,
)
from road_kd_training.data import Draw, DrawnExamples, Pool, training_loader
from road_kd_training.datasets.apolloscape_lane import LANE_MARKS
from road_kd_training.datasets.common.sample import RgbdSample
from road_kd_training.datasets.culane import EGO_LANES
from road_kd_training.engine import Trainer
from road_kd_training.errors import DatasetError, TrainingError
from road_kd_training.stored_outputs import FOLDER, Place, mirrored_classes
from road_kd_training.storing import store_outputs
from road_kd_training.teachers import Teacher

CROPS, IMAGES = 3, 4
ALL_AT_ONCE = AugmentConfig(
    flip=0.5, depth_scale=0.5, relief_scale=0.5, weather=1.0, depth_noise=1.0, far_road=0.5, drop_depth=0.5
)


class Images(list):
    taxonomy = EGO_LANES


class ClassOfColor:
    """A teacher that reads the class of each pixel off its red, and counts what it sees."""

    def __init__(self, weights="a", sees=10**6):
        self.bundle = SimpleNamespace(weights_sha256=weights, network="n", network_kwargs={}, input=InputSpec((32, 64)))
        self.network = SimpleNamespace(logits_stride=1, num_classes=len(EGO_LANES))
        self.seen, self.sees = 0, sees

    def __call__(self, rgb, depth_m, plane):
        self.seen += len(rgb)
        if self.seen > self.sees:
            raise KeyboardInterrupt
        classes = torch.nn.functional.one_hot(rgb[..., 0].long() // 40, len(EGO_LANES))
        return SegOutput(9.0 * classes.movedim(-1, 1), {})


def image(seed, sides=(64, 128)):
    """Every pixel's red says its class."""
    label = np.random.default_rng(seed).integers(0, len(EGO_LANES), sides, np.uint8)
    return RgbdSample(np.stack([40 * label + 20, label, label], -1), None, label, f"image_{seed}")


@pytest.fixture
def pools():
    return [
        Pool([Images(image(10 * source + i) for i in range(IMAGES // 2)) for source in (1, 2)], [1.0, 1.0], 4, True)
    ]


@pytest.fixture
def config(tmp_path):
    """Windows of half an image's sides, that is at its own resolution, so that labels and colors agree to the pixel."""
    return TrainConfig(
        name="tiny",
        network=NetworkConfig("enet"),
        train=[DataConfig("one"), DataConfig("two")],
        validation=[],
        output=str(tmp_path / "run"),
        teachers=[TeacherConfig(bundle="there")],
        input=InputConfig(32, 64, depth="none"),
        augment=AugmentConfig(min_scale=2.0, max_scale=2.0, hue=0.0),
        steps=12,
        batch_size=4,
        num_workers=0,
        stored_crops=CROPS,
    )


def store_of(config, pools, *teachers):
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    return store_outputs(config, pools, dict(enumerate(teachers)), accelerator, Console(quiet=True))


def agreement(config, pools, store, workers=0):
    """Share of pixels, over a run, whose label is the stored class."""
    config = dataclasses.replace(config, num_workers=workers)
    batches = list(training_loader(config, pools, 0, 1, store))
    return np.mean([(outputs[0].argmax(1) == label).float().mean() for _, _, label, _, outputs in batches])


class TestStore:
    @pytest.mark.parametrize("workers", [0, 1])
    def test_labels_and_stored_logits_of_a_batch_are_of_the_same_crop_and_mirror_image(self, config, pools, workers):
        store = store_of(config, pools, ClassOfColor())
        assert agreement(config, pools, store, workers) == 1.0

    @pytest.mark.parametrize("poison", ["other crop", "other image", "not mirrored", "classes not swapped"])
    def test_what_belongs_to_another_crop_is_seen(self, config, pools, poison):
        """That the test above can fail."""
        store = store_of(config, pools, ClassOfColor())
        folder = store.folders[0]
        if poison == "other crop":
            store = dataclasses.replace(store, seed=store.seed + 1)
        elif poison == "other image":
            a, b = sorted(folder.iterdir())[:2]
            a.rename(folder / "x"), b.rename(a), (folder / "x").rename(b)
        elif poison == "not mirrored":
            config = dataclasses.replace(config, augment=dataclasses.replace(config.augment, flip=1.0))
            for path in folder.iterdir():
                np.save(path, np.load(path)[..., ::-1])
        else:
            store = dataclasses.replace(store, mirrored_classes=tuple(range(len(EGO_LANES))))
        assert agreement(config, pools, store) < 0.9

    def test_each_crop_is_seen_once_by_each_teacher_and_never_again(self, config, pools):
        teachers = ClassOfColor("a"), ClassOfColor("b")
        for _ in range(2):
            store = store_of(config, pools, *teachers)
        assert [teacher.seen for teacher in teachers] == [CROPS * IMAGES] * 2
        assert len(set(store.folders.values())) == 2

    def test_a_store_that_was_interrupted_is_completed(self, config, pools):
        with pytest.raises(KeyboardInterrupt):
            store_of(config, pools, ClassOfColor(sees=2 * CROPS * 2 - 1))
        rest = ClassOfColor()
        store = store_of(config, pools, rest)
        assert rest.seen == CROPS * IMAGES - 2 * CROPS
        assert agreement(config, pools, store) == 1.0

    @pytest.mark.parametrize(
        "changes",
        [
            {"seed": 1},
            {"stored_crops": CROPS + 1},
            {"train": [DataConfig("one"), DataConfig("two", {"split": "all"})]},
            {"input": InputConfig(16, 64, depth="none")},
            {"augment": AugmentConfig(min_scale=1.5, max_scale=2.0)},
            {"teacher_view": 2.0},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_another_seed_recipe_of_crops_or_teacher_never_meets_old_outputs(self, config, pools, changes):
        old = store_of(config, pools, ClassOfColor())
        teacher, other_weights = ClassOfColor(), ClassOfColor("b")
        other = store_of(dataclasses.replace(config, **changes), pools, teacher)
        assert teacher.seen
        assert other.folders[0] != old.folders[0]
        assert store_of(config, pools, other_weights).folders[0] != old.folders[0]
        assert other_weights.seen

    def test_colors_are_no_other_crops(self, config, pools):
        store_of(config, pools, ClassOfColor())
        teacher = ClassOfColor()
        augment = dataclasses.replace(config.augment, brightness=0.1, weather=0.5)
        store_of(dataclasses.replace(config, augment=augment), pools, teacher)
        assert teacher.seen == 0

    def test_an_image_that_was_changed_is_named_and_its_old_outputs_are_not_taken(self, config, pools):
        store = store_of(config, pools, ClassOfColor())
        pools[0].sources[1][0] = image(99)
        with pytest.raises(DatasetError, match="image_99 has changed since teacher 0's outputs were stored: delete"):
            agreement(config, pools, store)

    def test_a_damaged_file_is_named(self, config, pools):
        store = store_of(config, pools, ClassOfColor())
        path = min(store.folders[0].iterdir())
        path.write_bytes(path.read_bytes()[:500])
        with pytest.raises(DatasetError, match=rf"{path.name} cannot be read: .*: delete it, and it is stored again"):
            agreement(config, pools, store)
        path.unlink()
        assert agreement(config, pools, store_of(config, pools, ClassOfColor())) == 1.0

    def test_a_disk_without_room_is_refused_with_the_size_and_nothing_is_written(
        self, config, pools, monkeypatch, tmp_path
    ):
        monkeypatch.setattr(storing.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
        big = dataclasses.replace(config, stored_crops=100)
        needed = 100 * IMAGES * len(EGO_LANES) * 32 * 64 * 2 / 1e6
        with pytest.raises(TrainingError, match=rf"100 crops of 4 images need {needed:.0f} MB, and 1 MB are free"):
            store_of(big, pools, ClassOfColor())
        assert not list((tmp_path / "run" / FOLDER).rglob("*.npy"))

    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_sample_that_cannot_be_taken_is_named_in_one_line(self, config, pools, workers):
        pools[0].sources[0][1] = dataclasses.replace(image(5), label=None)
        with pytest.raises(
            DatasetError, match="^sample image_5 has no label: list its dataset under unlabeled, or label"
        ):
            store_of(dataclasses.replace(config, num_workers=workers), pools, ClassOfColor())

    def test_it_lies_in_the_cache_of_samples_if_there_is_one(self, config, pools, tmp_path):
        store = store_of(dataclasses.replace(config, sample_cache=str(tmp_path / "cache")), pools, ClassOfColor())
        assert store.folders[0].parent == tmp_path / "cache" / FOLDER

    def test_logits_beyond_half_precision_are_refused(self, config, pools):
        class Huge(ClassOfColor):
            def __call__(self, *seen):
                return SegOutput(1e5 * super().__call__(*seen).logits, {})

        with pytest.raises(TrainingError, match="logits do not fit half precision: set stored_crops to 0"):
            store_of(config, pools, Huge())


class TestCrops:
    def test_stored_logits_are_the_online_teachers_on_the_same_crop(self, config, tiny_bundle):
        """Within half precision: the student's own crop, undisturbed, is shown to the teacher, depth and plane too."""
        generator = np.random.default_rng(0)
        rows = np.linspace(8, 2, 96, dtype=np.float32)[:, None].repeat(128, 1)
        scene = RgbdSample(generator.integers(0, 256, (96, 128, 3), np.uint8), rows, np.zeros((96, 128), np.uint8), "x")
        images = Images([scene])
        images.taxonomy = DEFAULT_TAXONOMY
        pools = [Pool([images], [1.0], 1, True)]
        undisturbed = windows_alone(AugmentConfig(max_scale=2.0))
        config = dataclasses.replace(config, train=[DataConfig("one")], augment=undisturbed)
        teacher = Teacher(str(tiny_bundle), DEFAULT_TAXONOMY, torch.device("cpu"))
        store = store_of(config, pools, teacher)
        examples = DrawnExamples(pools, Augment(undisturbed, config.input, DEFAULT_TAXONOMY), config.seed, store)
        for position in range(6):
            *example, outputs = examples[Draw(position, 0, 0, 0)]
            rgb, depth_m, _, plane = (part[None] for part in example)
            online = teacher(rgb, depth_m, plane).logits[0]
            assert outputs[0].dtype == torch.float16
            torch.testing.assert_close(outputs[0].float(), online, rtol=2**-10, atol=2e-4)

    def test_what_a_teacher_sees_has_nothing_random_but_its_window(self):
        """Fields of tomorrow included: whatever is drawn afresh would not fit what is stored."""
        rgb = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
        sample = RgbdSample(rgb, np.full((64, 128), 2.0, np.float32), rgb[..., 0] % 5, "x")
        augment = Augment(windows_alone(ALL_AT_ONCE), InputConfig(32, 64), DEFAULT_TAXONOMY)
        first, second, other = (augment(sample, Crop(seed, mirrored=False)) for seed in (3, 3, 4))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert not torch.equal(first[0], other[0])

    def test_the_students_windows_are_those_whatever_else_is_drawn(self):
        label = np.arange(64 * 128).reshape(64, 128) % 5
        sample = RgbdSample(np.zeros((64, 128, 3), np.uint8), None, label.astype(np.uint8), "x")
        disturbed, alone = (
            Augment(config, InputConfig(32, 64), DEFAULT_TAXONOMY)
            for config in (ALL_AT_ONCE, windows_alone(ALL_AT_ONCE))
        )
        for seed in range(20):
            assert torch.equal(disturbed(sample, Crop(seed, False))[2], alone(sample, Crop(seed, False))[2])
            assert torch.equal(disturbed(sample, Crop(seed, True))[2].flip(1), alone(sample, Crop(seed, False))[2])

    def test_places_and_numbers_have_crops_of_their_own(self, config, pools):
        store = store_of(config, pools, ClassOfColor())
        all_places = [Place(pool, source, index) for pool in range(2) for source in range(3) for index in range(50)]
        assert len({store.crop_seed(place, crop) for place in all_places for crop in range(8)}) == 2400

    def test_classes_without_a_mirror_image_have_no_channel_there(self):
        assert mirrored_classes(LANE_MARKS.mirror_table, len(LANE_MARKS)) is None
        assert mirrored_classes(EGO_LANES.mirror_table, len(EGO_LANES)) == (0, 4, 3, 2, 1)


@pytest.fixture
def run_config(stereo_tree, tmp_path, tiny_bundle):
    return distilled_run(
        stereo_tree,
        tiny_bundle,
        tmp_path / "run",
        name="tiny_stored",
        distillers=[CWD, DistillerConfig("dense_kd")],
        unlabeled=tiny_data(stereo_tree, "validation"),
        unlabeled_batch_size=1,
        stored_crops=2,
    )


class TestRuns:
    def test_steps_run_no_teacher_and_unlabeled_images_are_stored_too(self, run_config):
        trainer = Trainer(run_config)
        calls = []
        trainer.components.teachers[0].network.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
        trainer.run()
        assert sum(calls) == 2 * 4
        assert trainer.components.zero_terms.seen >= {"cwd/channel_kl", "dense_kd/soft_target_kl"}

    def test_interrupt_and_resume_give_the_same_weights_as_one_run(self, run_config, tmp_path):
        Trainer(run_config).run()
        halved = dataclasses.replace(run_config, output=str(tmp_path / "halved"))
        with pytest.raises(KeyboardInterrupt):
            InterruptedTrainer(halved).run()
        Trainer(halved).run()
        whole, resumed = (
            torch.load(tmp_path / name / LAST, weights_only=True)["learner"] for name in ("run", "halved")
        )
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"mixup": 0.5}, r"mixtures \(mixup\) are other images at every step"),
            ({"distillers": [DistillerConfig("fitnet", {"taps": [["encoder2", "block3"]]})]}, r"fitnet .*\(block3\)"),
            ({"teachers": [], "distillers": []}, "there is no teacher"),
            (
                {"teachers": [TeacherConfig(network=NetworkConfig("enet"))], "distillers": [DistillerConfig("cps")]},
                "teacher 0 learns beside the student",
            ),
        ],
        ids=["mixtures", "features", "no teacher", "peer"],
    )
    def test_what_cannot_be_stored_is_named_before_anything_is(self, run_config, tmp_path, changes, reason):
        with pytest.raises(
            TrainingError, match=rf"stored_crops is 2, but .*{reason}.*: only logits of frozen teachers"
        ):
            Trainer(dataclasses.replace(run_config, **changes))
        assert not (tmp_path / "run" / FOLDER).exists()
