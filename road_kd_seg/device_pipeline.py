# SPDX-License-Identifier: Apache-2.0
"""Camera images to labels on a CUDA device: everything in between stays there, and nothing waits but for the label.

`FrameNetwork` is the whole way as one graph of static shapes, made of the same `preprocess` and `classify` that define
what a CPU computes. `DevicePipeline` feeds it: pinned staging memory, two slots of static buffers, one CUDA graph a
slot, one copy back. On a CPU it does the same without pinned memory and graphs, which is how it is tested there.

H W camera size, K classes, h w size of the logits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from road_kd_seg.backends import TorchBackend
from road_kd_seg.classify import classify
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.preprocess.input_spec import InputSpec
from road_kd_seg.preprocess.tensors import meters, preprocess

RUNS_BEFORE_CAPTURE = 1
"""Frames of a size that run operator by operator in each slot. They are the warm-up at the camera's size, on the thread
that segments; and images of ever new sizes are not worth a graph each."""

MAX_SIZES = 2
"""Sizes that keep their buffers."""

NUM_SLOTS = 2
"""Frames that may be under way: one is staged while another is computed."""


class FrameNetwork(nn.Module):
    """Preprocessing, network and label of camera images of one size.

    Args:
        network: takes and gives `dtype`.
        dtype: of weights and activations.
        spec: what the network wants.
        background_id: class of what lies outside its crop.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, spec: InputSpec, background_id: int) -> None:
        super().__init__()
        self.network, self.dtype, self.spec, self.background_id = network, dtype, spec, background_id

    def forward(self, rgb: Tensor, depth: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Label uint8 (1, H, W) and logits float32 (1, K, h, w).

        Args:
            rgb: uint8 (1, H, W, 3).
            depth: float32 meters or int16 (see `meters`), (1, H, W); None for an RGB network.
        """
        depth_m = None if depth is None else meters(depth)
        color, encoded = preprocess(rgb, depth_m, self.spec)
        color = color.to(self.dtype, memory_format=torch.channels_last)
        logits = self.network(color, None if encoded is None else encoded.to(self.dtype)).logits.float()
        return classify(logits, (rgb.shape[1], rgb.shape[2]), self.spec, self.background_id)[1], logits


class PendingLabel:
    """A frame that is under way."""

    def __init__(self, slot: _Slot) -> None:
        self._slot: _Slot | None = slot
        self._label: NDArray[np.uint8] | None = None
        self.logits: Tensor
        """Float32 (1, K, h, w) on the device, memory of its own."""

    def label(self) -> NDArray[np.uint8]:
        """Wait for the label, uint8 (H, W), memory of its own."""
        if self._slot is not None:
            self._label, self._slot = self._slot.read_label(), None
        assert self._label is not None
        return self._label


class DevicePipeline:
    """Labels of frames, computed on a backend's device.

    Args:
        backend: whose network, device and precision.
        spec: what the network wants.
        background_id: class of what lies outside its crop.
    """

    def __init__(self, backend: TorchBackend, spec: InputSpec, background_id: int) -> None:
        self._network = FrameNetwork(backend.network, backend.dtype, spec, background_id)
        self._device = backend.device
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        self._sizes: OrderedDict[tuple[Any, ...], list[_Slot]] = OrderedDict()

    @torch.inference_mode()
    def start(self, frame: RgbdFrame) -> PendingLabel:
        """Stage a frame and start computing its label; when `NUM_SLOTS` are under way, the oldest is waited for."""
        rgb, depth = frame.rgb, None
        if self._network.spec.depth is not None:
            # In 16 bits where the camera sent it so: half as much to copy. PyTorch computes little in unsigned ones.
            depth = frame.depth_m if frame.depth_mm is None else frame.depth_mm.view(np.int16)
        key = (frame.size, None if depth is None else depth.dtype)
        slots = self._sizes.get(key)
        if slots is None:
            slots = self._sizes[key] = [_Slot(self._network, self._device, self._stream) for _ in range(NUM_SLOTS)]
            while len(self._sizes) > MAX_SIZES:
                for slot in self._sizes.popitem(last=False)[1]:
                    slot.finish()
        self._sizes.move_to_end(key)
        slots.append(slots.pop(0))
        return slots[-1].start(rgb, depth)


class _Slot:
    """Buffers of one frame, which stay where they are, and the graph that reads and writes them."""

    def __init__(self, network: FrameNetwork, device: torch.device, stream: torch.cuda.Stream | None) -> None:
        self._network, self._device, self._stream = network, device, stream
        self._num_runs = 0
        self._replay: Callable[[], tuple[Tensor, Tensor]] | None = None
        self._done = torch.cuda.Event() if stream is not None else None
        self._pending: PendingLabel | None = None
        self.staged: list[Tensor] = []
        """What the camera sent, pinned."""
        self.inputs: list[Tensor] = []
        """The same on the device."""
        self.label: Tensor | None = None
        """The label, pinned."""

    def start(self, rgb: NDArray[np.uint8], depth: NDArray[Any] | None) -> PendingLabel:
        """Stage images of this slot's size and start computing."""
        self.finish()
        images = [image for image in (rgb, depth) if image is not None]
        if not self.staged:
            self._allocate(images)
        for image, staged in zip(images, self.staged, strict=True):
            np.copyto(staged[0].numpy(), image)
        self._pending = pending = PendingLabel(self)
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            for staged, tensor in zip(self.staged, self.inputs, strict=True):
                tensor.copy_(staged, non_blocking=True)
            label, logits = self._run()
            assert self.label is not None
            self.label.copy_(label[0], non_blocking=True)
            pending.logits = logits.clone()  # the next frame in this slot overwrites them
            if self._done is not None:
                self._done.record()
        return pending

    def finish(self) -> None:
        """Fetch the label of whatever is under way here, so that the buffers may be written again."""
        if self._pending is not None:
            self._pending.label()

    def read_label(self) -> NDArray[np.uint8]:
        """Wait for the label and copy it out of the buffer."""
        if self._done is not None:
            self._done.synchronize()
        self._pending = None
        assert self.label is not None
        label: NDArray[np.uint8] = self.label.numpy().copy()
        return label

    def _allocate(self, images: list[NDArray[Any]]) -> None:
        pinned = self._device.type == "cuda"
        blank = [torch.from_numpy(np.zeros_like(image, order="C"))[None] for image in images]
        self.staged = [tensor.pin_memory() for tensor in blank] if pinned else blank
        self.inputs = [torch.empty_like(tensor, device=self._device) for tensor in blank]
        self.label = torch.empty(images[0].shape[:2], dtype=torch.uint8, pin_memory=pinned)

    def _run(self) -> tuple[Tensor, Tensor]:
        if self._replay is not None:
            return self._replay()
        if self._stream is not None and self._num_runs == RUNS_BEFORE_CAPTURE:
            self._replay = captured(self._compute, self._stream)
            return self._run()
        self._num_runs += 1
        return self._compute()

    def _compute(self) -> tuple[Tensor, Tensor]:
        label, logits = self._network(*self.inputs)
        return label, logits


def captured(call: Callable[[], Any], stream: torch.cuda.Stream) -> Callable[[], Any]:
    """A call as a CUDA graph: what it returns, recomputed in place from the memory that it read.

    Args:
        call: has run before, so that whatever it keeps is on the device already.
        stream: to record on; the graph is launched on whichever stream is current then.
    """
    with _Reads() as reads:
        call()
    graph = torch.cuda.CUDAGraph()
    # Other threads, a camera driver's or another model's, may use the device meanwhile.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        outputs = call()

    def replay(_keep_alive: Any = reads.tensors) -> Any:
        graph.replay()
        return outputs

    return replay


class _Reads(TorchDispatchMode):
    """Collects the tensors that operators read and none of them made: weights and tables, which a graph knows by
    address only, and which caches may drop."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._read: dict[int, Tensor] = {}
        self._made: dict[int, Tensor] = {}
        self.tensors: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._read |= {id(t): t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        self._made |= {id(t): t for t in tree_leaves(result) if isinstance(t, Tensor)}
        return result

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self.tensors = [tensor for key, tensor in self._read.items() if key not in self._made]
        self._read, self._made = {}, {}
