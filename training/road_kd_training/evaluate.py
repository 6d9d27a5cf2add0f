"""Scores a network on a dataset exactly as the node would see it: whole frames, at the camera's resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from road_kd_seg import metrics
from road_kd_seg.backends.torch_backend import TorchBackend
from road_kd_seg.bundle import Bundle
from road_kd_seg.frame import IGNORE_INDEX, RgbdFrame
from road_kd_seg.networks import SegmentationNetwork
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.taxonomy import Taxonomy
from road_kd_training.datasets import RgbdDataset


@dataclass(frozen=True)
class Score:
    """What came out on one dataset."""

    counts: metrics.Counts
    """(K, K), truth by prediction, in pixels."""
    frames: int

    @property
    def miou(self) -> float:
        """Mean over the classes that occur."""
        return metrics.mean_iou(self.counts)

    def to_dict(self, taxonomy: Taxonomy) -> dict[str, object]:
        """Plain data for model cards and tables, rounded to four digits; classes without truth are left out."""
        ious = metrics.iou(self.counts)
        present = self.counts.sum(1) > 0
        return {
            "frames": self.frames,
            "miou": round(self.miou, 4),
            "iou": {c.name: round(float(ious[c.id]), 4) for c in taxonomy.classes if present[c.id]},
        }


def score_dataset(segmenter: Segmenter, dataset: RgbdDataset) -> Score:
    """Segment and score every labelled sample.

    Classes that a dataset never labels (stereo_pothole knows road and pothole only) still count as errors when they
    are predicted.
    """
    num_classes = len(segmenter.taxonomy)
    counts = np.zeros((num_classes, num_classes), np.int64)
    for index in range(len(dataset)):
        sample = dataset[index]
        truth = sample.label if sample.label is not None else np.full(sample.rgb.shape[:2], IGNORE_INDEX, np.uint8)
        prediction = segmenter(RgbdFrame(sample.rgb, sample.depth_m)).label
        counts += metrics.confusion_matrix(truth, prediction, num_classes)
    return Score(counts, len(dataset))


def wrap_network(network: SegmentationNetwork, bundle: Bundle, device: torch.device) -> Segmenter:
    """A segmenter around a network in training; `bundle` describes its classes and input."""
    return Segmenter(bundle, TorchBackend(network, str(device)))
