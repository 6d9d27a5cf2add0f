# SPDX-License-Identifier: Apache-2.0
"""OpenVINO: the same files as ONNX Runtime's, on a CPU; where that has VNNI, its int8 is the faster one.

openvino is imported when a backend is made: nothing else needs it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from road_kd_seg.backends.onnx_backend import INPUTS, OUTPUT, Shapes, check_shapes, read_graph
from road_kd_seg.backends.onnx_graph import check_graph
from road_kd_seg.bundle import Bundle
from road_kd_seg.errors import BundleError, RoadKdError
from road_kd_seg.host import pick_num_threads


class OpenVinoBackend:
    """An ONNX graph, compiled by OpenVINO.

    Args:
        model: the serialized graph.
        device: auto or cpu.
        precision: what the graph computes in: fp32 or int8.
        num_threads: 0: half of the CPUs, at most four.

    Raises:
        RoadKdError: openvino is not installed, or another device.
        BundleError: OpenVINO cannot open the model.
    """

    def __init__(self, model: bytes, device: str = "auto", precision: str = "fp32", num_threads: int = 0) -> None:
        if device not in ("auto", "cpu"):
            raise RoadKdError(f"device '{device}': backend openvino runs on a CPU: use cpu, or another backend")
        try:
            import openvino
        except ImportError as error:
            raise RoadKdError(
                f"backend 'openvino' needs openvino: {error}: run 'pip install openvino', or use another backend"
            ) from error
        self.device = torch.device("cpu")
        self.precision = precision
        self._num_threads = pick_num_threads(num_threads)
        options = {
            "INFERENCE_NUM_THREADS": self._num_threads,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # the cores are shared with the camera driver
            "INFERENCE_PRECISION_HINT": "f32",  # where the CPU has bf16, OpenVINO would use it without a word
        }
        try:
            check_graph(model)
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(model), "CPU", options)
        except Exception as error:  # its exceptions have no common base
            reason = " ".join(str(error).split())[:300]
            raise BundleError(f"openvino {openvino.__version__} cannot open the model: {reason}") from error
        self._request: Any = compiled.create_infer_request()
        self.shapes: Shapes = {port.any_name: tuple(port.get_shape()) for port in (*compiled.inputs, *compiled.outputs)}
        """Of each input and output by name."""

    @classmethod
    def from_bundle(
        cls, bundle: Bundle, device: str = "auto", precision: str = "auto", num_threads: int = 0
    ) -> OpenVinoBackend:
        """The backend of a bundle that has a model.onnx, or a model.int8.onnx for int8.

        Raises:
            BundleError: the bundle has none, it is damaged, or it was written for another input or other classes.
            RoadKdError: as the constructor; another precision.
        """
        model, kind = read_graph(bundle, "openvino", precision)
        backend = cls(model, device, kind, num_threads)
        check_shapes(bundle, kind, backend.shapes)
        return backend

    @property
    def device_name(self) -> str:
        """What a person calls the device, with engine and precision."""
        return f"{self.device} ({self._num_threads} threads, openvino, {self.precision})"

    def infer(self, rgb: Tensor, depth: Tensor | None) -> Tensor:
        """Logits.

        Args:
            rgb: float32 (1, 3, h, w), of the size that the model was written for.
            depth: float32 (1, C, h, w), or None.

        Returns:
            float32 (1, K, h/s, w/s), memory of its own.

        Raises:
            RoadKdError: an input that the model does not have or misses, or that has another shape.
        """
        tensors = {name: t for name, t in zip(INPUTS, (rgb, depth), strict=True) if t is not None}
        shapes = {name: tuple(t.shape) for name, t in tensors.items()}
        if shapes != {name: shape for name, shape in self.shapes.items() if name != OUTPUT}:
            raise RoadKdError(f"OpenVinoBackend: got {shapes}, the model takes {self.shapes}")
        self._request.infer([np.ascontiguousarray(t.numpy()) for t in tensors.values()], share_inputs=True)
        return torch.from_numpy(self._request.get_output_tensor(0).data.copy())
