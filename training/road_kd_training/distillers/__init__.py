# SPDX-License-Identifier: Apache-2.0
"""Every distillation method by name: one file each, one line here."""

from __future__ import annotations

from collections.abc import Mapping

from road_kd_seg.plugins import WithPlugins
from road_kd_training.distillers.afdcd import Afdcd
from road_kd_training.distillers.attention_transfer import AttentionTransfer
from road_kd_training.distillers.bifpn import Bifpn
from road_kd_training.distillers.cct import Cct
from road_kd_training.distillers.cms import Cms
from road_kd_training.distillers.common.base import Distiller, Needs, NetworkInfo
from road_kd_training.distillers.cpkd import Cpkd
from road_kd_training.distillers.cps import Cps
from road_kd_training.distillers.cwd import Cwd
from road_kd_training.distillers.cwkd import Cwkd
from road_kd_training.distillers.dense_kd import DenseKd
from road_kd_training.distillers.diffkd import Diffkd
from road_kd_training.distillers.dist import Dist
from road_kd_training.distillers.dkd import Dkd
from road_kd_training.distillers.dks import Dks
from road_kd_training.distillers.factor_transfer import FactorTransfer
from road_kd_training.distillers.fitnet import Fitnet
from road_kd_training.distillers.holistic import Holistic
from road_kd_training.distillers.ifvd import Ifvd
from road_kd_training.distillers.intra_kd import IntraKd
from road_kd_training.distillers.irg import Irg
from road_kd_training.distillers.lix import Arfd, Dwld, Lix
from road_kd_training.distillers.local import Local
from road_kd_training.distillers.maskd import Maskd
from road_kd_training.distillers.nst import Nst
from road_kd_training.distillers.pad import Pad
from road_kd_training.distillers.pair_wise import PairWise
from road_kd_training.distillers.pixel_wise import PixelWise
from road_kd_training.distillers.pseudo_labels import PseudoLabels
from road_kd_training.distillers.psn import Psn
from road_kd_training.distillers.rkd import Rkd
from road_kd_training.distillers.sad import Sad
from road_kd_training.distillers.similarity_preserving import SimilarityPreserving
from road_kd_training.distillers.skd import Skd
from road_kd_training.distillers.soft_targets import SoftTargets
from road_kd_training.distillers.sslkd import Sslkd
from road_kd_training.distillers.vid import Vid
from road_kd_training.distillers.wsld import Wsld

__all__ = ["DISTILLERS", "Distiller", "Needs", "NetworkInfo"]

DISTILLERS: Mapping[str, type[Distiller]] = WithPlugins(
    "road_kd.distillers",
    {
        "afdcd": Afdcd,
        "arfd": Arfd,
        "at": AttentionTransfer,
        "bifpn": Bifpn,
        "cct": Cct,
        "cms": Cms,
        "cpkd": Cpkd,
        "cps": Cps,
        "cwd": Cwd,
        "cwkd": Cwkd,
        "dense_kd": DenseKd,
        "diffkd": Diffkd,
        "dist": Dist,
        "dkd": Dkd,
        "dks": Dks,
        "dwld": Dwld,
        "fitnet": Fitnet,
        "ft": FactorTransfer,
        "ho": Holistic,
        "ifvd": Ifvd,
        "intra_kd": IntraKd,
        "irg": Irg,
        "kd": SoftTargets,
        "lix": Lix,
        "local": Local,
        "maskd": Maskd,
        "nst": Nst,
        "pa": PairWise,
        "pad": Pad,
        "pi": PixelWise,
        "pseudo_labels": PseudoLabels,
        "psn": Psn,
        "rkd": Rkd,
        "sad": Sad,
        "skd": Skd,
        "sp": SimilarityPreserving,
        "sslkd": Sslkd,
        "vid": Vid,
        "wsld": Wsld,
    },
)
"""Methods by name; those of other packages enter by entry points."""
