"""Every distillation method by name: one file each, one line here."""

from __future__ import annotations

from collections.abc import Mapping

from road_kd_training.distillers.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.cwd import Cwd
from road_kd_training.distillers.cwkd import Cwkd

__all__ = ["DISTILLERS", "Distiller", "Needs", "NetworkInfo"]

DISTILLERS: Mapping[str, type[Distiller]] = {
    "cwd": Cwd,
    "cwkd": Cwkd,
}
