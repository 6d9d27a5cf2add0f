# SPDX-License-Identifier: Apache-2.0
"""Moment pooling for all classes of a batch at once, against two loops over samples and classes.

Run: OMP_NUM_THREADS=1 python training/benchmarks/moment_pooling.py [--device cuda] [--forward-only]
Both run interleaved in the same process, with their backward passes as in training; the medians' ratio is what counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from road_kd_training.distillers.intra_kd import aoi_masks, moment_pool

CLASSES, BATCH, CHANNELS, HEIGHT, WIDTH = 37, 8, 128, 61, 122
"""ApolloScape's classes; ERFNet's deep features for a 488x976 input."""


def pool_by_mask(features: Tensor, aoi: Tensor) -> Tensor:
    """Moments of one class of one sample after the other, by sums over the masked map as Eq. 2 reads: (3, B, K, C)."""
    mu = features.new_zeros(3, aoi.shape[0], aoi.shape[1], features.shape[1])
    for b in range(aoi.shape[0]):
        for k in range(aoi.shape[1]):
            if aoi[b, k].any():
                mask = aoi[b, k].to(features.dtype)
                area = mask.sum()
                mean = (mask * features[b]).sum((1, 2)) / area
                deviation = mask * (features[b] - mean[:, None, None])
                variance = deviation.square().sum((1, 2)) / area
                mu[0, b, k] = mean
                mu[1, b, k] = variance
                mu[2, b, k] = deviation.pow(3).sum((1, 2)) / area / (variance + 1e-6) ** 1.5
    return mu


def pool_by_index(features: Tensor, aoi: Tensor) -> Tensor:
    """The same from each class's own pixels, gathered first: the better loop where classes are small."""
    mu = features.new_zeros(3, aoi.shape[0], aoi.shape[1], features.shape[1])
    for b in range(aoi.shape[0]):
        for k in range(aoi.shape[1]):
            if aoi[b, k].any():
                values = features[b][:, aoi[b, k]]
                mean = values.mean(1, keepdim=True)
                variance = (values - mean).square().mean(1)
                mu[0, b, k] = mean[:, 0]
                mu[1, b, k] = variance
                mu[2, b, k] = (values - mean).pow(3).mean(1) / (variance + 1e-6) ** 1.5
    return mu


def pool_at_once(features: Tensor, aoi: Tensor) -> Tensor:
    """The same, as the method does it: (3, B, K, C)."""
    return torch.stack(moment_pool(features, aoi)[:3])


def time_ms(pool: Callable[[Tensor, Tensor], Tensor], features: Tensor, aoi: Tensor, backward: bool) -> float:
    """Duration of one call, with its backward pass if `backward`, in milliseconds."""
    features = features.clone().requires_grad_(backward)
    started = time.perf_counter()
    pooled = pool(features, aoi)
    if backward:
        pooled.sum().backward()
    if features.is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Print both medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--forward-only", action="store_true", help="as for a teacher, which needs no gradient")
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    coarse = torch.randint(0, CLASSES, (BATCH, HEIGHT // 8 + 1, WIDTH // 8 + 1))
    labels = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :HEIGHT, :WIDTH].to(arguments.device)
    features = torch.randn(BATCH, CHANNELS, HEIGHT, WIDTH, device=arguments.device).relu()
    aoi = aoi_masks(labels, CLASSES)
    backward = not arguments.forward_only
    pools = {"at once": pool_at_once, "loop by mask": pool_by_mask, "loop by index": pool_by_index}
    durations_ms: dict[str, list[float]] = {name: [] for name in pools}
    for _ in range(arguments.repeats):
        for name, pool in pools.items():
            durations_ms[name].append(time_ms(pool, features, aoi, backward))
    device = torch.cuda.get_device_name() if features.is_cuda else f"CPU, {torch.get_num_threads()} threads"
    passes = "forward and backward" if backward else "forward"
    print(f"{passes}, {CLASSES} classes, batch {BATCH}, {CHANNELS} channels, {HEIGHT}x{WIDTH}, {device}")
    at_once_ms = statistics.median(durations_ms["at once"])
    for name, pool in pools.items():
        median_ms = statistics.median(durations_ms[name])
        error = (pool(features, aoi) - pool_at_once(features, aoi)).abs().max()
        print(f"{name:14} {median_ms:8.1f} ms, ratio {median_ms / at_once_ms:5.1f}; differs by {error:.1e}")


if __name__ == "__main__":
    main()
