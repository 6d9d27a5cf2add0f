"""Bundle, preprocessing, backend and upsampling behind one call: RgbdFrame → Segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from road_kd_seg.backends.torch_backend import TorchBackend
from road_kd_seg.bundle import Bundle, load_bundle
from road_kd_seg.errors import FrameError, RoadKdError
from road_kd_seg.frame import RgbdFrame, Segmentation
from road_kd_seg.preprocess import InputSpec, preprocess
from road_kd_seg.taxonomy import Role, Taxonomy


class Segmenter:
    """Segments camera frames of any size with one bundle."""

    def __init__(self, bundle: Bundle, backend: TorchBackend) -> None:
        self.bundle = bundle
        self.backend = backend
        self._background_id = next((c.id for c in bundle.taxonomy.classes if c.role is Role.BACKGROUND), 0)

    @classmethod
    def from_bundle(
        cls, name_or_path: str | Path, *, device: str = "auto", precision: str = "auto", backend: str = "torch"
    ) -> Segmenter:
        """Load a bundle onto a device.

        Raises:
            BundleError: the bundle is missing or damaged.
            RoadKdError: the device, precision or backend is not there.
        """
        if backend != "torch":
            raise RoadKdError(f"backend '{backend}' is unknown: use torch")
        bundle = load_bundle(name_or_path)
        return cls(bundle, TorchBackend(bundle.build_network(), device, precision))

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
            FrameError: the model takes depth and the frame has none.
        """
        if self.needs_depth and frame.depth_m is None:
            raise FrameError(
                f"model '{self.bundle.name}' takes depth and the frame has none:"
                " enable aligned depth, or use an RGB-only model"
            )
        device = self.backend.device
        with torch.inference_mode():
            rgb = torch.from_numpy(np.ascontiguousarray(frame.rgb)).to(device, non_blocking=True)[None]
            depth_m = None
            if self.needs_depth and frame.depth_m is not None:
                depth_m = torch.from_numpy(np.ascontiguousarray(frame.depth_m)).to(device, non_blocking=True)[None]
            logits = self.backend.infer(*preprocess(rgb, depth_m, self.bundle.input))
            confidence, label = classify(logits, frame.size, self.bundle.input, self._background_id)
        return Segmentation(label[0].cpu().numpy(), confidence[0].cpu().numpy(), frame.stamp_ns, frame.frame_id)


def classify(logits: Tensor, size: tuple[int, int], spec: InputSpec, background_id: int) -> tuple[Tensor, Tensor]:
    """Network output to camera resolution.

    Args:
        logits: (B, K, h, w).
        size: the camera's (H, W).
        spec: its crop says where the logits lie; outside it everything is background with confidence 0.
        background_id: class of what was not looked at.

    Returns:
        Probability of the winning class, float32 (B, H, W), and its id, uint8 (B, H, W).
    """
    top, left, bottom, right = spec.crop_box(*size)
    probability = logits.softmax(dim=1)
    if probability.shape[2:] != (bottom - top, right - left):
        probability = F.interpolate(probability, (bottom - top, right - left), mode="bilinear", align_corners=False)
    confidence, label = probability.max(dim=1)
    label = label.to(torch.uint8)
    if (bottom - top, right - left) != size:
        margins = (left, size[1] - right, top, size[0] - bottom)
        confidence, label = F.pad(confidence, margins), F.pad(label, margins, value=background_id)
    return confidence, label
