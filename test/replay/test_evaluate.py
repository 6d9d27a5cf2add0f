# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.topics import COLOR_TOPIC, DEPTH_TOPIC
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.errors import BagError, RoadKdError
from road_kd_seg.metrics import iou, mean_iou
from road_kd_seg.replay.evaluate import score, segment_bag
from road_kd_seg.replay.labels import LabelStore

HALF_ROAD = np.array([[0, 0, 1, 1]], np.uint8)


def store_of(labels: dict[int, np.ndarray]) -> LabelStore:
    store = LabelStore()
    for stamp_ns, label in labels.items():
        store.put(stamp_ns, label)
    return store


class TestScore:
    def test_the_ground_truth_itself_scores_one_in_every_class_that_occurs(self, frames_of):
        labels = [(frame.stamp_ns, label) for frame, label in frames_of(range(3))]
        scores = score(labels, store_of(dict(labels)), 5)
        assert iou(scores.counts).tolist() == [1.0] * 5
        assert [frame.miou for frame in scores.frames] == [1.0] * 3

    def test_counts_are_the_pixels_by_ground_truth_and_prediction(self):
        scores = score([(5, HALF_ROAD)], store_of({5: np.array([[0, 1, 1, 1]], np.uint8)}), 3)
        assert scores.counts.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
        assert mean_iou(scores.counts) == pytest.approx((1 / 2 + 2 / 3) / 2)
        assert scores.frames[0].miou == pytest.approx((1 / 2 + 2 / 3) / 2)
        assert np.isnan(scores.frames[0].iou[2])

    def test_frames_are_summed_before_they_are_divided(self):
        perfect, wrong = np.zeros((1, 4), np.uint8), np.ones((1, 4), np.uint8)
        scores = score([(1, perfect), (2, perfect)], store_of({1: perfect, 2: wrong}), 2)
        assert iou(scores.counts)[0] == 0.5

    def test_ignored_pixels_are_not_counted(self):
        scores = score([(1, np.array([[255, 255, 1, 1]], np.uint8))], store_of({1: HALF_ROAD}), 2)
        assert scores.counts.tolist() == [[0, 0], [0, 2]]

    def test_ground_truth_without_a_prediction_is_counted_as_labeled_only(self):
        scores = score([(1, HALF_ROAD), (2, HALF_ROAD)], store_of({2: HALF_ROAD}), 2)
        assert (scores.num_labeled, [frame.stamp_ns for frame in scores.frames]) == (2, [2])

    def test_a_prediction_without_ground_truth_is_ignored(self):
        assert score([], store_of({2: HALF_ROAD}), 2).counts.sum() == 0

    def test_ground_truth_of_another_size_names_the_frame(self):
        with pytest.raises(RoadKdError, match=r"label of 1\.500 s: .*\(1, 4\)"):
            score([(1_500_000_000, HALF_ROAD[:, :2])], store_of({1_500_000_000: HALF_ROAD}), 2)

    def test_ground_truth_of_another_taxonomy_names_the_id(self):
        with pytest.raises(RoadKdError, match="target has id 7"):
            score([(1, HALF_ROAD + np.uint8(6))], store_of({1: HALF_ROAD}), 2)


class TestSegmentBag:
    def test_every_frame_is_segmented_and_timed_at_camera_size(self, tmp_path, frames_of, tiny_segmenter):
        frames = frames_of(range(3), height=48, width=80)
        write_bag(tmp_path / "bag", frames)
        told = []
        with BagReader(tmp_path / "bag") as reader:
            (run,) = segment_bag(reader, [tiny_segmenter], on_frame=lambda: told.append(1))
        stamps_ns = [frame.stamp_ns for frame, _ in frames]
        assert run.labels.stamps_ns == list(run.latency_ms) == stamps_ns
        assert run.labels.get(stamps_ns[0]).shape == (48, 80)
        assert min(run.latency_ms.values()) > 0
        assert (run.counts.sent, run.counts.received, run.counts.published) == (3, 3, 3)
        assert len(told) == 3

    def test_each_stage_is_timed_frame_by_frame_and_their_sum_is_within_the_latency(
        self, tmp_path, frames_of, tiny_segmenter
    ):
        write_bag(tmp_path / "bag", frames_of(range(4), height=48, width=80))
        with BagReader(tmp_path / "bag") as reader:
            (run,) = segment_bag(reader, [tiny_segmenter])
        assert list(run.stages_ms) == ["read and decode", "preprocess", "inference", "postprocess"]
        assert all(len(times_ms) == 4 and min(times_ms) > 0 for times_ms in run.stages_ms.values())
        stages_ms = np.sum([run.stages_ms[stage] for stage in ("preprocess", "inference", "postprocess")], axis=0)
        assert np.all(stages_ms <= list(run.latency_ms.values()))

    def test_it_predicts_as_the_segmenter_does(self, tmp_path, frames_of, tiny_segmenter):
        write_bag(tmp_path / "bag", frames_of([4], height=48, width=80))
        with BagReader(tmp_path / "bag") as reader:
            (run,) = segment_bag(reader, [tiny_segmenter])
            ((frame, _),) = reader.frames()
        assert np.array_equal(run.labels.get(frame.stamp_ns), tiny_segmenter(frame).label)

    def test_what_cannot_be_segmented_is_dropped_with_its_reason(self, raw_bag, tiny_segmenter):
        gray, depth_mm = np.zeros((48, 80), np.uint8), np.full((48, 80), 2000, np.uint16)
        bag = raw_bag()
        for stamp_ns in (0, 100, 200):
            bag.image(COLOR_TOPIC, stamp_ns, "mono8", gray, data=b"\0" if stamp_ns == 100 else None)
        for stamp_ns in (0, 100):
            bag.image(DEPTH_TOPIC, stamp_ns, "16UC1", depth_mm)
        told = []
        with BagReader(bag.close()) as reader:
            (run,) = segment_bag(reader, [tiny_segmenter], on_frame=lambda: told.append(1))
        assert len(told) == 3
        assert run.counts.published == 1
        assert run.counts.dropped == {"superseded": 0, "unsynchronized": 1, "stale": 0, "invalid": 1}
        assert "data holds 1 bytes" in run.notes[0]

    def test_a_bag_without_depth_is_refused_with_the_ways_out(self, tmp_path, frames_of, tiny_segmenter):
        write_bag(tmp_path / "bag", frames_of(range(2), depth=False))
        expected = r"no depth images on /camera/.*align_depth\.enable:=true.*--depth-topic, or use an RGB-only model"
        with BagReader(tmp_path / "bag") as reader, pytest.raises(BagError, match=expected):
            segment_bag(reader, [tiny_segmenter])

    def test_depth_of_other_moments_counts_as_none(self, raw_bag, tiny_segmenter):
        bag = raw_bag()
        for stamp_ns in (0, 100):
            bag.image(COLOR_TOPIC, stamp_ns, "mono8", np.zeros((4, 4), np.uint8))
            bag.image(DEPTH_TOPIC, stamp_ns + 5000, "16UC1", np.ones((4, 4), np.uint16))
        with BagReader(bag.close(), slop_s=0.0) as reader, pytest.raises(BagError, match="none of the 2 images on"):
            segment_bag(reader, [tiny_segmenter])
