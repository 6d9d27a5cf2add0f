"""Every distillation method by name: one file each, one line here."""

from __future__ import annotations

from collections.abc import Mapping

from road_kd_training.distillers.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.cpkd import Cpkd
from road_kd_training.distillers.cwd import Cwd
from road_kd_training.distillers.cwkd import Cwkd
from road_kd_training.distillers.dkd import Dkd
from road_kd_training.distillers.lix import Arfd, Dwld, Lix

__all__ = ["DISTILLERS", "Distiller", "Needs", "NetworkInfo"]

DISTILLERS: Mapping[str, type[Distiller]] = {
    "cpkd": Cpkd,
    "cwd": Cwd,
    "cwkd": Cwkd,
    "dkd": Dkd,
    "dwld": Dwld,
    "arfd": Arfd,
    "lix": Lix,
}
