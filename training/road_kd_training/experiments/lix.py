# SPDX-License-Identifier: Apache-2.0
"""LIX (Guo et al., TIP 2025): Tables I to V and Fig. 4. Teachers are fed color and depth, students color only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from road_kd_seg import metrics
from road_kd_training.config import AugmentConfig, DataConfig, InputConfig
from road_kd_training.distillers.common.functional import TapPair
from road_kd_training.experiments.base import Experiment, Method, Metric, Protocol, Reported, Row, Share, Sweep
from road_kd_training.experiments.lix_results import KITTI_SEMANTICS, NUIMAGES, VKITTI2, Eight
from road_kd_training.experiments.metrics import of_all

DEEPEST: tuple[TapPair, ...] = (("encoder5", "encoder5"),)
ALL_DEPTHS: tuple[TapPair, ...] = tuple((f"encoder{i}", f"encoder{i}") for i in (2, 3, 4, 5))

MFSC, FWFSC = Metric("mFsc", of_all(metrics.mean_f1)), Metric("fwFsc", of_all(metrics.frequency_weighted_f1))
MIOU, FWIOU = Metric("mIoU", of_all(metrics.mean_iou)), Metric("fwIoU", of_all(metrics.frequency_weighted_iou))
METRICS = (MIOU, MFSC, FWFSC, FWIOU)

LOGITS, FEATURES = "LD", "FD"
METHODS: Mapping[str, tuple[str, str, Method]] = {
    "kd": ("KD", LOGITS, Method("kd")),
    "cwkd": ("CWKD", LOGITS, Method("cwkd")),
    "dkd": ("DKD", LOGITS, Method("dkd", {"warmup_steps": Share(1 / 12)})),
    "dist": ("DIST", LOGITS, Method("dist")),
    "wsld": ("WSLD", LOGITS, Method("wsld")),
    "dwld": ("DWLD (ours)", LOGITS, Method("dwld")),
    "at": ("AT", FEATURES, Method("at", {"taps": DEEPEST})),
    "fitnet": ("FitNet", FEATURES, Method("fitnet", {"taps": DEEPEST})),
    "ft": ("FT", FEATURES, Method("ft", {"taps": DEEPEST})),
    "nst": ("NST", FEATURES, Method("nst", {"taps": DEEPEST})),
    "rkd": ("RKD", FEATURES, Method("rkd", {"taps": DEEPEST})),
    "sp": ("SP", FEATURES, Method("sp", {"taps": DEEPEST})),
    "vid": ("VID", FEATURES, Method("vid", {"taps": DEEPEST})),
    "maskd": ("MasKD", FEATURES, Method("maskd")),
    "diffkd": ("DiffKD", FEATURES, Method("diffkd", {"taps": DEEPEST})),
    "afdcd": ("Af-DCD", FEATURES, Method("afdcd", {"taps": DEEPEST})),
    "pad": ("PAD", FEATURES, Method("pad", {"taps": DEEPEST})),
    "arfd": ("ARFD (ours)", FEATURES, Method("arfd", {"taps": ALL_DEPTHS})),
    "lix": ("LIX (ours)", "LD+FD", Method("lix", {"taps": ALL_DEPTHS})),
}


class Family(NamedTuple):
    """A pair of networks, and its column block in Tables I to III."""

    key: str
    label: str
    teacher: str
    student: str
    first: int
    """Where its four results begin."""
    pretrained: bool
    full: Mapping[str, Any]
    """What the paper's schedule says of it, beside the number of steps."""


SNE = Family(
    "sne", "SNE-RoadSeg", "sne_roadseg_r152", "sne_roadseg_r152_rgb", 0, True, {"batch_size": 3, "learning_rate": 1e-3}
)
MF = Family("mf", "MFNet", "mfnet", "mfnet_rgb", 4, False, {"batch_size": 8, "learning_rate": 1e-2})

EPOCHS = 500
_DEVIATIONS = (
    "input size, learning rate and its schedule were not available: the networks' own authors' rates"
    " (SNE-RoadSeg 0.001, MFNet 0.01) with polynomial decay are taken",
    "X is inverse depth; the taps and the weights of the terms are not in the text: the deepest encoder tap for the"
    " compared methods, four encoder taps for ARFD and LIX, weights as in `road-kd list distillers`",
)


def _protocol(dataset: str, train: str, validation: str, size: tuple[int, int], summary: str, *more: str) -> Protocol:
    held_out = DataConfig(dataset, {"split": validation})
    return Protocol(
        train=(DataConfig(dataset, {"split": train}),),
        validation=(held_out,),
        tests={f"{dataset} validation": held_out},
        summary=f"{summary} at {size[0]}x{size[1]}, SGD, {EPOCHS} epochs, early stop",
        settings={
            "input": InputConfig(*size),
            "augment": AugmentConfig(min_scale=1.0, max_scale=2.0),
            "optimizer": "sgd",
            "weight_decay": 5e-4,
            "patience": 10,
        },
        depth={"depth": "inverse", "depth_low": 0.0, "depth_high": 0.25},
        pretrained=True,
        deviations=(*_DEVIATIONS, *more),
    )


class Dataset(NamedTuple):
    """A dataset of Tables I to III."""

    label: str
    frames: int
    """Of the training split."""
    batch_size: int | None
    """For both networks; None: the family's."""
    protocol: Protocol


VKITTI2_DATA = Dataset(
    "vKITTI2",
    500,
    None,
    _protocol("vkitti2", "train", "validation", (384, 1248), "vKITTI2, 500 + 200 frames drawn at random"),
)
KITTI_DATA = Dataset(
    "KITTI Semantics",
    150,
    None,
    _protocol(
        "kitti_semantics", "train", "validation", (384, 1248), "KITTI Semantics, 150 + 50 frames drawn at random",
        "depth is what the dataset's folder holds: the paper's is CreStereo's",
    ),
)  # fmt: skip
NUIMAGES_DATA = Dataset(
    "nuImages",
    560,
    8,
    _protocol(
        "nuimages", "lix_train", "lix_validation", (448, 800), "nuImages, 560 + 240 frames drawn at random",
        "depth is what the dataset's folder holds: the paper's is Depth Anything's",
    ),
)  # fmt: skip


def _four(reported: Eight | None, family: Family) -> Reported:
    if reported is None:
        return {}
    mfsc, fwfsc, miou, fwiou = reported[family.first : family.first + 4]
    return {"mFsc": mfsc, "fwFsc": fwfsc, "mIoU": miou, "fwIoU": fwiou}


def _schedule(family: Family, data: Dataset) -> Mapping[str, Any]:
    batch_size = data.batch_size or family.full["batch_size"]
    steps = EPOCHS * data.frames // batch_size
    return {**family.full, "batch_size": batch_size, "steps": steps, "validate_every": steps // 100}


def _baselines(family: Family, data: Dataset, teacher: Reported, student: Reported) -> tuple[Row, Row]:
    full = _schedule(family, data)
    return (
        Row(f"{family.key}_teacher", f"{family.label}: Teacher Network", "teacher", teacher, family.teacher, depth=True,
            pretrained=family.pretrained, full=full, group=family.label),
        Row(f"{family.key}_student", f"{family.label}: Student Network", "baseline", student, family.student,
            pretrained=family.pretrained, full=full, group=family.label),
    )  # fmt: skip


def _distilled(key: str, label: str, method: Method, paper: Reported, family: Family, data: Dataset, group: str) -> Row:
    return Row(
        f"{family.key}_{key}", label, "distilled", paper, family.student, pretrained=family.pretrained,
        methods=(method,), teachers=(f"{family.key}_teacher",), baseline=f"{family.key}_student",
        full=_schedule(family, data), group=group,
    )  # fmt: skip


def _comparison(number: str, id_: str, data: Dataset, reported: Mapping[str, Eight]) -> Experiment:
    rows: list[Row] = []
    for family in (SNE, MF):
        rows += _baselines(family, data, _four(reported["teacher"], family), _four(reported["student"], family))
        rows += [
            _distilled(key, f"{family.label}: {label}", method, _four(reported[key], family), family, data, group)
            for key, (label, group, method) in METHODS.items()
        ]
    return Experiment(
        id=id_,
        title=f"LIX, Table {number}: {data.label}",
        dataset=f"{data.label}, validation",
        metrics=METRICS,
        rows=tuple(rows),
        full=data.protocol,
    )


_MF_TEACHER, _MF_STUDENT = _baselines(
    MF, VKITTI2_DATA, _four(VKITTI2["teacher"], MF), _four(VKITTI2["student"], MF)
)  # the ablations are of MFNet on vKITTI2
_SHOWN = "teacher and student are in Table I; they are here because a gain needs them"


def _ablation(key: str, label: str, method: Method, paper: Reported) -> Row:
    return _distilled(key, label, method, paper, MF, VKITTI2_DATA, "")


def _reported(mfsc: float, fwfsc: float, miou: float, fwiou: float) -> Reported:
    return {"mFsc": mfsc, "fwFsc": fwfsc, "mIoU": miou, "fwIoU": fwiou}


TABLE_4 = Experiment(
    id="lix/table4",
    title="LIX, Table IV: what the dynamic weight controller is fed",
    dataset="vKITTI2, validation (MFNet)",
    metrics=METRICS,
    rows=(
        _MF_TEACHER,
        _MF_STUDENT,
        Row("unknown", "(label lost)", "cited", _reported(90.90, 96.84, 84.12, 94.03), baseline="mf_student",
            note="not run: the first row's label is a formula that was not available"),
        _ablation("probabilities", "probabilities", Method("dwld", {"with_confidence": False}),
                  _reported(91.42, 96.93, 84.96, 94.22)),
        _ablation("confidence", "probabilities and confidence", Method("dwld"), _reported(92.29, 97.22, 85.94, 94.68)),
    ),
    full=VKITTI2_DATA.protocol,
    notes=(
        _SHOWN,
        "the labels of the second and third row are inferred from the text: confidence brings about 1 point",
    ),
)  # fmt: skip

_KERNELS = {"laplace": "Laplace", "gaussian": "Gaussian", "linear": "Linear", "none": "w/o kernel regression"}
_CONSISTENCIES = {"cosine": "cosine similarity", "euclidean": "Euclidean distance", "pearson": "Pearson correlation",
                  "cka": "CKA"}  # fmt: skip
_TABLE_5: Mapping[str, tuple[float, float, float, float]] = {
    "laplace": (88.69, 90.64, 89.15, 92.46),
    "gaussian": (91.63, 91.26, 88.93, 91.33),
    "linear": (86.36, 90.50, 89.68, 91.25),
    "none": (86.39, 89.81, 88.51, 90.02),
}

TABLE_5 = Experiment(
    id="lix/table5",
    title="LIX, Table V: kernel regression and measure of consistency",
    dataset="vKITTI2, validation (MFNet)",
    metrics=(MFSC, MIOU, FWFSC, FWIOU),
    rows=(
        _MF_TEACHER,
        _MF_STUDENT,
        *(
            _ablation(
                f"{kernel}_{consistency}",
                f"{_KERNELS[kernel]}, {name}",
                Method("arfd", {"taps": ALL_DEPTHS, "kernel": kernel, "consistency": consistency}),
                {"mFsc": mfsc},
            )
            for kernel, reported in _TABLE_5.items()
            for (consistency, name), mfsc in zip(_CONSISTENCIES.items(), reported, strict=True)
        ),
    ),
    full=VKITTI2_DATA.protocol,
    notes=(_SHOWN, "the paper names neither metric nor network: 92.46 is ARFD's mFsc with MFNet in Table I"),
)

_BETAS, _LAYERS = tuple(range(1, 11)), tuple(range(1, 6))
_CONTROLLERS = {
    "student": ("student's logits", "student", 0.0),
    "student_dropout": ("student's logits, dropout", "student", 0.5),
    "teacher": ("teacher's logits", "teacher", 0.0),
    "teacher_dropout": ("teacher's logits, dropout", "teacher", 0.5),
}

FIG_4 = Experiment(
    id="lix/fig4",
    title="LIX, Fig. 4: (a) DKD's fixed weight against DWLD, (b) layers, dropout and input of the controller",
    dataset="vKITTI2, validation (MFNet)",
    metrics=METRICS,
    rows=(
        _MF_TEACHER,
        _MF_STUDENT,
        _ablation("dwld", "DWLD", Method("dwld"), {"mIoU": 85.94, "mFsc": 92.29}),
        *(
            _ablation(
                f"dkd_beta{beta}",
                f"(a) DKD, β = {beta}",
                Method("dkd", {"warmup_steps": Share(1 / 12)}, {"target": 1.0, "non_target": float(beta)}),
                {},
            )
            for beta in _BETAS
        ),
        *(
            _ablation(
                f"{key}_layers{layers}",
                f"(b) {label}, {layers} layers",
                Method("dwld", {"layers": layers, "dropout": dropout, "controller_input": fed}),
                {},
            )
            for key, (label, fed, dropout) in _CONTROLLERS.items()
            for layers in _LAYERS
        ),
    ),
    full=VKITTI2_DATA.protocol,
    sweeps=(
        Sweep(
            "(a) weight β of the non-target term",
            {f"mf_dkd_beta{beta}": ("DKD", float(beta)) for beta in _BETAS},
            levels=("mf_student", "mf_dwld"),
        ),
        Sweep(
            "(b) layers of the controller",
            {
                f"mf_{key}_layers{layers}": (label, float(layers))
                for key, (label, _, _) in _CONTROLLERS.items()
                for layers in _LAYERS
            },
            levels=("mf_student",),
        ),
    ),
    notes=(
        _SHOWN,
        "the figure's values are not printed; DWLD's are those of Table I. The text says that DWLD is"
        " better than DKD for every β, that the student's logits serve better than the teacher's, that three layers"
        " do best, and that dropout does not help; the rate of dropout (here 0.5) is not given",
    ),
)

FIG_5 = Experiment(
    id="lix/fig5",
    title="LIX, Fig. 5: agreement of the student's features with the teacher's over training",
    dataset="vKITTI2, validation (MFNet)",
    metrics=METRICS,
    rows=(
        _MF_TEACHER,
        _MF_STUDENT,
        _ablation("arfd", "ARFD", Method("arfd", {"taps": ALL_DEPTHS}), _four(VKITTI2["arfd"], MF)),
        _ablation("lix", "LIX", Method("lix", {"taps": ALL_DEPTHS}), _four(VKITTI2["lix"], MF)),
    ),
    full=VKITTI2_DATA.protocol,
    followed=ALL_DEPTHS,
    notes=(
        _SHOWN,
        "the figure's values are not printed; the text says that the score of the distilled student steadily increases"
        " and stabilizes, and that the baseline's fluctuates throughout",
        "CKA is over the positions of test images, of the averaged weights, mean over the four taps; the paper does not"
        " say on which images, features and taps its score is",
    ),
)

EXPERIMENTS = (
    _comparison("I", "lix/table1", VKITTI2_DATA, VKITTI2),
    _comparison("II", "lix/table2", KITTI_DATA, KITTI_SEMANTICS),
    _comparison("III", "lix/table3", NUIMAGES_DATA, NUIMAGES),
    TABLE_4,
    TABLE_5,
    FIG_4,
    FIG_5,
)
