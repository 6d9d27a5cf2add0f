# SPDX-License-Identifier: Apache-2.0
import dataclasses
import shutil

import numpy as np
import pytest
import torch
import yaml

from road_kd_seg.bundle import add_attachment, load_bundle
from road_kd_seg.classify import class_probabilities, probabilities_of
from road_kd_seg.errors import BundleError
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY, Role
from road_kd_seg.thresholds import KEY, ClassThreshold, Thresholds, read_thresholds

NEGATIVE, POSITIVE = "negative_obstacle", "positive_obstacle"
OBSTACLE = DEFAULT_TAXONOMY.role_table(Role.OBSTACLE) > 0


def thresholds_of(**probabilities: float) -> Thresholds:
    classes = {name: ClassThreshold(probability, 12) for name, probability in probabilities.items()}
    return Thresholds(0.05, 0.9, 5.0, "fp32", "a drive", classes)


@pytest.fixture
def with_thresholds(tiny_bundle, tmp_path):
    """A segmenter of the tiny bundle with thresholds of some classes."""

    def load(**probabilities: float) -> Segmenter:
        folder = shutil.copytree(tiny_bundle, tmp_path / f"bundle_{len(list(tmp_path.iterdir()))}")
        if probabilities:
            add_attachment(folder, KEY, thresholds_of(**probabilities).to_yaml(), min_agreement=None)
        return Segmenter.from_bundle(folder, device="cpu", backend="torch")

    return load


@pytest.fixture
def frame():
    random = np.random.default_rng(3)
    depth_m = random.uniform(0.5, 6, (60, 100)).astype(np.float32)
    depth_m[:, :12] = 0  # the sensor sees nothing along the left border
    return RgbdFrame(random.integers(0, 256, (60, 100, 3), np.uint8), depth_m)


class TestSegmenter:
    def test_a_pixel_is_an_obstacle_from_its_threshold_on(self, with_thresholds, frame):
        without = with_thresholds()
        scores = without.obstacle_scores(frame)[DEFAULT_TAXONOMY.names.index(POSITIVE)]
        threshold = float(np.median(scores[np.isfinite(scores)]))
        label = with_thresholds(**{POSITIVE: threshold})(frame).label
        assert np.array_equal(OBSTACLE[label], scores >= np.float32(threshold))
        plain = without(frame).label
        assert np.array_equal(label[OBSTACLE[plain]], plain[OBSTACLE[plain]])

    @pytest.mark.parametrize("low", [0.02, 0.1, 0.2])
    def test_a_lower_threshold_only_adds_obstacles(self, with_thresholds, frame, low):
        low_label = with_thresholds(**{NEGATIVE: low, POSITIVE: low})(frame).label
        high_label = with_thresholds(**{NEGATIVE: low + 0.05, POSITIVE: low + 0.1})(frame).label
        assert np.all(OBSTACLE[low_label] | ~OBSTACLE[high_label])

    def test_a_threshold_of_one_changes_nothing(self, with_thresholds, frame):
        assert np.array_equal(with_thresholds(**{NEGATIVE: 1.0})(frame).label, with_thresholds()(frame).label)

    def test_no_hole_is_found_where_depth_ends(self, with_thresholds, frame):
        label = with_thresholds(**{NEGATIVE: 0.001})(frame).label
        negative = DEFAULT_TAXONOMY.names.index(NEGATIVE)
        assert not (label[:, :8] == negative).any()
        assert (label[:, 50:] == negative).any()

    def test_of_two_classes_the_one_further_above_its_threshold_wins(self, with_thresholds, frame):
        label = with_thresholds(**{NEGATIVE: 0.9, POSITIVE: 0.01})(frame).label
        plain = with_thresholds()(frame).label
        added = OBSTACLE[label] & ~OBSTACLE[plain]
        assert added.any()
        assert set(label[added]) == {DEFAULT_TAXONOMY.names.index(POSITIVE)}

    def test_another_precision_than_the_calibrated_one_is_said(self, tiny_bundle, tmp_path):
        folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
        other = dataclasses.replace(thresholds_of(**{NEGATIVE: 0.2}), precision="int8")
        add_attachment(folder, KEY, other.to_yaml(), min_agreement=None)
        notes = Segmenter.from_bundle(folder, device="cpu", backend="torch").notes
        assert any("calibrated in int8 and run in fp32" in note for note in notes)


def test_probabilities_of_some_classes_are_theirs_among_all(tiny_bundle):
    spec = dataclasses.replace(load_bundle(tiny_bundle).input, crop=(0.2, 0.1, 0.9, 1.0))
    logits = torch.randn(1, 5, 16, 24, generator=torch.Generator().manual_seed(0))
    every = class_probabilities(logits, (60, 100), spec, 0)
    assert torch.equal(probabilities_of([4, 3], logits, (60, 100), spec), every[:, [4, 3]])


class TestFile:
    def test_what_is_written_is_read(self, tiny_bundle, tmp_path):
        folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
        assert read_thresholds(load_bundle(folder)) is None
        written = thresholds_of(**{NEGATIVE: 0.125, POSITIVE: 0.3})
        add_attachment(folder, KEY, written.to_yaml(), min_agreement=None)
        assert read_thresholds(load_bundle(folder)) == written

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"classes": {"road": {"probability": 0.5, "blocks": 9}}}, "expected one of negative_obstacle"),
            ({"classes": {NEGATIVE: {"probability": 2, "blocks": 9}}}, "a finite number from 0 to 1"),
            ({"classes": {NEGATIVE: {"probability": 0.5}}}, "blocks is missing"),
            ({"max_missed": "little"}, "max_missed is 'little'"),
            ({"share": float("nan")}, "share is nan"),
        ],
    )
    def test_one_that_makes_no_sense_is_refused_by_its_field(self, tiny_bundle, tmp_path, change, message):
        folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
        data = yaml.safe_load(thresholds_of(**{NEGATIVE: 0.5}).to_yaml()) | change
        add_attachment(folder, KEY, yaml.safe_dump(data).encode(), min_agreement=None)
        with pytest.raises(BundleError, match=f"thresholds.yaml: .*{message}"):
            read_thresholds(load_bundle(folder))

    def test_one_that_was_edited_is_refused(self, tiny_bundle, tmp_path):
        folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
        add_attachment(folder, KEY, thresholds_of(**{NEGATIVE: 0.5}).to_yaml(), min_agreement=None)
        (folder / "thresholds.yaml").write_text("classes: {}")
        with pytest.raises(BundleError, match=r"thresholds\.yaml has sha256"):
            Segmenter.from_bundle(folder, device="cpu")
