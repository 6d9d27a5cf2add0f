# SPDX-License-Identifier: Apache-2.0
"""How strongly each term pulls at the student: its gradient's norm over the cross entropy's, on one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from road_kd_training.config import TrainConfig
from road_kd_training.errors import TrainingError
from road_kd_training.objective import CROSS_ENTROPY, measuring_step


def gradient_norm(value: Tensor, parameters: Sequence[nn.Parameter]) -> float:
    """Norm of a scalar's gradient in all `parameters` together; 0 where none depends on it. The graph is kept."""
    if not value.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return float(torch.stack([g.float().norm() for g in gradients if g is not None] or [value.new_zeros(())]).norm())


class GradientShares:
    """The weights of a run's terms, and the shares of the gradient that they were found to give.

    With `config.gradient_share` every method begins at the measuring step, and its weights are multiplied there, once,
    so that its whole gradient has that share. A share is relative to the weighted cross entropy; to the unweighted one
    where its weight is 0.

    Raises:
        TrainingError: a share that is not positive.
    """

    def __init__(self, config: TrainConfig, weights: Mapping[str, float]) -> None:
        if config.gradient_share is not None and not config.gradient_share > 0:
            raise TrainingError(f"gradient_share is {config.gradient_share}: expected a number above 0, or none")
        self.wanted = config.gradient_share
        self.step = measuring_step(config) if config.distillers else -1
        self.weights = dict(weights)
        self.shares: dict[str, float] = {}
        """By term; empty until they are measured, and without methods."""

    def measure(self, terms: Mapping[str, Tensor], parameters: Sequence[nn.Parameter]) -> None:
        """Take the shares of all terms of methods (and scale the methods' weights, if the run asks for that).

        Args:
            terms: unweighted, of one batch, with their graph.
            parameters: the student's.
        """
        reference = gradient_norm(terms[CROSS_ENTROPY], parameters) * (self.weights[CROSS_ENTROPY] or 1.0)
        methods: dict[str, list[str]] = {}
        for term in terms:
            if "/" in term:
                methods.setdefault(term.partition("/")[0], []).append(term)
        for own in methods.values():
            if self.wanted is not None:
                total = torch.stack([self.weights[term] * terms[term].float() for term in own]).sum()
                pull = gradient_norm(total, parameters)
                factor = self.wanted * reference / pull if pull > 0 else 1.0
                self.weights |= {term: factor * self.weights[term] for term in own}
            for term in own:
                self.shares[term] = self.weights[term] * gradient_norm(terms[term], parameters) / max(reference, 1e-12)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"weights": dict(self.weights), "shares": dict(self.shares)}

    def load(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self.weights, self.shares = dict(state["weights"]), dict(state["shares"])
