# SPDX-License-Identifier: Apache-2.0
"""Pieces that several families share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """A convolution without bias, batch norm and ReLU: (B, C, H, W) → (B, out, H/stride, W/stride)."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, h, w) → (B, C, *size), bilinear."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def bin_means(x: Tensor, bins: int) -> Tensor:
    """Mean over each of `bins` x `bins` cells: (B, C, H, W) → (B, C, bins, bins), what `F.adaptive_avg_pool2d` returns.

    A product with two averaging matrices, because ONNX knows adaptive pooling only where the cells divide the map.
    """
    rows, columns = (_averaging_matrix(int(size), bins, x) for size in x.shape[-2:])  # int: tensors while tracing
    return rows @ x @ columns.transpose(0, 1)


def _averaging_matrix(size: int, bins: int, like: Tensor) -> Tensor:
    """(bins, size): row i averages from floor(i·size/bins) up to ceil((i + 1)·size/bins)."""
    index = torch.arange(bins, device=like.device)[:, None]
    position = torch.arange(size, device=like.device)
    cells = (position >= index * size // bins) & (position * bins < (index + 1) * size)
    return (cells / cells.sum(dim=1, keepdim=True)).to(like.dtype)


def max_unpool(x: Tensor, indices: Tensor) -> Tensor:
    """Undo a 2x2 max-pool: each value returns to where it came from, zeros elsewhere. (B, C, h, w) → (B, C, 2h, 2w).

    A scatter, because ONNX has no operator for `F.max_unpool2d`, which it equals.

    Args:
        x: (B, C, h, w).
        indices: as `F.max_pool2d(..., return_indices=True)` gave them, of the same shape.
    """
    batch, channels, height, width = x.shape
    zeros = x.new_zeros(batch, channels, 4 * height * width)
    return zeros.scatter(2, indices.flatten(2), x.flatten(2)).reshape(batch, channels, 2 * height, 2 * width)
