# SPDX-License-Identifier: Apache-2.0
"""Quantizes a bundle's ONNX graph to int8, and refuses it where that costs accuracy.

Static quantization in QDQ form: unsigned activations, signed weights per channel. Weights have 7 bits: where a CPU has
no VNNI (AVX2, older AVX-512), pairs of 8 bit products saturate in 16 bits without a word, and one file serves all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from road_kd_seg.backends import OnnxBackend
from road_kd_seg.backends.onnx_backend import INPUTS
from road_kd_seg.bundle import Bundle
from road_kd_seg.errors import RoadKdError
from road_kd_seg.frame import LabeledFrame, RgbdFrame
from road_kd_seg.metrics.confusion import confusion_matrix, mean_iou
from road_kd_seg.preprocess.tensors import preprocess_frame
from road_kd_seg.segmenter import Segmenter

MAX_LOSS = 0.005
"""Of mIoU: half a point."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """An int8 graph, and what it costs."""

    model: bytes
    miou: float
    """Of the graph in float32."""
    int8_miou: float
    agreement: float
    """Share of the scored frames' pixels with the same class, of the worst frame."""

    def describe(self) -> str:
        """One line."""
        return (
            f"mIoU {self.int8_miou:.4f}, in float32 {self.miou:.4f}; in the worst frame {self.agreement:.2%} of the"
            " pixels agree"
        )


def quantize(
    bundle: Bundle, model: bytes, calibration: Sequence[RgbdFrame], scored: Sequence[LabeledFrame]
) -> Quantized:
    """Quantize a graph and compare it with itself in float32, both in ONNX Runtime on a CPU.

    Args:
        bundle: whose input and classes.
        model: its model.onnx.
        calibration: frames that the network was trained on; their activations set the ranges.
        scored: labeled frames that it was not trained on.

    Raises:
        RoadKdError: onnx or onnxruntime is missing, or int8 loses more than `MAX_LOSS`.
    """
    try:
        from onnx import load_from_string
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise RoadKdError(
            f"quantization needs onnx and onnxruntime: {error}: run 'pip install onnx onnxruntime'"
        ) from error

    class Frames(CalibrationDataReader):
        def __init__(self) -> None:
            self._inputs = _inputs(bundle, calibration)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self._inputs, None)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            load_from_string(model),
            path,
            Frames(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
        quantized = _compare(bundle, model, path.read_bytes(), scored)
    if quantized.miou - quantized.int8_miou > MAX_LOSS:
        raise RoadKdError(
            f"model '{bundle.name}': int8 loses too much, at most {MAX_LOSS} of mIoU may go: {quantized.describe()}."
            " Nothing was written: calibrate on frames that are more like these, or stay with float32."
        )
    return quantized


def _inputs(bundle: Bundle, frames: Sequence[RgbdFrame]) -> Iterator[dict[str, NDArray[np.float32]]]:
    for frame in frames:
        tensors = preprocess_frame(frame.rgb, frame.depth_m if bundle.input.depth else None, bundle.input)
        yield {name: tensor.numpy() for name, tensor in zip(INPUTS, tensors, strict=True) if tensor is not None}


def _compare(bundle: Bundle, model: bytes, int8: bytes, scored: Sequence[LabeledFrame]) -> Quantized:
    segmenters = [Segmenter(bundle, OnnxBackend(content, "cpu")) for content in (model, int8)]
    num_classes = len(bundle.taxonomy)
    counts = np.zeros((len(segmenters), num_classes, num_classes), np.int64)
    agreement = 1.0
    for frame, label in scored:
        predicted = [segmenter(frame).label for segmenter in segmenters]
        agreement = min(agreement, float((predicted[0] == predicted[1]).mean()))
        if label is not None:
            counts += [confusion_matrix(label, one, num_classes) for one in predicted]
    return Quantized(int8, mean_iou(counts[0]), mean_iou(counts[1]), agreement)
