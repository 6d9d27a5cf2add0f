# SPDX-License-Identifier: Apache-2.0
"""Attention blocks of MAFNet (Feng et al., T-IM 2022): channel, dual (DANet's), and its fifth stage's transformer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Scales channels by a bottleneck on their means: pool, FC, BN, ReLU, FC, sigmoid. Keeps (B, C, H, W)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        hidden = F.relu(self.norm(self.squeeze(x.mean(dim=(2, 3)))))
        scale: Tensor = self.excite(hidden).sigmoid()
        return x * scale[:, :, None, None]


class DualAttention(nn.Module):
    """DANet's channel and position attention (Fu et al., CVPR 2019), added; each residual gain starts at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.position_gain = nn.Parameter(torch.zeros(1))
        self.channel_gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape; 2x at the start, as both branches carry the residual."""
        return 2 * x + self.position_gain * self._over_positions(x) + self.channel_gain * self._over_channels(x)

    def _over_positions(self, x: Tensor) -> Tensor:
        query, key, value = (
            projection(x).flatten(2).transpose(1, 2).unsqueeze(1) for projection in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return mixed.squeeze(1).transpose(1, 2).reshape(x.shape)

    def _over_channels(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        energy = flat @ flat.transpose(1, 2)
        weights = (energy.amax(dim=-1, keepdim=True) - energy).softmax(dim=-1)
        return (weights @ flat).reshape(x.shape)


class TransformerStage(nn.Module):
    """2x2 patches, three pre-norm transformer blocks, a 3x3 convolution: (B, C, H, W) → (B, out, H/2, W/2).

    Args:
        in_channels: C.
        hidden: width of the tokens.
        out_channels: of the result.
        grid: (rows, columns) of the learned position embedding; other inputs get it interpolated.
    """

    def __init__(self, in_channels: int, hidden: int, out_channels: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.patches = nn.Conv2d(in_channels, hidden, 2, stride=2)
        self.position = nn.Parameter(torch.zeros(1, hidden, *grid))
        self.dropout = nn.Dropout(0.1)
        self.blocks = nn.Sequential(*(_TransformerBlock(hidden) for _ in range(3)))
        self.norm = nn.LayerNorm(hidden, eps=1e-6)
        self.project = nn.Sequential(
            nn.Conv2d(hidden, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        patches = self.patches(x)
        embedded = self.dropout(patches + resize_position(self.position, patches.shape[-2:]))
        tokens = self.norm(self.blocks(embedded.flatten(2).transpose(1, 2)))
        projected: Tensor = self.project(tokens.transpose(1, 2).reshape(patches.shape))
        return projected


def resize_position(position: Tensor, size: torch.Size) -> Tensor:
    """A learned position embedding (1, C, rows, columns) at another grid, bilinearly; itself at its own."""
    if position.shape[-2:] == size:
        return position
    return F.interpolate(position, size=size, mode="bilinear", align_corners=False)


class _TransformerBlock(nn.Module):
    """Pre-norm attention and MLP, each with a shortcut: (B, N, C) → the same shape."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden, eps=1e-6)
        self.attention = _NormalizedAttention(hidden)
        self.mlp_norm = nn.LayerNorm(hidden, eps=1e-6)
        widen, narrow = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        for layer in (widen, narrow):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)
        self.mlp = nn.Sequential(widen, nn.GELU(), nn.Dropout(0.1), narrow, nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        out: Tensor = x + self.mlp(self.mlp_norm(x))
        return out


class _NormalizedAttention(nn.Module):
    """16-head self-attention with batch norm per head on the scores, before the softmax, and on the mixed values."""

    heads = 16

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.score_norm = nn.BatchNorm2d(self.heads)
        self.context_norm = nn.BatchNorm2d(self.heads)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        mixed = self.context_norm(self.score_norm(scores).softmax(dim=-1) @ value)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out
