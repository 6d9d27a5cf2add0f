"""A model on disk: a folder with model.yaml, weights.safetensors and perhaps model.onnx, checked before it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from road_kd_seg.errors import BundleError, RoadKdError
from road_kd_seg.networks import SegmentationNetwork, build_network
from road_kd_seg.preprocess.input_spec import InputSpec
from road_kd_seg.share import share_candidates
from road_kd_seg.taxonomy import Taxonomy

FORMAT_VERSION = 1
MANIFEST = "model.yaml"
WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"


@dataclass(frozen=True)
class Bundle:
    """What model.yaml says. The weights are checked when it is loaded, and read when the network is built."""

    path: Path
    name: str
    network: str
    network_kwargs: Mapping[str, Any]
    taxonomy: Taxonomy
    input: InputSpec
    weights_sha256: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    onnx_sha256: str | None = None
    """None: the bundle has no model.onnx."""

    def build_network(self) -> SegmentationNetwork:
        """The network with the bundle's weights, in eval mode, on the CPU.

        Raises:
            BundleError: an unknown network, or tensors that do not fit it.
        """
        weights = self.path / WEIGHTS
        try:
            network = build_network(self.network, len(self.taxonomy), **self.network_kwargs)
        except RoadKdError as error:
            raise BundleError(f"model bundle {self.path}: {error}") from error
        try:
            tensors = load_file(weights)
        except (SafetensorError, OSError) as error:
            raise BundleError(f"model bundle {self.path}: {WEIGHTS} cannot be read: {error}. {_MEND}") from error
        expected = network.state_dict()
        missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
        misshapen = [k for k in expected.keys() & tensors.keys() if expected[k].shape != tensors[k].shape]
        if missing or unexpected or misshapen:
            raise BundleError(
                f"model bundle {self.path}: {WEIGHTS} does not fit network '{self.network}'"
                f" with {len(self.taxonomy)} classes: missing {_some(missing)}, unexpected {_some(unexpected)},"
                f" other shape {_some(sorted(misshapen))}. {_MEND}"
            )
        network.load_state_dict(tensors)
        return network.eval()

    def read_onnx(self) -> bytes:
        """The content of model.onnx; checked only here, so that nobody else needs the file.

        Raises:
            BundleError: there is none, or it has a wrong hash.
        """
        if self.onnx_sha256 is None:
            raise BundleError(
                f"model bundle {self.path}: it has no {ONNX}."
                " Write a bundle with one by 'road-kd export BUNDLE --out DIR --onnx', or use backend torch."
            )
        return _read_checked(self.path, ONNX, self.onnx_sha256)


_MEND = "Fetch it again, or write a new bundle with 'road-kd export'."


def resolve_bundle(name_or_path: str | Path) -> Path:
    """Folder of a bundle, given its path or the name of one that ships with the package.

    Raises:
        BundleError: neither exists; the message lists where it was looked for.
    """
    candidates = [Path(name_or_path).expanduser()]
    if len(Path(name_or_path).parts) == 1:
        candidates += share_candidates(Path("models") / name_or_path)
    for candidate in candidates:
        if (candidate / MANIFEST).is_file():
            return candidate.resolve()
    looked = ", ".join(str(c) for c in candidates)
    raise BundleError(
        f"model bundle '{name_or_path}': no {MANIFEST} in {looked}:"
        " pass the folder of a bundle, or the name of a shipped one (road_student)"
    )


def load_bundle(name_or_path: str | Path) -> Bundle:
    """Read and check a bundle.

    Raises:
        BundleError: a missing file, an unreadable manifest, a format of another version, or a wrong hash.
    """
    path = resolve_bundle(name_or_path)
    try:
        manifest = yaml.safe_load((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BundleError(f"model bundle {path}: {MANIFEST} cannot be read: {_one_line(error)}. {_MEND}") from error
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        version = manifest.get("format_version") if isinstance(manifest, dict) else None
        raise BundleError(
            f"model bundle {path}: {MANIFEST} has format_version {version},"
            f" this package reads {FORMAT_VERSION}. {_MEND}"
        )
    try:
        bundle = Bundle(
            path=path,
            name=str(manifest["name"]),
            network=str(manifest["network"]["name"]),
            network_kwargs=dict(manifest["network"]["kwargs"]),
            taxonomy=Taxonomy.from_dicts(manifest["classes"]),
            input=InputSpec.from_dict(manifest["input"]),
            weights_sha256=str(manifest["weights"]["sha256"]),
            provenance=dict(manifest.get("provenance") or {}),
            onnx_sha256=str(manifest["onnx"]["sha256"]) if "onnx" in manifest else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"model bundle {path}: {MANIFEST} lacks or misstates {error}. {_MEND}") from error
    except RoadKdError as error:
        raise BundleError(f"model bundle {path}: {MANIFEST}: {error}") from error
    _read_checked(path, WEIGHTS, bundle.weights_sha256)
    return bundle


def save_bundle(
    path: str | Path,
    network: SegmentationNetwork,
    *,
    name: str,
    network_name: str,
    network_kwargs: Mapping[str, Any],
    taxonomy: Taxonomy,
    input_spec: InputSpec,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write a bundle; an older one in the same folder is replaced, together with its model.onnx.

    Args:
        path: the bundle's folder, made if need be.
        network: its weights are written in float32.
        name: what reports and diagnostics call the model.
        network_name: key of `NETWORKS`.
        network_kwargs: options for `build_network`; plain data.
        taxonomy: as many classes as the network has logits.
        input_spec: what it was trained on.
        provenance: recipe, data, metrics with the split they were measured on; plain data.

    Returns:
        The folder.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ONNX).unlink(missing_ok=True)  # it holds the older weights
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors makes it 0600, which nobody else could load
    manifest = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "network": {"name": network_name, "kwargs": dict(network_kwargs)},
        "classes": taxonomy.to_dicts(),
        "input": input_spec.to_dict(),
        "weights": {"file": WEIGHTS, "sha256": _sha256((folder / WEIGHTS).read_bytes()), "dtype": "float32"},
        "provenance": dict(provenance or {}),
    }
    _write_manifest(folder, manifest)
    return folder


def add_onnx(path: str | Path, model: bytes) -> None:
    """Write `model` as the model.onnx of a bundle that lies in the folder `path`; an older one is replaced."""
    folder = Path(path)
    manifest = yaml.safe_load((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / ONNX).write_bytes(model)
    manifest["onnx"] = {"file": ONNX, "sha256": _sha256(model), "dtype": "float32"}
    _write_manifest(folder, manifest)


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    (folder / MANIFEST).write_text(yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _read_checked(folder: Path, name: str, expected_sha256: str) -> bytes:
    """A file of the bundle in `folder`, or BundleError if it is missing, unreadable or another than model.yaml says."""
    try:
        content = (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"model bundle {folder}: {name} is missing. {_MEND}") from error
    except OSError as error:
        raise BundleError(f"model bundle {folder}: {name} cannot be read: {error}. {_MEND}") from error
    digest = _sha256(content)
    if digest != expected_sha256:
        raise BundleError(
            f"model bundle {folder}: {name} has sha256 {digest[:12]}…, {MANIFEST} expects {expected_sha256[:12]}…."
            f" The download was cut short or the file was edited. {_MEND}"
        )
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _some(names: list[str], most: int = 3) -> str:
    return (", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")) or "none"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
