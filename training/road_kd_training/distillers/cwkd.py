# SPDX-License-Identifier: Apache-2.0
"""CWKD, LIX's name for channel-wise distillation of the logits (Shu et al., ICCV 2021)."""

from __future__ import annotations

from dataclasses import dataclass

from road_kd_training.distillers.common.base import Needs
from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.distillers.common.taps import LOGITS_TO_LOGITS
from road_kd_training.distillers.cwd import Cwd, CwdConfig


@dataclass(frozen=True)
class CwkdConfig(CwdConfig):
    """Channel-wise distillation of the score maps, with the temperature that its authors recommend there."""

    taps: tuple[TapPair, ...] = LOGITS_TO_LOGITS
    """(student tap, teacher tap) pairs."""
    temperature: float = 4.0
    """Softens the distributions; the authors' README."""


class Cwkd(Cwd):
    """`Cwd` under other defaults."""

    Config = CwkdConfig
    needs = Needs()
