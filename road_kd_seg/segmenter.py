# SPDX-License-Identifier: Apache-2.0
"""Bundle, preprocessing, backend and upsampling behind one call: RgbdFrame → Segmentation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from road_kd_seg.backends import Backend, TorchBackend, choices, load_backend
from road_kd_seg.backends.torch_backend import pick_device
from road_kd_seg.bundle import Bundle, load_bundle
from road_kd_seg.classify import class_probabilities, classify, label_array
from road_kd_seg.device_pipeline import NUM_SLOTS, RUNS_BEFORE_CAPTURE, DevicePipeline
from road_kd_seg.errors import BundleError, FrameError, RoadKdError, printable
from road_kd_seg.frame import DepthImage, RgbdFrame, Segmentation, StageTimes
from road_kd_seg.golden import describe_difference, unpack_golden
from road_kd_seg.ground import beyond_depth
from road_kd_seg.host import has_bf16
from road_kd_seg.preprocess.resize import resize_color_array, resize_depth_array
from road_kd_seg.preprocess.tensors import preprocess, preprocess_frame
from road_kd_seg.smoothing import Smoother
from road_kd_seg.taxonomy import Role, Taxonomy
from road_kd_seg.thresholds import ObstacleRaiser, read_thresholds


class Segmenter:
    """Segments camera frames of any size with one bundle."""

    def __init__(self, bundle: Bundle, backend: Backend, notes: Sequence[str] = ()) -> None:
        self.bundle = bundle
        self.backend = backend
        self.notes = tuple(notes)
        """What runs otherwise than was asked for, or than is best for this machine, and why; for logs."""
        self._background_id = next((c.id for c in bundle.taxonomy.classes if c.role is Role.BACKGROUND), 0)
        self._pipeline: DevicePipeline | None = None
        if isinstance(backend, TorchBackend) and backend.device.type == "cuda":
            self._pipeline = DevicePipeline(backend, bundle.input, self._background_id)
        self.thresholds = read_thresholds(bundle)
        """From which probability on pixels are obstacles; None: where no other class is likelier."""
        self._raiser = ObstacleRaiser(bundle)
        self._threshold_by_id = {} if self.thresholds is None else self.thresholds.by_id(bundle.taxonomy)
        self._proven = False
        """Whether the golden frames came out right on this engine."""

    @classmethod
    def from_bundle(
        cls,
        name_or_path: str | Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        backend: str = "auto",
        num_threads: int = 0,
        trusted_key: str = "",
    ) -> Segmenter:
        """Load a bundle onto a device, and check there that it predicts its golden frames.

        Args:
            name_or_path: a bundle's folder, or the name of one that ships with the package.
            device: auto (CUDA if there is one), cpu, cuda or cuda:N.
            precision: auto (fp16 on CUDA; on a CPU int8 if the bundle has it, else fp32), fp32, fp16, bf16 or int8.
            backend: auto (on a CPU ONNX Runtime if bundle and machine have it, else PyTorch), torch, onnx or openvino.
                With auto, what does not work is passed over, and `notes` say why.
            num_threads: of the engine on a CPU; 0: half of the CPUs, at most four.
            trusted_key: as of `load_bundle`.

        Raises:
            BundleError: the bundle is missing, damaged or not signed, lacks what `backend` needs, or predicts another
                label than its exporter did.
            RoadKdError: the device, precision or backend is not there.
        """
        bundle = load_bundle(name_or_path, trusted_key=trusted_key)
        notes = []
        if precision == "bf16" and pick_device(device).type == "cpu" and not has_bf16():
            notes.append("precision bf16: this CPU has no bf16 units and would emulate them, slowly: running fp32")
            precision = "fp32"
        ways = choices(bundle, backend, device, precision)
        for index, (name, kind) in enumerate(ways):
            try:
                segmenter = cls(bundle, load_backend(name, bundle, device, kind, num_threads))
                segmenter.check_golden()
            except RoadKdError as error:
                if index + 1 == len(ways):
                    raise
                notes.append(f"not backend {name} in {kind}: {error}")
                continue
            if precision not in ("auto", segmenter.backend.precision):
                notes.append(f"precision {precision}: not here, running {segmenter.backend.precision}")
            thresholds = segmenter.thresholds
            if thresholds is not None and thresholds.precision != segmenter.backend.precision:
                notes.append(
                    f"thresholds were calibrated in {thresholds.precision} and run in {segmenter.backend.precision}:"
                    " their promise does not hold here"
                )
            segmenter.notes = tuple(notes)
            return segmenter
        raise AssertionError("there is always a way to try")

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes that label images hold."""
        return self.bundle.taxonomy

    @property
    def needs_depth(self) -> bool:
        """Whether frames without depth are refused."""
        return self.bundle.input.depth is not None

    @property
    def device_name(self) -> str:
        """Where it runs, for people."""
        return self.backend.device_name

    def check_golden(self) -> float | None:
        """Segment the bundle's golden frames on this engine, device and precision, which also warms it up.

        Returns:
            Share of pixels with the exporter's label, of the worst frame; None if the bundle has no golden frames.

        Raises:
            BundleError: they are damaged, or the share is below the exporter's bound.
        """
        attachments = self.bundle.attachments
        if "golden" not in attachments:
            return None
        bound = attachments[self.backend.precision if self.backend.precision in attachments else "golden"].min_agreement
        worst = 1.0
        for number, golden in enumerate(unpack_golden(self.bundle.read_attachment("golden")), start=1):
            label = self._segment(golden.frame, {}).label
            agreement = float((label == golden.label).mean())
            if agreement < bound:
                difference = describe_difference(label, golden.label, self.taxonomy.names)
                raise BundleError(
                    f"model bundle {self.bundle.path}: on {self.device_name}, {agreement:.2%} of golden frame {number}"
                    f" have the exporter's label, expected {bound:.2%}: {difference}. Whatever this engine computes, it"
                    " is not this model: use another backend or precision, or write a new bundle with 'road-kd export'."
                )
            worst = min(worst, agreement)
        self._proven = True
        return worst

    def warm_up(self, height: int | None = None, width: int | None = None, *, repeats: int = 5) -> float:
        """Check the golden frames, if nobody has, then segment frames of the camera's size: the first real one is not
        the slow one.

        Args:
            height: the camera's; None: the model's input.
            width: the camera's.
            repeats: frames of that size.

        Returns:
            Milliseconds per frame, median.

        Raises:
            BundleError: as `check_golden`; or the network fails on noise, or its logits are not finite.
        """
        if not self._proven:
            self.check_golden()
        size = self.bundle.input.size if height is None or width is None else (height, width)
        self._check_sound(*size)
        frame = self._sample_frame(size)
        if self._pipeline is not None:
            for _ in range(NUM_SLOTS * (RUNS_BEFORE_CAPTURE + 1)):
                self(frame)
        times_ms = []
        for _ in range(repeats):
            start_ns = time.perf_counter_ns()
            self(frame)
            times_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
        return statistics.median(times_ms)

    def _sample_frame(self, size: tuple[int, int]) -> RgbdFrame:
        """A golden frame in another size, or a blank one: what is in it decides how long its label takes."""
        if "golden" in self.bundle.attachments:
            frame = unpack_golden(self.bundle.read_attachment("golden"))[0].frame
            depth_m = None if frame.depth_m is None else resize_depth_array(frame.depth_m, size)
            return RgbdFrame(resize_color_array(frame.rgb, size), depth_m)
        return RgbdFrame(np.zeros((*size, 3), np.uint8), np.ones(size, np.float32) if self.needs_depth else None)

    def _check_sound(self, height: int, width: int) -> None:
        """Segment a frame of noise and a blank one.

        Raises:
            BundleError: the network fails on them, or its logits are not finite.
        """
        shape, noise = (height, width), np.random.default_rng(0)
        noisy_m, blank_m = noise.uniform(0.3, 20, shape).astype(np.float32), np.ones(shape, np.float32)
        frames = (
            RgbdFrame(noise.integers(0, 256, (*shape, 3), np.uint8), noisy_m if self.needs_depth else None),
            RgbdFrame(np.zeros((*shape, 3), np.uint8), blank_m if self.needs_depth else None),
        )
        problem = "its logits are not finite"
        try:
            with torch.inference_mode():
                sound = all(bool(self._infer(frame).isfinite().all()) for frame in frames)
            self(frames[-1]).confidence.max()
        except RoadKdError:
            raise
        except Exception as error:  # whatever an engine says of a network that does not fit its input
            sound, problem = False, printable(" ".join(str(error).split()), 300)
        if not sound:
            raise BundleError(
                f"model bundle {self.bundle.path}: {height}x{width} frames cannot be segmented: {problem}"
            )

    def __call__(self, frame: RgbdFrame, smoother: Smoother | None = None) -> Segmentation:
        """Segment one frame at the camera's resolution.

        Args:
            frame: with depth, if the model requires it.
            smoother: has seen the frames before; steadies this one's logits.

        Raises:
            FrameError: the model requires depth and the frame has none.
        """
        return self._segment(frame, self._threshold_by_id, smoother)

    def _segment(
        self, frame: RgbdFrame, thresholds: Mapping[int, np.float32], smoother: Smoother | None = None
    ) -> Segmentation:
        spec, background_id = self.bundle.input, self._background_id
        start_ns = time.perf_counter_ns()
        if self._pipeline is not None and smoother is None:
            self._require_depth(frame)
            pending = self._pipeline.start(frame)
            prepared_ns = time.perf_counter_ns()
            label, logits = pending.label(), pending.logits
            inferred_ns = time.perf_counter_ns()
        else:
            with torch.inference_mode():
                inputs = self.prepare(frame)
                prepared_ns = time.perf_counter_ns()
                logits = self.backend.infer(*inputs)
                if smoother is not None:
                    logits = smoother(logits, frame.rgb, frame.stamp_ns)
                inferred_ns = time.perf_counter_ns()
                if logits.is_cuda:
                    label = classify(logits, frame.size, spec, background_id)[1][0].cpu().numpy()
                else:
                    label = label_array(logits[0].numpy(), frame.size, spec, background_id)
        if self.needs_depth and frame.depth_as_sent is not None:
            label = self._without_beyond_depth(label, frame.depth_as_sent)
        with torch.inference_mode():
            label = self._raiser.raised(label, logits, frame, thresholds)
        ends_ns = (start_ns, prepared_ns, inferred_ns, time.perf_counter_ns())
        times = StageTimes(*((end - begin) / 1e6 for begin, end in pairwise(ends_ns)))

        def confidence() -> NDArray[np.float32]:
            with torch.inference_mode():
                winning: NDArray[np.float32] = classify(logits, frame.size, spec, background_id)[0][0].cpu().numpy()
            return winning

        return Segmentation(label, confidence, frame.stamp_ns, frame.frame_id, times)

    def _without_beyond_depth(self, label: NDArray[np.uint8], depth: DepthImage) -> NDArray[np.uint8]:
        """Negative obstacles that begin where depth ends are its edge, which looks like that of a pothole: road."""
        negative = np.zeros(label.shape, np.uint8)
        for class_id in self.taxonomy.negative_ids:
            negative |= label == class_id
        if negative.view(np.bool_).any():
            np.copyto(label, self.taxonomy.drivable_id, where=beyond_depth(depth, negative))
        return label

    def probabilities(self, frame: RgbdFrame) -> NDArray[np.float32]:
        """Probability of every class at the camera's resolution, (K, H, W), for scores that need more than the winner.

        Raises:
            FrameError: the model requires depth and the frame has none.
        """
        with torch.inference_mode():
            every = class_probabilities(self._infer(frame), frame.size, self.bundle.input, self._background_id)
        probabilities: NDArray[np.float32] = every[0].cpu().numpy()
        return probabilities

    def obstacle_scores(self, frame: RgbdFrame) -> dict[int, NDArray[np.float32]]:
        """By obstacle class: the highest threshold at which each pixel is labeled as an obstacle, (H, W).

        inf where it is an obstacle without thresholds, -inf where it is none with any.

        Raises:
            FrameError: the model requires depth and the frame has none.
        """
        class_ids = [c.id for c in self.taxonomy.classes if c.role is Role.OBSTACLE]
        label = self._segment(frame, {}).label
        with torch.inference_mode():
            return self._raiser.scores(label, self._infer(frame), frame, class_ids)

    def _infer(self, frame: RgbdFrame) -> Tensor:
        return self.backend.infer(*self.prepare(frame))

    def prepare(self, frame: RgbdFrame) -> tuple[Tensor, Tensor | None]:
        """What the network gets of a frame, on the backend's device.

        Raises:
            FrameError: the model requires depth and the frame has none.
        """
        self._require_depth(frame)
        device = self.backend.device
        if device.type == "cpu":
            as_sent = frame.depth_as_sent if self.needs_depth else None
            return preprocess_frame(frame.rgb, as_sent, self.bundle.input)
        rgb, depth = (
            None if image is None else torch.from_numpy(np.ascontiguousarray(image)).to(device, non_blocking=True)[None]
            for image in (frame.rgb, frame.depth_m if self.needs_depth else None)
        )
        assert rgb is not None
        return preprocess(rgb, depth, self.bundle.input)

    def _require_depth(self, frame: RgbdFrame) -> None:
        if self.needs_depth and frame.depth_m is None:
            raise FrameError(
                f"model '{self.bundle.name}' requires depth and the frame has none:"
                " enable aligned depth, or use an RGB-only model"
            )
