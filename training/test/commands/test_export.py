# SPDX-License-Identifier: Apache-2.0
import hashlib
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file

from road_kd_seg.bundle import GOLDEN, ONNX, WEIGHTS, load_bundle, save_bundle
from road_kd_training.checkpoints import load_checkpoint
from road_kd_training.cli import main
from road_kd_training.model_card import CARD, model_card


@pytest.fixture
def fails(capsys):
    """Runs road-kd, which must fail with one line on stderr and no traceback; gives that line."""

    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        return line

    return run


def export(*arguments):
    assert main(["export", *(str(argument) for argument in arguments)]) == 0


def contents(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.fixture
def trained(recipe, tmp_path):
    """A run of two steps, of which the first was validated and is the best."""
    assert main(["train", "--config", str(recipe), "--steps", "2"]) == 0
    return tmp_path / "run"


class TestOfARun:
    def test_the_best_weights_and_their_scores_with_the_split_or_the_last_without(self, trained, stereo_tree, tmp_path):
        export(trained, "--out", tmp_path / "best")
        best = load_bundle(tmp_path / "best")
        assert best.weights_sha256 == load_bundle(trained / "bundle").weights_sha256
        assert best.provenance["validation_data"] == [
            {"dataset": "stereo_pothole", "options": {"root": str(stereo_tree), "split": "validation"}}
        ]
        card = (tmp_path / "best" / CARD).read_text()
        score = best.provenance["validation"]["stereo_pothole"]
        row = f"| dataset stereo_pothole, options root {stereo_tree}, split validation | 2 | {score['miou']:.3f} |"
        assert row in card

        export(trained, "--out", tmp_path / "last", "--weights", "last", "--name", "late")
        last = load_bundle(tmp_path / "last")
        averaged = load_checkpoint(trained)["averages"][-1]
        stored = load_file(tmp_path / "last" / WEIGHTS)
        assert all(torch.equal(stored[key], value) for key, value in averaged.items())
        assert (last.name, last.provenance["step"], last.provenance["validation"]) == ("late", 2, {})
        assert "Not measured: `road-kd evaluate` does." in (tmp_path / "last" / CARD).read_text()

    def test_one_that_was_never_validated_is_refused(self, tmp_path, fails):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "last.pt").touch()
        assert "has no bundle yet, it has not been validated: resume training" in fails(
            "export", tmp_path / "run", "--out", tmp_path / "new"
        )

    def test_a_checkpoint_of_another_network_is_refused(self, tiny_bundle, tmp_path, fails):
        shutil.copytree(tiny_bundle, tmp_path / "run" / "bundle")
        arguments = ["export", tmp_path / "run", "--out", tmp_path / "new", "--weights", "last"]
        assert "has no last.pt: export its best weights" in fails(*arguments)
        torch.save({"averages": {-1: {"other": torch.zeros(1)}}, "step": 1}, tmp_path / "run" / "last.pt")
        assert "last.pt does not fit the run's bundle" in fails(*arguments)
        (tmp_path / "run" / "config.json").write_text("{")
        assert "config.json cannot be read" in fails(*arguments)


class TestOfABundle:
    def test_everything_but_the_name_stays(self, tiny_bundle, tmp_path, capsys):
        export(tiny_bundle, "--out", tmp_path / "new", "--name", "other")
        old, new = load_bundle(tiny_bundle), load_bundle(tmp_path / "new")
        assert new.name == "other"
        same = ("network", "network_kwargs", "taxonomy", "input", "weights_sha256", "provenance", "onnx_sha256")
        assert all(getattr(old, key) == getattr(new, key) for key in same)
        assert "wrote" in capsys.readouterr().out
        assert sorted(contents(tmp_path / "new")) == sorted([CARD, GOLDEN, "model.yaml", WEIGHTS])
        assert [path.name for path in tmp_path.iterdir()] == ["new"]  # nothing temporary is left

    def test_last_weights_are_for_runs(self, tiny_bundle, tmp_path, fails):
        line = fails("export", tiny_bundle, "--out", tmp_path / "new", "--weights", "last")
        assert "is no run, so it has no last weights: leave --weights out" in line

    def test_no_bundle_says_where_it_was_looked_for(self, tmp_path, fails):
        assert "no model.yaml in" in fails("export", tmp_path / "nowhere", "--out", tmp_path / "new")

    def test_a_large_one_is_warned_about(self, tmp_path, capsys):
        from road_kd_seg.networks import build_network
        from road_kd_seg.preprocess.input_spec import InputSpec
        from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

        source = save_bundle(
            tmp_path / "large",
            build_network("pspnet_r18_half", len(DEFAULT_TAXONOMY)),
            name="large",
            network_name="pspnet_r18_half",
            network_kwargs={},
            taxonomy=DEFAULT_TAXONOMY,
            input_spec=InputSpec((64, 64)),
        )
        export(source, "--out", tmp_path / "new")
        assert "warning: more than the 10 MB" in capsys.readouterr().out


class TestOnnx:
    def test_is_written_compared_and_kept_with_the_card_that_people_wrote(self, tiny_bundle, tmp_path, capsys, fails):
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        out = tmp_path / "new"
        export(tiny_bundle, "--out", out)
        (out / CARD).write_text("by hand")
        export(tiny_bundle, "--out", out, "--onnx")  # the same model again
        printed = capsys.readouterr().out
        assert "model.onnx against PyTorch, random input: 100.0000% of pixels agree" in printed
        assert printed.count("against PyTorch, synthetic scene") == 2
        assert load_bundle(out).read_attachment("onnx") == (out / ONNX).read_bytes()
        assert (out / CARD).read_text() == "by hand"

        before = contents(out)
        assert "with a model.onnx: add --onnx to rewrite it" in fails("export", tiny_bundle, "--out", out)
        assert contents(out) == before
        export(tiny_bundle, "--out", out, "--force")
        assert not (out / ONNX).exists()
        assert load_bundle(out).onnx_sha256 is None
        assert (out / CARD).read_text().startswith("# tiny")


class TestWhatIsThere:
    def test_another_model_is_replaced_only_when_told(self, tiny_bundle, tmp_path, fails):
        out = tmp_path / "new"
        export(tiny_bundle, "--out", out)
        before = contents(out)
        line = fails("export", tiny_bundle, "--out", out, "--name", "other")
        assert "holds 'tiny' (erfnet, weights" in line
        assert line.endswith("choose another --out, or replace it with --force")
        assert contents(out) == before
        export(tiny_bundle, "--out", out, "--name", "other", "--force")
        assert load_bundle(out).name == "other"

    def test_the_source_itself_is_never_written_onto(self, tiny_bundle, tmp_path, fails):
        source = shutil.copytree(tiny_bundle, tmp_path / "source")
        before = contents(source)
        assert "is the source itself: choose another --out" in fails("export", source, "--out", source, "--force")
        assert contents(source) == before

    def test_a_damaged_bundle_and_foreign_files_are_not_touched(self, tiny_bundle, tmp_path, fails):
        out = shutil.copytree(tiny_bundle, tmp_path / "new")
        (out / WEIGHTS).write_bytes(b"short")
        assert "holds a damaged bundle" in fails("export", tiny_bundle, "--out", out)
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter1.tex").touch()
        assert "holds something that is no bundle" in fails("export", tiny_bundle, "--out", tmp_path / "thesis")

    def test_a_place_that_cannot_be_written_is_named(self, tiny_bundle, tmp_path, fails):
        (tmp_path / "file").touch()
        assert "cannot be written" in fails("export", tiny_bundle, "--out", tmp_path / "file" / "new")


class TestModelCard:
    def test_says_who_taught_it_and_how(self, tiny_bundle, tmp_path):
        folder = shutil.copytree(tiny_bundle, tmp_path / "new")
        manifest = yaml.safe_load((folder / "model.yaml").read_text())
        manifest["provenance"] = {
            "step": 7,
            "train": [{"dataset": "synthetic", "options": {"root": "out"}, "weight": 1.0}],
            "teachers": [{"bundle": "runs/teacher/bundle", "network": None, "input": None}],
            "distillers": [{"method": "cwd", "options": {"temperature": 3.0}, "weights": None, "teachers": None}],
            "weights": {"cross_entropy": 1.0, "cwd/channel_kl": 3.0},
            "validation": {"synthetic": {"frames": 60, "miou": 0.5, "iou": {"road": 0.75}}},
        }
        (folder / "model.yaml").write_text(yaml.safe_dump(manifest))
        card = model_card(load_bundle(folder), 2_064_362, "road-kd export here --out there")
        for line in (
            "| network | `erfnet` (depth_channels: 1), 2,064,362 parameters |",
            "- train: dataset synthetic, options root out, weight 1.0",
            "- teachers: bundle runs/teacher/bundle",
            "- distillers: method cwd, options temperature 3.0",
            "- weights of the loss's terms: cross_entropy 1.0, cwd/channel_kl 3.0",
            "| step | 7 |",
            "| synthetic | 60 | 0.500 | – | 0.750 | – | – | – |",
            "road-kd export here --out there",
        ):
            assert line in card.splitlines()

    def test_what_nobody_recorded_is_said(self, tiny_bundle):
        lines = model_card(load_bundle(tiny_bundle), 1, "x").splitlines()
        assert "- train: not recorded" in lines
        assert "- teachers: none" in lines
        assert "Not measured: `road-kd evaluate` does." in lines


class TestAverage:
    @pytest.mark.parametrize("share", [0, 0.25, 1])
    def test_weights_lie_between_the_two_by_the_share(self, tiny_bundle, other_bundle, tmp_path, share):
        export(tiny_bundle, "--average", other_bundle, "--share", share, "--out", tmp_path / "mean")
        ours, theirs, mean = (load_file(folder / WEIGHTS) for folder in (tiny_bundle, other_bundle, tmp_path / "mean"))
        for key, value in mean.items():
            if value.is_floating_point():
                torch.testing.assert_close(value, (1 - share) * ours[key] + share * theirs[key])
        provenance = load_bundle(tmp_path / "mean").provenance
        assert provenance["average"].startswith(f"{share:g} of the weights ")
        assert not provenance["validation"]  # the scores of one are not those of the mean

    def test_another_network_or_a_share_beyond_1_is_refused(self, tiny_bundle, other_bundle, trained, tmp_path, fails):
        line = fails("export", tiny_bundle, "--average", trained, "--out", tmp_path / "mean")
        assert "cannot be averaged: " in line
        assert " against " in line
        line = fails("export", tiny_bundle, "--average", other_bundle, "--share", 1.5, "--out", tmp_path / "mean")
        assert "share is 1.5, expected from 0 to 1" in line
        assert not (tmp_path / "mean").exists()
