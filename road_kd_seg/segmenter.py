"""Bundle, preprocessing, backend and upsampling behind one call: RgbdFrame → Segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from road_kd_seg.backends import Backend, load_backend
from road_kd_seg.bundle import Bundle, load_bundle
from road_kd_seg.classify import class_probabilities, classify, label_array
from road_kd_seg.errors import BundleError, FrameError, RoadKdError, printable
from road_kd_seg.frame import RgbdFrame, Segmentation
from road_kd_seg.ground import beyond_depth
from road_kd_seg.preprocess.tensors import preprocess, preprocess_frame
from road_kd_seg.taxonomy import Role, Taxonomy


class Segmenter:
    """Segments camera frames of any size with one bundle."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self.bundle = bundle
        self.backend = backend
        self._background_id = next((c.id for c in bundle.taxonomy.classes if c.role is Role.BACKGROUND), 0)

    @classmethod
    def from_bundle(
        cls,
        name_or_path: str | Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        backend: str = "torch",
        trusted_key: str = "",
    ) -> Segmenter:
        """Load a bundle onto a device; arguments as of `load_bundle` and `load_backend`.

        Raises:
            BundleError: the bundle is missing, damaged or not signed, or has no model.onnx for backend onnx.
            RoadKdError: the device, precision or backend is not there.
        """
        bundle = load_bundle(name_or_path, trusted_key=trusted_key)
        return cls(bundle, load_backend(backend, bundle, device, precision))

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

    def warm_up(self, height: int, width: int) -> None:
        """Run a frame of noise and a blank one of the camera's size, so that the first real one is not the slow one.

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

    def __call__(self, frame: RgbdFrame) -> Segmentation:
        """Segment one frame at the camera's resolution.

        Raises:
            FrameError: the model requires depth and the frame has none.
        """
        spec, background_id = self.bundle.input, self._background_id
        with torch.inference_mode():
            logits = self._infer(frame)
            if logits.is_cuda:
                label = classify(logits, frame.size, spec, background_id)[1][0].cpu().numpy()
            else:
                label = label_array(logits[0].numpy(), frame.size, spec, background_id)
        if self.needs_depth and frame.depth_m is not None:
            label = self._without_beyond_depth(label, frame.depth_m)

        def confidence() -> NDArray[np.float32]:
            with torch.inference_mode():
                winning: NDArray[np.float32] = classify(logits, frame.size, spec, background_id)[0][0].cpu().numpy()
            return winning

        return Segmentation(label, confidence, frame.stamp_ns, frame.frame_id)

    def _without_beyond_depth(self, label: NDArray[np.uint8], depth_m: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Negative obstacles that begin where depth ends are its edge, which looks like that of a pothole: road."""
        negative = np.isin(label, self.taxonomy.negative_ids)
        if negative.any():
            label[negative & beyond_depth(depth_m)] = self.taxonomy.drivable_id
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

    def _infer(self, frame: RgbdFrame) -> Tensor:
        if self.needs_depth and frame.depth_m is None:
            raise FrameError(
                f"model '{self.bundle.name}' requires depth and the frame has none:"
                " enable aligned depth, or use an RGB-only model"
            )
        device = self.backend.device
        depth_m = frame.depth_m if self.needs_depth else None
        if device.type == "cpu":
            return self.backend.infer(*preprocess_frame(frame.rgb, depth_m, self.bundle.input))
        rgb, depth = (
            None if image is None else torch.from_numpy(np.ascontiguousarray(image)).to(device, non_blocking=True)[None]
            for image in (frame.rgb, depth_m)
        )
        assert rgb is not None
        return self.backend.infer(*preprocess(rgb, depth, self.bundle.input))
