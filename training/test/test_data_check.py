# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the data is said before the first step, and nothing that was learned is lost."""

import dataclasses
import subprocess
import sys

import cv2
import numpy as np
import pytest

from road_kd_training.checkpoints import LAST
from road_kd_training.config import AugmentConfig, DataConfig, InputConfig, NetworkConfig, TrainConfig
from road_kd_training.data import from_worker
from road_kd_training.engine import Trainer
from road_kd_training.errors import DatasetError, TrainingError
from road_kd_training.run_folder import CONFIG, claim_folder, locked

HEIGHT, WIDTH, FRAMES = 32, 48, 3


def write_frames(root, *, label=None, depth=None, suffix=".png"):
    """Frames whose labels and depth are what these functions of the frame's number return; None leaves a file out."""
    random = np.random.default_rng(0)
    images = {
        "rgb": lambda i: random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
        "label": label or (lambda i: random.integers(0, 5, (HEIGHT, WIDTH), np.uint8)),
        "depth": depth or (lambda i: None),
    }
    for kind, make in images.items():
        for i in range(FRAMES):
            if (image := make(i)) is not None:
                (root / kind).mkdir(parents=True, exist_ok=True)
                name = f"f{i}{suffix if kind == 'depth' else '.png'}"
                cv2.imwrite(str(root / kind / name), image)
    return root


def millimeters(value=3000):
    return lambda i: np.full((HEIGHT, WIDTH), value, np.uint16)


@pytest.fixture
def good(tmp_path):
    return write_frames(tmp_path / "good", depth=millimeters())


def recipe(tmp_path, train, validation, *, network="mfnet_rgb", depth="none", **changes):
    def data(root):
        return [DataConfig("frames", {"root": str(root)})]

    return TrainConfig(
        name="t",
        network=NetworkConfig(network, {}),
        train=data(train),
        validation=data(validation),
        output=str(tmp_path / "run"),
        input=InputConfig(height=HEIGHT, width=WIDTH, depth=depth),
        augment=changes.pop("augment", AugmentConfig()),
        steps=2,
        warmup_steps=1,
        batch_size=1,
        num_workers=changes.pop("num_workers", 0),
        mixed_precision="no",
        validate_every=2,
        **changes,
    )


def refuse(config, match, error=(DatasetError, TrainingError)):
    with pytest.raises(error, match=match):
        Trainer(config).run()
    assert not (Trainer(config).folder / LAST).exists()  # not a step was done


class TestBeforeTheFirstStep:
    def test_an_unknown_label_in_training_or_validation_is_found(self, tmp_path, good):
        bad = write_frames(tmp_path / "bad", label=lambda i: np.full((HEIGHT, WIDTH), 7 * (i == 2), np.uint8))
        refuse(recipe(tmp_path, bad, good), "f2.png: holds label values 7")
        refuse(recipe(tmp_path, good, bad), "f2.png: holds label values 7")

    def test_a_label_of_another_size_is_found(self, tmp_path, good):
        bad = write_frames(tmp_path / "bad", label=lambda i: np.zeros((HEIGHT, WIDTH - (i == 2)), np.uint8))
        refuse(recipe(tmp_path, good, bad), "f2.png: label is")

    @pytest.mark.parametrize("label", [lambda i: np.full((HEIGHT, WIDTH), 255, np.uint8), lambda i: None])
    def test_validation_needs_a_labeled_pixel(self, tmp_path, good, label):
        bad = write_frames(tmp_path / "bad", label=label)
        refuse(recipe(tmp_path, good, bad), "validation dataset 'frames' has no labeled pixel in its 3 samples")

    def test_training_needs_labels(self, tmp_path, good):
        refuse(recipe(tmp_path, write_frames(tmp_path / "bad", label=lambda i: None), good), "has no label: list")


class TestDepth:
    def test_a_network_that_takes_depth_is_not_fed_zeros(self, tmp_path, good):
        for depth, found in ((None, "none of the samples"), (lambda i: millimeters()(i) if i else None, "2 of 3")):
            bad = write_frames(tmp_path / f"bad{found[0]}", depth=depth)
            rgbd = {"network": "mfnet", "depth": "plane_residual"}
            refuse(recipe(tmp_path, bad, good, **rgbd), f"{found}.* checked has depth, sample .* has none")
            refuse(recipe(tmp_path, good, bad, **rgbd), "has none, and the network requires depth")

    def test_files_of_another_kind_are_named(self, tmp_path):
        bad = write_frames(tmp_path / "bad", depth=lambda i: np.ones((HEIGHT, WIDTH), np.float32), suffix=".tiff")
        with pytest.raises(DatasetError, match=r"depth holds f\d\.tiff and no ID\.png"):
            Trainer(recipe(tmp_path, bad, bad))

    def test_where_training_drops_it_it_may_be_missing(self, tmp_path, good):
        bad = write_frames(tmp_path / "bad", depth=lambda i: millimeters()(i) if i else None)
        lenient = {"network": "mfnet", "depth": "plane_residual", "augment": AugmentConfig(drop_depth=0.5)}
        refuse(recipe(tmp_path, good, bad, **lenient), "the network requires depth")
        assert Trainer(recipe(tmp_path, bad, good, **lenient)).run().is_dir()

    def test_an_implausible_unit_is_said(self, tmp_path, capfd):
        tenths = write_frames(tmp_path / "tenths", depth=millimeters(30_000))
        Trainer(recipe(tmp_path, tenths, tenths, network="mfnet", depth="plane_residual")).run()
        assert "its unit is probably 0.1 mm" in " ".join(capfd.readouterr().out.split())


class TestNothingIsLost:
    def test_an_error_during_training_leaves_a_checkpoint(self, tmp_path, good):
        trainer = Trainer(dataclasses.replace(recipe(tmp_path, good, good), num_workers=0))
        step = trainer._train_step

        def then_remove(*batch):
            for path in (good / "rgb").iterdir():
                path.unlink(missing_ok=True)
            return step(*batch)

        trainer._train_step = then_remove
        with pytest.raises(DatasetError, match="no such file"):
            trainer.run()
        assert (trainer.folder / LAST).is_file()

    def test_an_error_of_a_loaders_process_is_its_own_message(self):
        wrapped = DatasetError("Caught it.\nOriginal Traceback:\n File x\npkg.DatasetError: a.png: bad")
        assert str(from_worker(wrapped)) == "a.png: bad"


class TestRunFolder:
    def test_a_folder_without_a_checkpoint_is_taken_over(self, tmp_path, good):
        claim_folder(tmp_path / "run", recipe(tmp_path, tmp_path / "mistyped", good))
        claim_folder(tmp_path / "run", recipe(tmp_path, good, good))
        assert str(good) in (tmp_path / "run" / CONFIG).read_text()

    def test_a_second_process_is_refused_and_told_which_is_the_first(self, tmp_path):
        script = (
            "import sys, pathlib\nfrom road_kd_training.run_folder import locked\n"
            "with locked(pathlib.Path(sys.argv[1])):\n print('locked', flush=True)\n sys.stdin.read()"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout.readline() == "locked\n"
        with (
            pytest.raises(TrainingError, match=rf"another road-kd \(process {child.pid}\) trains here"),
            locked(tmp_path),
        ):
            pass
        child.communicate()
        with locked(tmp_path):
            pass


class TestHiddenFiles:
    def test_what_macos_and_jupyter_leave_is_no_frame(self, tmp_path, good):
        for folder in ("rgb", "label", "depth"):
            (good / folder / "._f0.png").write_bytes(b"\0\5\x16\7Mac OS X")
            (good / folder / ".ipynb_checkpoints").mkdir()
            (good / folder / ".ipynb_checkpoints" / "f0-checkpoint.png").write_bytes(b"")
        assert Trainer(recipe(tmp_path, good, good)).run().is_dir()
