# SPDX-License-Identifier: Apache-2.0
"""What every network and every inference engine promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from road_kd_seg.backends import Backend
from road_kd_seg.errors import RoadKdError
from road_kd_seg.networks import SegmentationNetwork, SegOutput
from road_kd_training.testing.checks import Check, expect, expect_error

NUM_CLASSES = 5


def check_network(build: Callable[..., SegmentationNetwork], **options: Any) -> Iterator[Check]:
    """What every network promises: `build(num_classes, **options)` as `build_network` calls it."""

    def outputs(size: tuple[int, int] | None = None, batch: int = 2) -> tuple[SegmentationNetwork, Any, SegOutput]:
        torch.manual_seed(0)
        network = build(NUM_CLASSES, **options)
        divisor = network.size_divisor
        height, width = size or (max(divisor, -(-64 // divisor) * divisor), max(divisor, -(-96 // divisor) * divisor))
        rgb = torch.rand(batch, 3, height, width)
        depth = torch.rand(batch, network.depth_channels, height, width) if network.depth_channels else None
        return network, (rgb, depth), network.train()(rgb, depth)

    def announces() -> None:
        network, (rgb, _), output = outputs()
        expect(output.logits.shape[:2] == (2, NUM_CLASSES), f"logits are {tuple(output.logits.shape)}")
        expect(output.features.keys() == network.feature_info.keys(), "features are not those of feature_info")
        for name, info in network.feature_info.items():
            shape = output.features[name].shape
            expected = (2, info.channels, *(-(-side // info.stride) for side in rgb.shape[-2:]))
            expect(shape == expected, f"tap '{name}' is {tuple(shape)}, feature_info says {expected}")

    def learns() -> None:
        network, _, output = outputs()
        torch.stack([x.float().square().mean() for x in (output.logits, *output.features.values())]).sum().backward()
        idle = [name for name, x in network.named_parameters() if x.grad is None or not x.grad.isfinite().all()]
        expect(not idle, f"no finite gradient reaches {', '.join(idle[:5])}")

    def is_deterministic() -> None:
        network, inputs, _ = outputs()
        with torch.no_grad():
            first, second = (network.eval()(*inputs).logits for _ in range(2))
        expect(torch.equal(first, second), "eval mode gives two results for one input")

    def keeps_samples_apart() -> None:
        network, inputs, _ = outputs()
        with torch.no_grad():
            both = network.eval()(*inputs).logits
            one = network(*(None if x is None else x[:1] for x in inputs)).logits
        torch.testing.assert_close(both[:1], one, rtol=1e-3, atol=1e-4)  # float32 sums in another order

    def refuses_depth_it_does_not_have() -> None:
        network, (rgb, depth), _ = outputs()
        wrong = None if depth is not None else torch.rand(2, 1, *rgb.shape[-2:])
        expect_error(lambda: network(rgb, wrong), RoadKdError, "depth")

    yield Check("logits and taps have the announced shapes", announces)
    yield Check("every parameter gets a finite gradient", learns)
    yield Check("eval mode is deterministic", is_deterministic)
    yield Check("in eval mode a sample does not depend on its batch", keeps_samples_apart)
    yield Check("missing or unexpected depth is refused", refuses_depth_it_does_not_have)


def check_backend(backend: Backend, network: SegmentationNetwork, size: tuple[int, int]) -> Iterator[Check]:
    """What an inference engine promises: what PyTorch gives, in memory of its own.

    Args:
        backend: runs `network`'s weights.
        network: on the CPU, in eval mode.
        size: (H, W) of its input.
    """

    def inputs(seed: int) -> tuple[Tensor, Tensor | None]:
        generator = torch.Generator().manual_seed(seed)
        rgb = torch.rand(1, 3, *size, generator=generator)
        depth = torch.rand(1, network.depth_channels, *size, generator=generator) if network.depth_channels else None
        return rgb, depth

    def infer(seed: int) -> Tensor:
        rgb, depth = inputs(seed)
        return backend.infer(rgb.to(backend.device), None if depth is None else depth.to(backend.device))

    def agrees() -> None:
        with torch.inference_mode():
            expected = network(*inputs(0)).logits.argmax(dim=1)
        share = (infer(0).argmax(dim=1).cpu() == expected).float().mean().item()
        expect(share > 0.99, f"the winning class agrees with PyTorch at {share:.2%} of the pixels, expected over 99 %")

    def gives_floats() -> None:
        logits = infer(0)
        expect(logits.dtype == torch.float32 and logits.ndim == 4, f"logits are {logits.dtype} {tuple(logits.shape)}")
        expect(logits.device.type == backend.device.type, f"logits are on {logits.device}, not {backend.device}")

    def keeps_outputs_apart() -> None:
        first = infer(0)
        before = first.clone()
        infer(1)
        expect(torch.equal(first, before), "the second frame's logits overwrote the first's")

    yield Check("logits are float32 (B, K, h, w) on its device", gives_floats)
    yield Check("it predicts as PyTorch does", agrees)
    yield Check("every output has memory of its own", keeps_outputs_apart)
