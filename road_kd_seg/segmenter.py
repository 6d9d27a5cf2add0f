"""Bundle, preprocessing, backend and upsampling behind one call: RgbdFrame → Segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from road_kd_seg.backends import Backend, load_backend
from road_kd_seg.bundle import Bundle, load_bundle
from road_kd_seg.errors import FrameError
from road_kd_seg.frame import RgbdFrame, Segmentation
from road_kd_seg.preprocess.input_spec import InputSpec
from road_kd_seg.preprocess.tensors import preprocess
from road_kd_seg.taxonomy import Role, Taxonomy


class Segmenter:
    """Segments camera frames of any size with one bundle."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self.bundle = bundle
        self.backend = backend
        self._background_id = next((c.id for c in bundle.taxonomy.classes if c.role is Role.BACKGROUND), 0)

    @classmethod
    def from_bundle(
        cls, name_or_path: str | Path, *, device: str = "auto", precision: str = "auto", backend: str = "torch"
    ) -> Segmenter:
        """Load a bundle onto a device.

        Raises:
            BundleError: the bundle is missing or damaged, or has no model.onnx for backend onnx.
            RoadKdError: the device, precision or backend is not there.
        """
        bundle = load_bundle(name_or_path)
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
        """Run one blank frame of the camera's size, so that the first real one is not the slow one."""
        depth_m = np.ones((height, width), np.float32) if self.needs_depth else None
        self(RgbdFrame(np.zeros((height, width, 3), np.uint8), depth_m))

    def __call__(self, frame: RgbdFrame) -> Segmentation:
        """Segment one frame at the camera's resolution.

        Raises:
            FrameError: the model requires depth and the frame has none.
        """
        with torch.inference_mode():
            confidence, label = classify(self._infer(frame), frame.size, self.bundle.input, self._background_id)
        return Segmentation(label[0].cpu().numpy(), confidence[0].cpu().numpy(), frame.stamp_ns, frame.frame_id)

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
        rgb = torch.from_numpy(np.ascontiguousarray(frame.rgb)).to(device, non_blocking=True)[None]
        depth_m = None
        if self.needs_depth and frame.depth_m is not None:
            depth_m = torch.from_numpy(np.ascontiguousarray(frame.depth_m)).to(device, non_blocking=True)[None]
        return self.backend.infer(*preprocess(rgb, depth_m, self.bundle.input))


def classify(logits: Tensor, size: tuple[int, int], spec: InputSpec, background_id: int) -> tuple[Tensor, Tensor]:
    """Network output to camera resolution.

    Args:
        logits: (B, K, h, w).
        size: the camera's (H, W).
        spec: its crop says where the logits lie; outside it everything is background with confidence 0.
        background_id: class of what lies outside the crop.

    Returns:
        Probability of the winning class, float32 (B, H, W), and its id, uint8 (B, H, W).
    """
    confidence, label = _probabilities_in_crop(logits, size, spec).max(dim=1)
    label = label.to(torch.uint8)
    if confidence.shape[1:] != size:
        margins = _margins(size, spec)
        confidence, label = F.pad(confidence, margins), F.pad(label, margins, value=background_id)
    return confidence, label


def class_probabilities(logits: Tensor, size: tuple[int, int], spec: InputSpec, background_id: int) -> Tensor:
    """Network output to camera resolution, all classes; arguments as for `classify`.

    Returns:
        (B, K, H, W), sums to 1 at every pixel; outside the crop background has it all.
    """
    probability = _probabilities_in_crop(logits, size, spec)
    if probability.shape[2:] != size:
        margins = _margins(size, spec)
        inside, probability = torch.ones_like(probability[:, 0]), F.pad(probability, margins)
        probability[:, background_id] += 1 - F.pad(inside, margins)
    return probability


def _probabilities_in_crop(logits: Tensor, size: tuple[int, int], spec: InputSpec) -> Tensor:
    top, left, bottom, right = spec.crop_box(*size)
    probability = logits.softmax(dim=1)
    if probability.shape[2:] != (bottom - top, right - left):
        probability = F.interpolate(probability, (bottom - top, right - left), mode="bilinear", align_corners=False)
    return probability


def _margins(size: tuple[int, int], spec: InputSpec) -> tuple[int, int, int, int]:
    """What `F.pad` adds around the crop: left, right, top, bottom."""
    top, left, bottom, right = spec.crop_box(*size)
    return left, size[1] - right, top, size[0] - bottom
