# SPDX-License-Identifier: Apache-2.0
"""Networks with weights that cost nothing to make: what is tested here does not depend on how they were initialized."""

import pytest
import torch

from road_kd_seg.networks import build_network


def _cheap_network(name, num_classes=3, **kwargs):
    with torch.device("meta"):
        network = build_network(name, num_classes, **kwargs)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if parameter.ndim > 1:
                bound = (3 / parameter[0].numel()) ** 0.5  # keeps the variance of what passes through
                parameter.uniform_(-bound, bound, generator=generator)
            else:
                parameter.fill_(1.0 if key.endswith("weight") else 0.1)
        for key, buffer in network.named_buffers():
            buffer.fill_(1 if key.endswith("running_var") else 0)
    return network


def _meta_forward(name, num_classes=3, input_size=(576, 1024), batch=2, **kwargs):
    with torch.device("meta"):
        network = build_network(name, num_classes, **kwargs)
        depth = torch.empty(batch, network.depth_channels, *input_size) if network.depth_channels else None
        return network, network(torch.empty(batch, 3, *input_size), depth)


@pytest.fixture(scope="session")
def cheap_network():
    """`cheap_network(name, num_classes=3, **kwargs)`: real tensors, no initialization scheme."""
    return _cheap_network


@pytest.fixture(scope="session")
def meta_forward():
    """`meta_forward(name, num_classes=3, input_size, batch, **kwargs)` → network and output, without memory."""
    return _meta_forward
