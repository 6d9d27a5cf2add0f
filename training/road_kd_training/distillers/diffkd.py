# SPDX-License-Identifier: Apache-2.0
"""DiffKD (Huang et al., "Knowledge Diffusion for Distillation", NeurIPS 2023).

B batch, C channels, H W size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from road_kd_seg.networks import SegOutput
from road_kd_training.distillers.common.base import Needs, NetworkInfo
from road_kd_training.distillers.common.functional import TapPair, align_spatial, full_precision
from road_kd_training.distillers.common.taps import TapDistiller
from road_kd_training.errors import TrainingError

TRAIN_STEPS = 1000
"""Length of the noising process."""


def signal_shares() -> Tensor:
    """ᾱ of every noising step, (1000,): the cumulative product of 1 - β, with β linear from 1e-4 to 0.02."""
    return (1 - torch.linspace(1e-4, 0.02, TRAIN_STEPS, dtype=torch.float64)).cumprod(0)


def denoise_step(noisy: Tensor, noise: Tensor, share: Tensor, next_share: Tensor) -> Tensor:
    """One deterministic DDIM step: remove the predicted noise, put back what belongs to the next noise level.

    Args:
        noisy: (B, C, H, W) of signal share `share`.
        noise: the noise predicted in it, same shape.
        share: ᾱ of `noisy`, scalar.
        next_share: ᾱ after the step, scalar; 1 is free of noise.
    """
    clean = (noisy - (1 - share).sqrt() * noise) / share.sqrt()
    return next_share.sqrt() * clean + (1 - next_share).sqrt() * noise


class _Bottleneck(nn.Module):
    """Residual 1x1, 3x3, 1x1 convolutions, narrow in the middle."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        narrow = max(1, channels // reduction)
        self.body = nn.Sequential(
            nn.Conv2d(channels, narrow, 1),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, narrow, 3, padding=1),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return full_precision(self.body(x)) + x


class _NoisePredictor(nn.Module):
    """The noise in a map (B, C, H, W), given the step (B,)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.time = nn.Embedding(TRAIN_STEPS, channels)
        self.body = nn.Sequential(
            _Bottleneck(channels, 4),
            _Bottleneck(channels, 4),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, noisy: Tensor, step: Tensor) -> Tensor:
        return full_precision(self.body(noisy + self.time(step)[:, :, None, None]))


class _NoiseAdapter(nn.Module):
    """How much of a student's map (B, C, H, W) is signal, in (0, 1): (B, 1, 1, 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = _Bottleneck(channels, 8)
        self.head = nn.Linear(channels, 2)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.body(x).mean(dim=(2, 3))
        return full_precision(self.head(pooled)).softmax(dim=1)[:, :1, None, None]


class FeatureDiffusion(nn.Module):
    """Autoencoder of the teacher's map, diffusion model on its code, and the student's way into it.

    Args:
        student_channels: Cs.
        teacher_channels: Ct.
        code_channels: channels of the code.
        steps: denoising steps.
    """

    shares: Tensor

    def __init__(self, student_channels: int, teacher_channels: int, code_channels: int, steps: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(teacher_channels, code_channels, 1), nn.BatchNorm2d(code_channels))
        self.decoder = nn.Conv2d(code_channels, teacher_channels, 1)
        self.entrance = nn.Conv2d(student_channels, code_channels, 1)
        self.adapter = _NoiseAdapter(code_channels)
        self.predictor = _NoisePredictor(code_channels)
        self.exit = nn.Conv2d(code_channels, code_channels, 1)
        self.register_buffer("shares", signal_shares().float(), persistent=False)
        # The later half of the process, as published: a student's map is half denoised to begin with.
        stride = TRAIN_STEPS // (2 * steps)
        self.schedule = [stride * step for step in reversed(range(steps))]

    def forward(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Terms for student (B, Cs, h, w) and teacher (B, Ct, H, W), the latter without gradient."""
        hidden = full_precision(self.encoder(teacher))
        code = hidden.detach()
        denoised = self.denoise(align_spatial(full_precision(self.entrance(student)), code.shape[-2:]))
        return {
            "denoised_hint": F.mse_loss(full_precision(self.exit(denoised)), code),
            "diffusion": self.diffusion_loss(code),
            "reconstruction": F.mse_loss(full_precision(self.decoder(hidden)), teacher),
        }

    def denoise(self, x: Tensor) -> Tensor:
        """Bring the student's map (B, C, H, W) to the first noise level of the schedule, then denoise it."""
        signal = self.adapter(x)
        x = signal * x + (1 - signal) * torch.randn_like(x)
        nexts = [*self.schedule[1:], None]
        for step, following in zip(self.schedule, nexts, strict=True):
            noise = self.predictor(x, torch.full((x.shape[0],), step, device=x.device))
            next_share = self.shares.new_ones(()) if following is None else self.shares[following]
            x = denoise_step(x, noise, self.shares[step], next_share)
        return x

    def diffusion_loss(self, code: Tensor) -> Tensor:
        """Mean squared error of the noise predicted in a teacher's code (B, C, H, W) at random noise levels."""
        noise = torch.randn_like(code)
        step = torch.randint(0, TRAIN_STEPS, (code.shape[0],), device=code.device)
        share = self.shares[step][:, None, None, None]
        return F.mse_loss(self.predictor(share.sqrt() * code + (1 - share).sqrt() * noise, step), noise)


@dataclass(frozen=True)
class DiffkdConfig:
    """Where and how long the student is denoised."""

    taps: tuple[TapPair, ...]
    """(student tap, teacher tap) pairs; `logits` is the score map."""
    code_channels: int = 0
    """Channels of the teacher's code; 0 for half the teacher's."""
    steps: int = 5
    """Denoising steps, 1 to 500."""


class Diffkd(TapDistiller):
    """The student's features, treated as noisy teacher features, are denoised by a diffusion model of the teacher's.

    Autoencoder and diffusion model learn beside the student, as published; the code that the student is compared with
    is detached. Memory: every denoising step keeps its activations at the tap's resolution; take stride 8, not logits.
    """

    Config = DiffkdConfig
    paper = "Huang et al., NeurIPS 2023"
    needs = Needs(features=True)
    default_weights: ClassVar = {"denoised_hint": 1.0, "diffusion": 1.0, "reconstruction": 1.0}

    def __init__(self, config: DiffkdConfig, student: NetworkInfo, teachers: Sequence[NetworkInfo]) -> None:
        super().__init__(config, student, teachers)
        if not 1 <= config.steps <= TRAIN_STEPS // 2:
            raise TrainingError(f"diffkd: steps is {config.steps}, expected 1 to {TRAIN_STEPS // 2}")
        self.models = nn.ModuleList(
            FeatureDiffusion(ours, theirs, config.code_channels or max(1, theirs // 2), config.steps)
            for ours, theirs in self.channels
        )

    def forward(
        self, student: SegOutput, teachers: Sequence[SegOutput], target: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        """See `Distiller.forward`; labels are not consulted."""
        terms: dict[str, list[Tensor]] = {name: [] for name in self.default_weights}
        for model, pair in zip(self.models, self.pairs(student, teachers), strict=True):
            for name, value in model(pair.student, pair.teacher).items():
                terms[name].append(value)
        return {name: torch.stack(values).sum() for name, values in terms.items()}
