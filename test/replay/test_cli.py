# SPDX-License-Identifier: Apache-2.0
import csv
import json
import shutil

import cv2
import numpy as np
import pytest
import torch
import yaml

from road_kd_seg.bags.topics import COLOR_TOPIC
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.bundle import save_bundle
from road_kd_seg.networks import build_network
from road_kd_seg.preprocess.input_spec import DepthEncoding, InputSpec
from road_kd_seg.replay.cli import main
from road_kd_seg.synthetic.drive import DriveConfig, render_drive
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, NEGATIVE_OBSTACLE


@pytest.fixture
def bag(tmp_path, frames_of):
    write_bag(tmp_path / "bag", frames_of(range(2), height=48, width=80))
    return tmp_path / "bag"


@pytest.fixture
def fails(capsys):
    """Runs the tool, which must fail with one line on stderr and no traceback; gives that line."""

    def run(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        return line

    return run


class TestOffline:
    def test_a_bag_and_a_model_make_a_report(self, tmp_path, bag, tiny_bundle, capsys):
        out = tmp_path / "out"
        assert main([str(bag), "--model", str(tiny_bundle), "--out", str(out), "--device", "cpu"]) == 0
        report = json.loads((out / "report.json").read_text())
        assert (report["mode"], report["frames"]["published"], report["frames"]["scored"]) == ("offline", 2, 2)
        printed = capsys.readouterr().out
        assert "mIoU" in printed
        assert printed.splitlines()[-1].startswith(f"next: open {out / 'report.html'}")

    def test_onnx_runtime_predicts_like_torch(self, tmp_path, bag, tiny_onnx_bundle):
        reports = {}
        for backend in ("torch", "onnx"):
            out = tmp_path / backend
            arguments = [str(bag), "--model", str(tiny_onnx_bundle), "--out", str(out), "--device", "cpu"]
            assert main([*arguments, "--backend", backend]) == 0
            reports[backend] = json.loads((out / "report.json").read_text())
        assert "onnxruntime" in reports["onnx"]["device"]
        matrices = [np.array(report["metrics"]["confusion_matrix"]) for report in reports.values()]
        assert np.abs(matrices[0] - matrices[1]).sum() <= 2e-3 * matrices[0].sum()  # a tie falls either way

    def test_an_unlabeled_bag_prints_na_instead_of_zero(self, tmp_path, frames_of, tiny_bundle, capsys):
        write_bag(tmp_path / "bag", frames_of(range(2), height=48, width=80, label=False))
        assert main([str(tmp_path / "bag"), "--model", str(tiny_bundle), "--out", str(tmp_path / "out")]) == 0
        assert "n/a (0 labeled frames)" in capsys.readouterr().out

    @pytest.mark.parametrize("domain", ["102", "-1", "one"])
    def test_a_ros_domain_out_of_range_is_refused_by_its_range(self, domain, bag, capsys):
        with pytest.raises(SystemExit) as exit_:
            main([str(bag), f"--domain-id={domain}", "--out", "x", "--live"])
        assert exit_.value.code == 2
        assert f"{domain}: expected a whole number from 0 to 101" in capsys.readouterr().err

    def test_labels_can_come_from_a_folder(self, tmp_path, bag, frames_of, tiny_bundle):
        (tmp_path / "labels").mkdir()
        stamp_ns = frames_of([1])[0].frame.stamp_ns
        cv2.imwrite(str(tmp_path / "labels" / f"{stamp_ns}.png"), np.ones((48, 80), np.uint8))
        out = tmp_path / "out"
        arguments = [bag, "--model", tiny_bundle, "--out", out, "--labels", tmp_path / "labels"]
        assert main([str(argument) for argument in arguments]) == 0
        report = json.loads((out / "report.json").read_text())
        assert (report["frames"]["labeled"], report["frames"]["scored"]) == (1, 1)
        assert sum(map(sum, report["metrics"]["confusion_matrix"])) == 48 * 80

    def test_obstacles_become_a_table_a_map_and_a_list_by_frame(self, tmp_path):
        network = build_network("erfnet", len(DEFAULT_TAXONOMY), depth_channels=1)
        torch.nn.init.constant_(network.classifier.bias, 0.0)
        network.classifier.bias.data[NEGATIVE_OBSTACLE] = 100.0  # whatever it sees is one large pothole
        bundle = save_bundle(
            tmp_path / "sees_potholes",
            network,
            name="sees_potholes",
            network_name="erfnet",
            network_kwargs={"depth_channels": 1},
            taxonomy=DEFAULT_TAXONOMY,
            input_spec=InputSpec((64, 96), DepthEncoding("metric", 0, 10)),
        )
        drive = list(render_drive(DriveConfig(seed=3, num_frames=3, rate_hz=10.0, height=90, width=160)))
        write_bag(tmp_path / "drive", drive)
        out = tmp_path / "out"
        assert main([str(tmp_path / "drive"), "--model", str(bundle), "--out", str(out), "--obstacles"]) == 0
        rows = list(csv.DictReader((out / "obstacles.csv").read_text().splitlines()))
        features = json.loads((out / "obstacles.geojson").read_text())["features"]
        frames = json.loads((out / "obstacles.json").read_text())["frames"]
        assert {row["class"] for row in rows} == {"negative_obstacle"}
        assert [str(feature["id"]) for feature in features] == [row["id"] for row in rows]
        assert {str(each["id"]) for frame in frames for each in frame["obstacles"]} == {row["id"] for row in rows}
        assert [frame["stamp_ns"] for frame in frames] == [frame.stamp_ns for frame, _ in drive]


class TestBaselines:
    def test_another_model_and_an_earlier_report_are_compared_on_the_same_frames(
        self, tmp_path, frames_of, tiny_bundle, capsys
    ):
        write_bag(tmp_path / "bag", frames_of(range(24), height=48, width=80))
        earlier = tmp_path / "earlier"
        arguments = [tmp_path / "bag", "--model", tiny_bundle, "--device", "cpu", "--save-predictions"]
        assert main([str(argument) for argument in (*arguments, "--out", earlier)]) == 0
        others = ["--baseline", tiny_bundle, "--baseline", earlier / "report.json"]
        assert main([str(argument) for argument in (*arguments, "--out", tmp_path / "out", *others)]) == 0
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert [other["common"] for other in report["comparison"]] == [24, 24]
        assert [other["model"] for other in report["comparison"]] == ["tiny", f"tiny ({earlier / 'report.json'})"]
        for other in report["comparison"]:
            assert other["delta"]["miou"] == {"value": 0.0, "low": 0.0, "high": 0.0}
            assert other["agreement"] == {"frames": 24, "pixels": 1.0, "worst": 1.0}
        assert "mIoU minus tiny's" in capsys.readouterr().out

    def test_a_baseline_that_is_not_there_is_found_before_the_run(self, tmp_path, bag, tiny_bundle, fails):
        for name in ("none", "none.json"):
            assert "none" in fails(bag, "--model", tiny_bundle, "--out", tmp_path / "out", "--baseline", name)
        assert not (tmp_path / "out").exists()


class TestRequirements:
    def test_those_that_are_met_change_nothing(self, tmp_path, bag, tiny_bundle):
        arguments = [bag, "--model", tiny_bundle, "--out", tmp_path / "out", "--require", "predicted>=1"]
        assert main([str(argument) for argument in arguments]) == 0
        assert json.loads((tmp_path / "out" / "report.json").read_text())["verdict"]["passed"] is True

    def test_each_that_is_not_is_a_line_and_the_exit_code_is_1(self, tmp_path, bag, tiny_bundle, capsys):
        required = ["predicted>=1", "miou>=0.999", "recall/negative_obstacle@0-2m>=0.999"]
        arguments = [bag, "--model", tiny_bundle, "--out", tmp_path / "out"]
        arguments += [part for gate in required for part in ("--require", gate)]
        assert main([str(argument) for argument in arguments]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(",")[0] for line in lines] == [f"requirement not met: {gate}" for gate in required[1:]]
        assert (tmp_path / "out" / "report.html").exists()

    def test_one_that_cannot_be_read_is_found_before_the_run(self, tmp_path, bag, tiny_bundle, fails):
        assert "'iou/cat' is not measured" in fails(
            bag, "--model", tiny_bundle, "--out", tmp_path / "out", "--require", "iou/cat>=0.5"
        )
        assert not (tmp_path / "out").exists()


class TestOneLineAndExitCodeOne:
    @pytest.mark.parametrize("mode", [[], ["--live"]])
    def test_no_such_model(self, tmp_path, bag, fails, mode):
        assert "no model.yaml in" in fails(bag, "--model", tmp_path / "none", "--out", tmp_path / "out", *mode)

    @pytest.mark.parametrize("mode", [[], ["--live"]])
    def test_weights_that_were_cut_short(self, tmp_path, bag, tiny_bundle, fails, mode):
        broken = shutil.copytree(tiny_bundle, tmp_path / "broken")
        weights = broken / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-10])
        assert "sha256" in fails(bag, "--model", broken, "--out", tmp_path / "out", *mode)

    def test_no_such_bag(self, tmp_path, tiny_bundle, fails):
        assert "no such file or folder" in fails(tmp_path / "none", "--model", tiny_bundle, "--out", tmp_path / "out")

    def test_no_such_topic(self, tmp_path, bag, tiny_bundle, fails):
        line = fails(bag, "--model", tiny_bundle, "--out", tmp_path / "out", "--color-topic", "/left")
        assert "no color images on /left; it holds" in line
        assert COLOR_TOPIC in line

    @pytest.mark.parametrize("mode", [[], ["--live"]])
    def test_no_depth_for_a_model_that_takes_it(self, tmp_path, frames_of, tiny_bundle, fails, mode):
        write_bag(tmp_path / "flat", frames_of(range(2), depth=False))
        line = fails(tmp_path / "flat", "--model", tiny_bundle, "--out", tmp_path / "out", *mode)
        assert "requires depth: record the aligned depth" in line

    def test_labels_of_another_size(self, tmp_path, bag, frames_of, tiny_bundle, fails):
        stamp_ns = frames_of([0])[0].frame.stamp_ns
        cv2.imwrite(str(tmp_path / f"{stamp_ns}.png"), np.ones((9, 9), np.uint8))
        line = fails(bag, "--model", tiny_bundle, "--out", tmp_path / "out", "--labels", tmp_path)
        assert "9x9 pixels, the images have 80x48" in line

    def test_no_such_device(self, tmp_path, bag, tiny_bundle, fails):
        line = fails(bag, "--model", tiny_bundle, "--out", tmp_path / "out", "--device", "abacus")
        assert "device 'abacus' is unknown" in line

    def test_no_such_backend(self, tmp_path, bag, tiny_bundle, fails):
        line = fails(bag, "--model", tiny_bundle, "--out", tmp_path / "out", "--backend", "abacus")
        assert "backend 'abacus' is unknown: use auto, torch, onnx" in line

    def test_a_bundle_without_onnx(self, tmp_path, bag, tiny_bundle, fails):
        line = fails(bag, "--model", tiny_bundle, "--out", tmp_path / "out", "--backend", "onnx")
        assert "it has no model.onnx" in line


class TestHostileNames:
    def test_brackets_dollars_and_escape_sequences_are_text(self, tmp_path, frames_of, tiny_bundle, capsys):
        bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
        manifest = yaml.safe_load((bundle / "model.yaml").read_text())
        manifest["name"] = "[/bold] $x$ <img src=x>"
        for number, item in enumerate(manifest["classes"]):
            item["name"] = f"[red]{number}[/] $\\frac{{$ =1+1 <script>x</script>"
        (bundle / "model.yaml").write_text(yaml.safe_dump(manifest))
        write_bag(tmp_path / "bag\x1b[31m[/x]\n", frames_of(range(2), height=48, width=80))
        out = tmp_path / "o\n[/x]\udcff"
        arguments = [str(tmp_path / "bag\x1b[31m[/x]\n"), "--model", str(bundle), "--out", str(out), "--device", "cpu"]
        assert main(arguments) == 0
        assert "\x1b" not in capsys.readouterr().out
        assert "<script>x" not in (out / "report.html").read_text()

    @pytest.mark.parametrize("out", ["/proc/nowhere", "/dev/null", "/dev/null/x"])
    def test_an_output_that_cannot_be_written_is_found_before_the_work(self, bag, tiny_bundle, fails, out):
        assert "cannot be written" in fails(bag, "--model", tiny_bundle, "--out", out, "--device", "cpu")
