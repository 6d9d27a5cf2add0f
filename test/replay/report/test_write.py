# SPDX-License-Identifier: Apache-2.0
import csv
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.bundle import load_bundle
from road_kd_seg.replay.assess import assess
from road_kd_seg.replay.evaluate import score
from road_kd_seg.replay.gates import parse_gate
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.report.build import Replay, build_report
from road_kd_seg.replay.report.gallery import pick_frames, worst_regions
from road_kd_seg.replay.report.write import write_report
from road_kd_seg.replay.results import FrameScore, ReplayCounts, ReplayRun
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

S = 1_000_000_000


def run_of(frames, predictions: dict[int, np.ndarray], latency_ms: float = 20.0) -> ReplayRun:
    """A run that segmented some frames of a bag; the others were superseded."""
    stamps_ns = tuple(frame.stamp_ns for frame, _ in frames)
    dropped = {"superseded": len(frames) - len(predictions), "unsynchronized": 0, "stale": 0, "invalid": 0}
    return ReplayRun(
        mode="live",
        stamps_ns=stamps_ns,
        labels=LabelStore.of(predictions.items()),
        latency_ms=dict.fromkeys(predictions, latency_ms),
        latency_definition="as long as the test says",
        counts=ReplayCounts(len(frames), len(frames), len(predictions), dropped),
        device="a test",
        wall_s=1.0,
    )


@pytest.fixture
def replay_of(tiny_bundle):
    def replay(run: ReplayRun, ground_truth: LabelStore) -> Replay:
        scores = score(ground_truth.items(), run.labels, 5)
        return Replay(load_bundle(tiny_bundle), run, scores, ground_truth, "the test")

    return replay


def scored(stamp_ns: int, miou: float) -> FrameScore:
    """A frame of one class of which this share was found; NaN: all of it is ignored."""
    found = 0 if np.isnan(miou) else round(100 * miou)
    counts = np.array([[found, 0 if np.isnan(miou) else 100 - found], [0, 0]])
    return FrameScore(stamp_ns, counts, np.zeros((2, 4), np.int64))


class PageReader(HTMLParser):
    """Collects what a page would load from elsewhere, and how many pictures it holds."""

    def __init__(self):
        super().__init__()
        self.foreign, self.pictures = [], 0

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("src", "href"):
                self.pictures += value.startswith("data:image/")
                if not value.startswith("data:"):
                    self.foreign.append(value)


class TestReport:
    @pytest.fixture
    def written(self, tmp_path, frames_of, replay_of):
        """Folder and report of a bag of four frames, of which the first two were predicted as labeled."""
        frames = frames_of(range(4), height=24, width=40)
        write_bag(tmp_path / "bag", frames)
        ground_truth = LabelStore.of((frame.stamp_ns, label) for frame, label in frames)
        run = run_of(frames, dict(list(ground_truth.items())[:2]))
        with BagReader(tmp_path / "bag") as reader:
            return tmp_path / "out", write_report(tmp_path / "out", reader, replay_of(run, ground_truth))

    def test_the_json_holds_what_users_were_promised(self, written):
        folder, report = written
        assert json.loads((folder / "report.json").read_text()) == report
        assert report["schema_version"] == 2
        assert report["model"] == "tiny"
        assert report["device"] == "a test"
        assert report["metrics"]["miou"] == 1.0
        assert report["metrics"]["iou"] == dict.fromkeys(DEFAULT_TAXONOMY.names, 1.0)
        assert report["latency_ms"]["p50"] == 20.0

    def test_every_frame_is_accounted_for(self, written):
        frames = written[1]["frames"]
        assert frames["received"] == frames["published"] + sum(frames["dropped"].values())
        assert (frames["sent"], frames["published"], frames["dropped"]["superseded"]) == (4, 2, 2)
        assert (frames["labeled"], frames["scored"]) == (4, 2)

    def test_percentiles_of_two_frames_are_not_made_up(self, written):
        latency = written[1]["latency_ms"]
        assert (latency["p95"], latency["p99"]) == (None, None)
        assert latency["notes"] == ["p95 needs 20 samples, there are 2", "p99 needs 100 samples, there are 2"]

    def test_the_page_needs_no_other_file_and_shows_every_picture(self, written):
        page = PageReader()
        page.feed((written[0] / "report.html").read_text())
        assert page.foreign == []
        assert page.pictures == 2 * 5 + 2  # color, depth, ground truth, overlay, errors of two frames; two plots

    def test_the_table_has_a_row_for_every_color_image(self, written):
        with (written[0] / "per_frame.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert [row["published"] for row in rows] == ["1", "1", "0", "0"]
        assert rows[0]["miou"] == "1.0000"
        assert rows[3]["miou"] == rows[3]["latency_ms"] == ""


class TestReportWithoutTruth:
    def test_metrics_are_absent_and_not_zero(self, tmp_path, frames_of, replay_of):
        frames = frames_of(range(2), height=24, width=40, label=False)
        write_bag(tmp_path / "bag", frames)
        run = run_of(frames, {frames[0].frame.stamp_ns: np.zeros((24, 40), np.uint8)})
        with BagReader(tmp_path / "bag") as reader:
            report = write_report(tmp_path / "out", reader, replay_of(run, LabelStore()))
        assert report["metrics"] is None
        assert report["metrics_note"] == "n/a (0 labeled frames)"
        page = (tmp_path / "out" / "report.html").read_text()
        assert "n/a (0 labeled frames)" in page
        assert "no label" in page

    def test_a_run_that_segmented_nothing_still_reports(self, tmp_path, frames_of, replay_of):
        frames = frames_of(range(2), height=24, width=40)
        write_bag(tmp_path / "bag", frames)
        ground_truth = LabelStore.of((frame.stamp_ns, label) for frame, label in frames)
        with BagReader(tmp_path / "bag") as reader:
            report = write_report(tmp_path / "out", reader, replay_of(run_of(frames, {}), ground_truth))
        assert report["metrics"] is None
        assert "none of the 2 labeled frames was published" in report["metrics_note"]
        assert report["latency_ms"]["p50"] is None
        assert "No frame was segmented" in (tmp_path / "out" / "report.html").read_text()


class TestReportOfPartialTruth:
    def test_a_class_that_nobody_saw_is_null(self, tmp_path, frames_of, replay_of):
        frames = frames_of([0], height=24, width=40)
        write_bag(tmp_path / "bag", frames)
        road = np.ones((24, 40), np.uint8)
        stamp_ns = frames[0].frame.stamp_ns
        replay = replay_of(run_of(frames, {stamp_ns: road}), LabelStore.of([(stamp_ns, road)]))
        with BagReader(tmp_path / "bag") as reader:
            metrics = build_report(reader, replay)["metrics"]
        assert metrics["iou"]["road"] == metrics["miou"] == 1.0
        assert metrics["iou"]["lane_marking"] is None

    def test_text_from_outside_cannot_become_markup(self, tmp_path, frames_of, replay_of):
        frames = frames_of([0], height=24, width=40)
        folder = tmp_path / "<script>alert(1)<"
        write_bag(folder, frames)
        with BagReader(folder) as reader:
            write_report(tmp_path / "out", reader, replay_of(run_of(frames, {}), LabelStore()))
        assert not re.search(r"<script>alert", (tmp_path / "out" / "report.html").read_text())


class TestPickFrames:
    @staticmethod
    def scores(*mious: float) -> list[FrameScore]:
        return [scored(i * S, miou) for i, miou in enumerate(mious)]

    def test_the_worst_comes_first_and_the_rest_is_spread_over_time(self):
        scores = self.scores(0.9, 0.5, 0.8, 0.2, 0.9, 0.9, 0.9, 0.9)
        chosen = pick_frames([i * S for i in range(8)], scores, most=4)
        assert list(chosen)[:2] == [3 * S, 1 * S]
        assert chosen[3 * S] == "worst frame by mIoU"
        assert list(chosen)[2:] == [2 * S, 6 * S]

    def test_neighbors_of_the_worst_are_passed_over(self):
        near = [scored(stamp, miou) for stamp, miou in ((0, 0.1), (S // 2, 0.2), (2 * S, 0.3))]
        assert list(pick_frames([0, S // 2, 2 * S], near, most=2)) == [0, 2 * S]

    def test_a_frame_whose_ground_truth_is_all_ignored_is_not_the_worst(self):
        assert pick_frames([0, S], self.scores(float("nan"), 0.5))[S] == "worst frame by mIoU"

    def test_no_more_than_there_are(self):
        assert list(pick_frames([5], [])) == [5]
        assert pick_frames([], []) == {}


class TestWorstRegions:
    def test_the_largest_missed_and_invented_obstacles_come_first(self):
        road = np.ones((40, 60), np.uint8)
        hole = road.copy()
        hole[5:15, 5:25] = 3
        small = road.copy()
        small[5:15, 5:15] = 4
        truth = LabelStore.of([(0, hole), (2 * S, road), (4 * S, road)])
        predictions = LabelStore.of([(0, road), (2 * S, small), (4 * S, road)])
        regions = worst_regions([0, 2 * S, 4 * S], truth, predictions, DEFAULT_TAXONOMY)
        assert [(r.what, r.stamp_ns, r.area_px, r.box) for r in regions] == [
            ("missed", 0, 200, (5, 5, 20, 10)),
            ("false", 2 * S, 100, (5, 5, 10, 10)),
        ]


class TestSchema:
    def test_reports_with_and_without_labels_follow_the_published_schema(self, tmp_path, frames_of, tiny_bundle):
        jsonschema = pytest.importorskip("jsonschema")
        schema = json.loads(files("road_kd_seg.replay.report").joinpath("report.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        frames = frames_of(range(30), height=24, width=40)
        write_bag(tmp_path / "bag", frames)
        labels = LabelStore.of((frame.stamp_ns, label) for frame, label in frames)
        run, bundle = run_of(frames, dict(labels.items())), load_bundle(tiny_bundle)
        with BagReader(tmp_path / "bag") as reader:
            for ground_truth in (labels, LabelStore()):
                gates = (parse_gate("miou>=0.5", bundle.taxonomy.names),)
                replay = assess(reader, bundle, run, ground_truth, "the test", gates, 0.0)
                report = build_report(reader, replay)
                jsonschema.validate(report, schema)
                assert report.keys() == schema["properties"].keys()
