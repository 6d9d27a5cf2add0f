"""Every distillation method by name: one file each, one line here."""

from __future__ import annotations

from collections.abc import Mapping

from road_kd_training.distillers.afdcd import Afdcd
from road_kd_training.distillers.at import At
from road_kd_training.distillers.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.cpkd import Cpkd
from road_kd_training.distillers.cwd import Cwd
from road_kd_training.distillers.cwkd import Cwkd
from road_kd_training.distillers.diffkd import Diffkd
from road_kd_training.distillers.dist import Dist
from road_kd_training.distillers.dkd import Dkd
from road_kd_training.distillers.fitnet import Fitnet
from road_kd_training.distillers.ft import Ft
from road_kd_training.distillers.ho import Ho
from road_kd_training.distillers.ifvd import Ifvd
from road_kd_training.distillers.intra_kd import IntraKd
from road_kd_training.distillers.lix import Arfd, Dwld, Lix
from road_kd_training.distillers.local import Local
from road_kd_training.distillers.maskd import Maskd
from road_kd_training.distillers.nst import Nst
from road_kd_training.distillers.pa import Pa
from road_kd_training.distillers.pad import Pad
from road_kd_training.distillers.pi import Pi
from road_kd_training.distillers.rkd import Rkd
from road_kd_training.distillers.sp import Sp
from road_kd_training.distillers.vid import Vid
from road_kd_training.distillers.wsld import Wsld

__all__ = ["DISTILLERS", "Distiller", "Needs", "NetworkInfo"]

DISTILLERS: Mapping[str, type[Distiller]] = {
    "cpkd": Cpkd,
    "cwd": Cwd,
    "cwkd": Cwkd,
    "intra_kd": IntraKd,
    "dkd": Dkd,
    "dwld": Dwld,
    "arfd": Arfd,
    "lix": Lix,
    "at": At,
    "pi": Pi,
    "pa": Pa,
    "sp": Sp,
    "rkd": Rkd,
    "fitnet": Fitnet,
    "dist": Dist,
    "local": Local,
    "ifvd": Ifvd,
    "wsld": Wsld,
    "nst": Nst,
    "vid": Vid,
    "pad": Pad,
    "ft": Ft,
    "maskd": Maskd,
    "afdcd": Afdcd,
    "ho": Ho,
    "diffkd": Diffkd,
}
