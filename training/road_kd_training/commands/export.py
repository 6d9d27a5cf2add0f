# SPDX-License-Identifier: Apache-2.0
"""`road-kd export`: the network of a run or a bundle as a bundle for robots, with a model card and perhaps as ONNX."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import tempfile
from pathlib import Path

from jsonargparse import Namespace

from road_kd_seg.backends import load_backend
from road_kd_seg.bundle import (
    ATTACHMENTS,
    INT8,
    MANIFEST,
    ONNX,
    WEIGHTS,
    Bundle,
    add_attachment,
    load_bundle,
    save_bundle,
)
from road_kd_seg.errors import BundleError
from road_kd_seg.files import read_file
from road_kd_seg.networks import SegmentationNetwork
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.signing import SIGNATURE, sign_bundle
from road_kd_seg.tools.golden_frames import make_golden
from road_kd_seg.tools.int8_export import Quantized, quantize
from road_kd_seg.tools.onnx_export import Parity, export_onnx
from road_kd_training.calibration import calibration_frames, scored_frames
from road_kd_training.checkpoints import LAST, load_checkpoint
from road_kd_training.errors import TrainingError
from road_kd_training.model_card import CARD, model_card
from road_kd_training.objective import STUDENT
from road_kd_training.run_folder import CONFIG
from road_kd_training.terminal import plain_console
from road_kd_training.weight_average import average_weights, check_alike

MOST_MEGABYTES = 10
"""What a bundle in models/ may weigh."""

MAX_KEY_BYTES = 100_000

INT8_MARGIN = 0.005
"""How much less than here int8 may agree on the golden frames elsewhere: other CPUs round otherwise."""


def run(options: Namespace) -> None:
    """Write the bundle, or nothing.

    Raises:
        BundleError: the source is no bundle, or a damaged one.
        TrainingError: the run has no such weights, or the folder holds something else or cannot be written.
        RoadKdError: the network cannot be written as ONNX, or ONNX Runtime predicts differently.
    """
    out = Path(options.out).expanduser()
    bundle, network = _open(options.source, options.weights)
    if options.average:
        bundle = _average(bundle, network, options.average, options.share)
    if out.exists() and out.resolve() in (bundle.path.resolve(), Path(options.source).expanduser().resolve()):
        raise TrainingError(f"{out} is the source itself: choose another --out")
    if options.sign:
        read_file(Path(options.sign).expanduser(), MAX_KEY_BYTES)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
            new = _save(Path(folder), bundle, network, options.name or bundle.name)
            if not options.force:
                _check_target(out, new, onnx=options.onnx or options.int8)
            add_attachment(new.path, "golden", make_golden(new))
            parities: tuple[Parity, ...] = ()
            quantized = None
            if options.onnx or options.int8:
                model, parities = export_onnx(new)
                add_attachment(new.path, "onnx", model)
                if options.int8:
                    quantized = _quantize(new, model)
            parameters = sum(parameter.numel() for parameter in network.parameters())
            card = model_card(load_bundle(new.path), parameters, _command(options), parities)
            (new.path / CARD).write_text(card, encoding="utf-8")
            if options.sign:
                sign_bundle(new.path, Path(options.sign).expanduser())
            _move(new.path, out, keep_card=not options.force)
    except OSError as error:
        raise TrainingError(f"{out} cannot be written: {error}: free some space or choose another --out") from error
    _report(out, parities, quantized)


def _open(source: str, weights: str) -> tuple[Bundle, SegmentationNetwork]:
    """What a run or a bundle is, with the weights that were asked for."""
    run_folder = Path(source).expanduser()
    best = run_folder / "bundle"
    if not (best / MANIFEST).is_file():
        if (run_folder / LAST).is_file():
            raise TrainingError(f"run {run_folder} has no bundle yet, it has not been validated: resume training")
        if weights == "last":
            raise TrainingError(f"{source} is no run, so it has no last weights: leave --weights out")
        bundle = load_bundle(source)
        return bundle, bundle.build_network()
    bundle = load_bundle(best)
    network = bundle.build_network()
    provenance = dict(bundle.provenance)
    if (run_folder / CONFIG).is_file():
        provenance["validation_data"] = _validation_data(run_folder / CONFIG)
    if weights == "last":
        provenance |= {"step": _load_last(run_folder, network), "validation": {}}
    return dataclasses.replace(bundle, provenance=provenance), network


def _average(bundle: Bundle, network: SegmentationNetwork, source: str, share: float) -> Bundle:
    """Move the network's weights towards another's; scores of neither are those of both."""
    other, theirs = _open(source, "best")
    check_alike(bundle, other)
    average_weights(network, theirs, share)
    said = f"{share:g} of the weights {other.weights_sha256[:12]} of {other.name}"
    return dataclasses.replace(bundle, provenance={**bundle.provenance, "average": said, "validation": {}})


def _validation_data(config: Path) -> list[dict[str, object]]:
    """What the scores of a run were measured on: the bundle has no more than the names."""
    try:
        sources = json.loads(config.read_text(encoding="utf-8"))["validation"]
        return [{key: source[key] for key in ("dataset", "options")} for source in sources]
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{config} cannot be read: {error!r}: restore it, or export the bundle beside it"
        ) from error


def _load_last(run_folder: Path, network: SegmentationNetwork) -> int:
    """Load the averaged weights of a run's last checkpoint; returns its step."""
    state = load_checkpoint(run_folder)
    if state is None:
        raise TrainingError(f"run {run_folder} has no {LAST}: export its best weights, or retrain")
    try:
        network.load_state_dict(state["averages"][STUDENT])
        return int(state["step"])
    except (KeyError, RuntimeError) as error:
        raise TrainingError(
            f"{run_folder / LAST} does not fit the run's bundle, another version wrote it: export its best weights"
        ) from error


def _save(folder: Path, bundle: Bundle, network: SegmentationNetwork, name: str) -> Bundle:
    save_bundle(
        folder,
        network,
        name=name,
        network_name=bundle.network,
        network_kwargs=bundle.network_kwargs,
        taxonomy=bundle.taxonomy,
        input_spec=bundle.input,
        provenance=bundle.provenance,
    )
    return load_bundle(folder)


def _quantize(bundle: Bundle, model: bytes) -> Quantized:
    """Write model.int8.onnx into a bundle that has golden frames, with what it agrees with them less a margin."""
    quantized = quantize(bundle, model, calibration_frames(bundle), scored_frames(bundle))
    add_attachment(bundle.path, "int8", quantized.model, min_agreement=0.0)
    engine = load_backend("onnx", new := load_bundle(bundle.path), "cpu", "int8")
    agreement = Segmenter(new, engine).check_golden() or 0.0
    add_attachment(bundle.path, "int8", quantized.model, min_agreement=max(agreement - INT8_MARGIN, 0.0))
    return quantized


def _check_target(out: Path, new: Bundle, *, onnx: bool) -> None:
    """Refuse a folder that holds anything but this very model."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    found = "something that is no bundle"
    if (out / MANIFEST).is_file():
        try:
            old = load_bundle(out)
            if _identity(old) == _identity(new) and (onnx or old.onnx_sha256 is None):
                return
            found = f"'{old.name}' ({old.network}, weights {old.weights_sha256[:12]}…)"
            found += f" with a {ONNX}: add --onnx to rewrite it" if _identity(old) == _identity(new) else ""
        except BundleError:
            found = "a damaged bundle"
    raise TrainingError(f"{out} holds {found}: choose another --out, or replace it with --force")


def _identity(bundle: Bundle) -> tuple[object, ...]:
    network = bundle.network, dict(bundle.network_kwargs)
    return bundle.name, network, bundle.taxonomy, bundle.input, bundle.weights_sha256


def _move(folder: Path, out: Path, *, keep_card: bool) -> None:
    """Put the files in place, the manifest last; a card that people may have written on can stay."""
    out.mkdir(exist_ok=True)
    if keep_card and (out / CARD).is_file():
        (folder / CARD).unlink()
    for name in (*ATTACHMENTS.values(), SIGNATURE):
        if not (folder / name).is_file():
            (out / name).unlink(missing_ok=True)
    for name in (WEIGHTS, *ATTACHMENTS.values(), CARD, SIGNATURE, MANIFEST):
        if (folder / name).is_file():
            os.replace(folder / name, out / name)


def _command(options: Namespace) -> str:
    words = ["road-kd", "export", str(options.source), "--out", str(options.out)]
    words += ["--name", options.name] if options.name else []
    words += ["--weights", options.weights] if options.weights != "best" else []
    words += ["--onnx"] if options.onnx else []
    words += ["--int8"] if options.int8 else []
    words += ["--sign", options.sign] if options.sign else []
    return shlex.join(words)


def _report(out: Path, parities: tuple[Parity, ...], quantized: Quantized | None) -> None:
    console = plain_console()
    for parity in parities:
        console.print(f"{ONNX} against PyTorch, {parity.describe()}", soft_wrap=True)
    if quantized is not None:
        console.print(f"{INT8}: {quantized.describe()}", soft_wrap=True)
    names = (MANIFEST, WEIGHTS, *ATTACHMENTS.values(), SIGNATURE, CARD)
    files = [out / name for name in names if (out / name).is_file()]
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    console.print(f"wrote {out}: {', '.join(file.name for file in files)}, {megabytes:.1f} MB", soft_wrap=True)
    if megabytes > MOST_MEGABYTES:
        console.print(f"warning: more than the {MOST_MEGABYTES} MB that a bundle in models/ may have", soft_wrap=True)
    console.print(
        f"next: seg_node --ros-args -p model:={out}, or replay_eval BAG --model {out} --out REPORT", soft_wrap=True
    )
