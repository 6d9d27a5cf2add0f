# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime: a bundle's model.onnx on a CPU or on CUDA, or its model.int8.onnx on a CPU, at their one size.

onnxruntime is imported when a backend is made: nothing else needs it.
"""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from road_kd_seg.backends.onnx_graph import check_graph
from road_kd_seg.backends.torch_backend import pick_device
from road_kd_seg.bundle import ATTACHMENTS, ONNX, Bundle
from road_kd_seg.errors import BundleError, RoadKdError, ShapeMismatch, printable, shown
from road_kd_seg.host import pick_num_threads

INPUTS = ("rgb", "depth")
"""Names of the graph's inputs; an RGB network has the first only."""
OUTPUT = "logits"
_CUDA = "CUDAExecutionProvider"
_TRIAL_S = 10.0
"""In which a model must run once. ONNX Runtime looks at the clock between operators only."""

Shapes = dict[str, tuple[int | str, ...]]
"""Of inputs and outputs by name; a name in place of a number is a size that the graph leaves open."""


class OnnxBackend:
    """An ONNX graph in a session of ONNX Runtime.

    Args:
        model: the serialized graph, as `road_kd_seg.tools.onnx_export.to_onnx` writes it.
        device: auto (CUDA if PyTorch and ONNX Runtime both have it), cpu, cuda or cuda:N.
        precision: what the graph computes in: fp32 or int8.
        num_threads: on a CPU; 0: half of the CPUs, at most four.

    Raises:
        RoadKdError: onnxruntime is not installed, or a device that is not there.
        BundleError: ONNX Runtime cannot open the model.
    """

    def __init__(self, model: bytes, device: str = "auto", precision: str = "fp32", num_threads: int = 0) -> None:
        self.precision = precision
        self._num_threads = pick_num_threads(num_threads)
        runtime = import_onnxruntime()
        self.device = _pick_device(runtime, device)
        self._session = _open(runtime, model, self.device, self._num_threads)
        if self.device.type == "cuda" and _CUDA not in self._session.get_providers():
            # It says why on stderr, and continues without it: a CUDA or cuDNN of another version than it was built for.
            if device != "auto":
                raise RoadKdError(
                    f"device '{device}': onnxruntime {runtime.__version__} cannot start its CUDA provider (see above):"
                    " install the CUDA and cuDNN that it was built for, or use device cpu or backend torch"
                )
            self.device = torch.device("cpu")
        values = [*self._session.get_inputs(), *self._session.get_outputs()]
        if any(value.type != "tensor(float)" for value in values):  # infer binds memory of this type
            raise BundleError(f"{ONNX} has {', '.join(shown(v.type) for v in values)}, expected float32 throughout")
        self.shapes: Shapes = {value.name: tuple(value.shape) for value in values}
        """Of each input and output by name."""

    @classmethod
    def from_bundle(
        cls, bundle: Bundle, device: str = "auto", precision: str = "auto", num_threads: int = 0
    ) -> OnnxBackend:
        """The backend of a bundle that has a model.onnx, or a model.int8.onnx for int8.

        Raises:
            BundleError: the bundle has none, it is damaged, or it was written for another input or other classes.
            RoadKdError: as the constructor; another precision.
        """
        model, kind = read_graph(bundle, "onnx", precision)
        backend = cls(model, device, kind, num_threads)
        check_shapes(bundle, kind, backend.shapes)
        backend._try_out()
        return backend

    def _try_out(self) -> None:
        """Run once, and stop a model that takes too long.

        Raises:
            BundleError: it does, or it fails.
        """
        options = import_onnxruntime().RunOptions()
        stop = threading.Timer(_TRIAL_S, setattr, (options, "terminate", True))
        stop.start()
        try:
            names = [name for name in self.shapes if name != OUTPUT]
            self._run({name: torch.zeros(*map(int, self.shapes[name]), device=self.device) for name in names}, options)
        finally:
            stop.cancel()

    @property
    def device_name(self) -> str:
        """What a person calls the device, with the engine and the precision."""
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name(self.device)} ({self.device}, onnxruntime, {self.precision})"
        return f"{self.device} ({self._num_threads} threads, onnxruntime, {self.precision})"

    def infer(self, rgb: Tensor, depth: Tensor | None) -> Tensor:
        """Logits.

        Args:
            rgb: float32 (1, 3, h, w), on the backend's device, of the size that the model was written for.
            depth: float32 (1, C, h, w), or None.

        Returns:
            float32 (1, K, h/s, w/s), on the same device.

        Raises:
            ShapeMismatch: another shape.
            RoadKdError: an input that the model does not have or misses, or that has another type or device.
        """
        tensors = {name: t.contiguous() for name, t in zip(INPUTS, (rgb, depth), strict=True) if t is not None}
        self._check(tensors)
        return self._run(tensors)

    def _run(self, tensors: dict[str, Tensor], options: Any = None) -> Tensor:
        tensors[OUTPUT] = torch.empty([int(size) for size in self.shapes[OUTPUT]], device=self.device)
        binding = self._session.io_binding()
        for name, tensor in tensors.items():
            bind = binding.bind_output if name == OUTPUT else binding.bind_input
            bind(name, self.device.type, self.device.index or 0, np.float32, tuple(tensor.shape), tensor.data_ptr())
        if self.device.type == "cuda":  # ONNX Runtime has a stream of its own
            torch.cuda.current_stream(self.device).synchronize()
        try:
            self._session.run_with_iobinding(binding, options)
        except Exception as error:  # its exceptions have no common base
            raise BundleError(f"{ONNX} cannot be run: {printable(' '.join(str(error).split()), 300)}") from error
        return tensors[OUTPUT]

    def _check(self, tensors: dict[str, Tensor]) -> None:
        """Everything about an input has to be right, as ONNX Runtime gets no more than its address."""
        names = [name for name in self.shapes if name != OUTPUT]
        if list(tensors) != names:
            raise RoadKdError(f"OnnxBackend: got {' and '.join(tensors)}, the model takes {' and '.join(names)}")
        for name, tensor in tensors.items():
            if tuple(tensor.shape) != self.shapes[name]:
                expected = [int(size) for size in self.shapes[name]]
                hint = f"the size of {ONNX} is fixed, write one for this size"
                raise ShapeMismatch(f"OnnxBackend: {name}", tensor.shape, expected, hint=hint)
            device = (tensor.device.type, tensor.device.index or 0)
            if tensor.dtype != torch.float32 or device != (self.device.type, self.device.index or 0):
                raise RoadKdError(
                    f"OnnxBackend: {name} is {tensor.dtype} on {tensor.device}, expected float32 on {self.device}"
                )


def import_onnxruntime() -> ModuleType:
    """The module.

    Raises:
        RoadKdError: it is not installed, or cannot be loaded.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise RoadKdError(
            f"backend 'onnx' needs onnxruntime: {error}:"
            " run 'pip install onnxruntime' (for CUDA: onnxruntime-gpu), or use backend torch"
        ) from error
    module: ModuleType = onnxruntime
    return module


def _pick_device(runtime: ModuleType, name: str) -> torch.device:
    device = pick_device(name)
    if device.type == "cpu" or _CUDA in runtime.get_available_providers():
        return device
    if name == "auto":
        return torch.device("cpu")
    raise RoadKdError(
        f"device '{name}': onnxruntime {runtime.__version__} was built without CUDA:"
        " install onnxruntime-gpu in its place, or use device cpu or backend torch"
    )


def _open(runtime: ModuleType, model: bytes, device: torch.device, num_threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = num_threads
    # Threads that spin between frames would take the cores from the camera driver; waking them costs a few percent.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        providers.insert(0, (_CUDA, {"device_id": device.index or 0}))
    try:
        check_graph(model)
        return runtime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # its exceptions have no common base
        reason = printable(" ".join(str(error).split()), 300)
        raise BundleError(
            f"{ONNX} cannot be opened by onnxruntime {runtime.__version__}: {reason}:"
            " install a newer one, or rewrite it with 'road-kd export BUNDLE --out DIR --onnx'"
        ) from error


def read_graph(bundle: Bundle, backend: str, precision: str) -> tuple[bytes, str]:
    """A bundle's graph for a precision, and what auto is: fp32.

    Raises:
        BundleError: the bundle has none, or it is damaged.
        RoadKdError: no graph has this precision.
    """
    if precision not in ("auto", "fp32", "int8"):
        raise RoadKdError(
            f"precision '{precision}': backend {backend} has fp32 and int8 only: use one of these, or backend torch"
        )
    kind = "int8" if precision == "int8" else "fp32"
    return bundle.read_attachment(_KEYS[kind]), kind


def check_shapes(bundle: Bundle, precision: str, shapes: Shapes) -> None:
    """Compare the inputs and outputs of a bundle's graph with what its model.yaml needs.

    Raises:
        BundleError: it was written for another input or other classes.
    """
    height, width = bundle.input.size
    expected: Shapes = {INPUTS[0]: (1, 3, height, width)}
    if bundle.input.depth is not None:
        expected[INPUTS[1]] = (1, bundle.input.depth.channels, height, width)
    output = shapes.get(OUTPUT, ())
    stride = height // output[2] if len(output) == 4 and isinstance(output[2], int) and output[2] > 0 else 1
    expected[OUTPUT] = (1, len(bundle.taxonomy), height // stride, width // stride)
    if shapes != expected:
        raise BundleError(
            f"model bundle {bundle.path}: {ATTACHMENTS[_KEYS[precision]]} has {_describe(shapes)}, model.yaml needs"
            f" {_describe(expected)}. {_REWRITE}"
        )


_KEYS = {"fp32": "onnx", "int8": "int8"}
_REWRITE = "Rewrite it with 'road-kd export BUNDLE --out DIR --onnx', or use backend torch."


def _describe(shapes: Shapes) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
