# SPDX-License-Identifier: Apache-2.0
"""The first draft of a bundle's MODEL_CARD.md: what its model.yaml knows; what only people know is left for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from road_kd_seg.bundle import ONNX, WEIGHTS, Bundle
from road_kd_seg.tools.onnx_export import OPSET, Parity

CARD = "MODEL_CARD.md"

_SHOWN = ("train", "unlabeled", "validation", "validation_data", "teachers", "distillers", "weights")
"""Keys of the provenance that have a place of their own; the others become rows of a table."""


def model_card(bundle: Bundle, parameters: int, command: str, parities: Sequence[Parity] = ()) -> str:
    """Markdown.

    Args:
        bundle: whose card; its files exist.
        parameters: of the network.
        command: that wrote the bundle.
        parities: of model.onnx with PyTorch.
    """
    classes = ", ".join(f"{c.id} {c.name}" for c in bundle.taxonomy.classes)
    depth = "" if bundle.input.depth is None else " and aligned depth"
    sections = [
        f"# {bundle.name}\n\nSegments a color image{depth} into {classes}.\n\n_To write: what it is for._",
        _table(_facts(bundle, parameters)),
        "## How it was made\n\n" + "\n".join(_lists(bundle.provenance)),
        _table({key: _describe(value) for key, value in bundle.provenance.items() if key not in _SHOWN}),
        f"Written by\n\n```bash\n{command}\n```",
        f"## What it scores\n\n{_scores(bundle)}",
        "\n".join(f"- {ONNX} against PyTorch, {parity.describe()}" for parity in parities),
        "## Limits\n\n_To write: what it was never measured on, what it misses, and that it is no safety function._",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _facts(bundle: Bundle, parameters: int) -> dict[str, str]:
    options = ", ".join(f"{key}: {value}" for key, value in bundle.network_kwargs.items())
    spec = bundle.input
    depth = "color" if spec.depth is None else f"color and depth ({_describe(spec.depth.to_dict())})"
    crop = "" if spec.crop == (0.0, 0.0, 1.0, 1.0) else f", crop {spec.crop} (top, left, bottom, right)"
    facts = {
        "network": f"`{bundle.network}`{f' ({options})' if options else ''}, {parameters:,} parameters",
        "input": f"{depth} at {spec.size[0]}x{spec.size[1]}{crop}; predictions at the camera's resolution",
        "weights": f"`{WEIGHTS}`, {_megabytes(bundle, WEIGHTS)}, float32, sha256 in `model.yaml`",
    }
    if bundle.onnx_sha256 is not None:
        facts[ONNX] = f"{_megabytes(bundle, ONNX)}, float32, opset {OPSET}, batch of 1"
    return facts | {"license": "_To write._"}


def _megabytes(bundle: Bundle, name: str) -> str:
    return f"{(bundle.path / name).stat().st_size / 1e6:.1f} MB"


def _lists(provenance: Mapping[str, Any]) -> Iterator[str]:
    """One item for each thing that a run was made of."""
    nothing = {"train": "not recorded", "unlabeled": None, "teachers": "none", "distillers": "none"}
    for key, otherwise in nothing.items():
        for item in provenance.get(key) or []:
            yield f"- {key}: {_describe(item)}"
        if not provenance.get(key) and otherwise is not None:
            yield f"- {key}: {otherwise}"
    if provenance.get("weights"):
        yield f"- weights of the loss's terms: {_describe(provenance['weights'])}"


def _scores(bundle: Bundle) -> str:
    validation: Mapping[str, Any] = bundle.provenance.get("validation") or {}
    if not validation:
        return "Not measured: `road-kd evaluate` does."
    data = bundle.provenance.get("validation_data") or []
    described = [_describe(item) for item in data] if len(data) == len(validation) else list(validation)
    names = [c.name for c in bundle.taxonomy.classes]
    rows = [["data", "frames", "mIoU", *names], ["---"] * (3 + len(names))]
    for what, score in zip(described, validation.values(), strict=True):
        ious = [_number(score.get("iou", {}).get(name)) for name in names]
        rows.append([what, str(score.get("frames", "–")), _number(score.get("miou")), *ious])
    note = "IoU per class; classes that the data never labels have none. The checkpoint was chosen by these scores."
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + f"\n\n{note}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _table(rows: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]) if rows else ""


def _describe(value: Any) -> str:
    """Plain data in one line; what is None or empty is left out of mappings."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_describe(item)}" for key, item in value.items() if item not in (None, {}, [], ""))
    if isinstance(value, list):
        return "[" + ", ".join(map(_describe, value)) + "]"
    return "–" if value is None else str(value).replace("|", "\\|")
