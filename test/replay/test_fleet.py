# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from road_kd_seg.bags.writer import write_bag
from road_kd_seg.replay.cli import main

SIZE = {"height": 48, "width": 80}
SAME = ("sent", "received", "published", "labeled", "scored")


@pytest.fixture
def bags(tmp_path, frames_of):
    """Two bags of different length."""
    for name, numbers in (("first", range(3)), ("second", range(10, 15))):
        write_bag(tmp_path / name, frames_of(numbers, **SIZE))
    return [tmp_path / "first", tmp_path / "second"]


def evaluate(bags, model, out, *options):
    arguments = [*bags, "--model", model, "--out", out, "--device", "cpu", *options]
    return main([str(argument) for argument in arguments])


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


class TestFleet:
    def test_the_pooled_report_sums_before_it_divides(self, tmp_path, bags, tiny_bundle, capsys):
        assert evaluate(bags, tiny_bundle, tmp_path / "out") == 0
        pooled, parts = report_of(tmp_path / "out"), [report_of(tmp_path / "out" / bag.name) for bag in bags]
        matrices = [np.array(part["metrics"]["confusion_matrix"]) for part in parts]
        assert pooled["metrics"]["confusion_matrix"] == sum(matrices).tolist()
        assert {key: pooled["frames"][key] for key in SAME} == {
            key: sum(part["frames"][key] for part in parts) for key in SAME
        }
        assert pooled["latency_ms"]["samples"] == 8
        assert [row["name"] for row in pooled["bags"]] == ["first", "second"]
        page = (tmp_path / "out" / "report.html").read_text()
        assert 'href="second/report.html"' in page
        assert "on 2 bags" in capsys.readouterr().out

    def test_requirements_are_checked_on_all_bags_together(self, tmp_path, bags, tiny_bundle, capsys):
        assert evaluate(bags, tiny_bundle, tmp_path / "out", "--require", "miou>=0.999") == 1
        assert "requirement not met: miou>=0.999" in capsys.readouterr().err

    def test_a_bag_that_fails_does_not_keep_the_others_from_their_reports(self, tmp_path, bags, tiny_bundle, capsys):
        assert evaluate([*bags, tmp_path / "none"], tiny_bundle, tmp_path / "out") == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: 1 of 3 bags failed")
        assert report_of(tmp_path / "out")["frames"]["sent"] == 8

    def test_two_bags_of_one_name_are_refused(self, tmp_path, bags, frames_of, tiny_bundle, capsys):
        write_bag(tmp_path / "other" / "first", frames_of(range(2), **SIZE))
        assert evaluate([bags[0], tmp_path / "other" / "first"], tiny_bundle, tmp_path / "out") == 1
        assert "two bags are named first" in capsys.readouterr().err

    def test_live_bags_run_one_at_a_time(self, tmp_path, bags, tiny_bundle, capsys):
        assert evaluate(bags, tiny_bundle, tmp_path / "out", "--live", "--workers", 2) == 1
        assert "--live replays in real time" in capsys.readouterr().err

    @pytest.mark.parametrize("workers", ["0", "-1", "two"])
    def test_workers_are_a_positive_number(self, tmp_path, bags, tiny_bundle, workers):
        with pytest.raises(SystemExit):
            evaluate(bags, tiny_bundle, tmp_path / "out", "--workers", workers)


@pytest.mark.slow
class TestElsewhere:
    @pytest.fixture
    def alone(self, tmp_path, bags, tiny_bundle):
        """The pooled report of one process."""
        assert evaluate(bags, tiny_bundle, tmp_path / "alone") == 0
        return report_of(tmp_path / "alone")

    def test_two_workers_give_the_results_of_one_process(self, tmp_path, bags, tiny_bundle, alone):
        assert evaluate(bags, tiny_bundle, tmp_path / "out", "--workers", 2) == 0
        assert report_of(tmp_path / "out")["metrics"] == alone["metrics"]

    def test_a_ray_cluster_gives_the_results_of_one_process(self, tmp_path, bags, tiny_bundle, alone):
        pytest.importorskip("ray")
        assert evaluate(bags, tiny_bundle, tmp_path / "out", "--ray", "local") == 0
        assert report_of(tmp_path / "out")["metrics"] == alone["metrics"]
