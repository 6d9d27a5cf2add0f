# SPDX-License-Identifier: Apache-2.0
"""A model on disk: a folder with model.yaml, weights.safetensors and perhaps model.onnx, checked before it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save
from torch.overrides import TorchFunctionMode

from road_kd_seg.errors import BundleError, RoadKdError, printable, shown
from road_kd_seg.files import read_file, write_file
from road_kd_seg.golden import MAX_BYTES as MAX_GOLDEN_BYTES
from road_kd_seg.networks import NETWORKS, SegmentationNetwork, build_network
from road_kd_seg.networks.common.options import check_options
from road_kd_seg.plain_data import MAX_BYTES, Field, parse_yaml
from road_kd_seg.preprocess.input_spec import InputSpec
from road_kd_seg.share import share_candidates
from road_kd_seg.signing import SIGNATURE, verify_bundle
from road_kd_seg.taxonomy import Taxonomy
from road_kd_seg.weights import HEAD_BYTES, check_header, read_weights

FORMAT_VERSION = 1
MANIFEST = "model.yaml"
WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"
INT8 = "model.int8.onnx"
GOLDEN = "golden.safetensors"
THRESHOLDS = "thresholds.yaml"
ATTACHMENTS = {"onnx": ONNX, "int8": INT8, "golden": GOLDEN, "thresholds": THRESHOLDS}
"""Files that a bundle may hold beside its weights, by their key in model.yaml."""
MIN_AGREEMENT = 0.995
"""Share of a golden frame's pixels on which an engine in floating point has to agree with the exporter's label."""
MAX_WEIGHTS_BYTES = 1_000_000_000
_LARGE_BYTES = 50_000_000
"""Weights of more take so long to read and to hash that their header is checked before."""


@dataclass(frozen=True)
class Attachment:
    """A file beside the weights."""

    sha256: str
    min_agreement: float = MIN_AGREEMENT
    """Of `golden`: the bound for every engine in floating point. Of `int8`: its own, as the exporter measured it."""


@dataclass(frozen=True)
class Bundle:
    """What model.yaml says, checked, and the weights, whose hash was checked; nothing is built yet."""

    path: Path
    name: str
    network: str
    network_kwargs: Mapping[str, Any]
    taxonomy: Taxonomy
    input: InputSpec
    weights_sha256: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    attachments: Mapping[str, Attachment] = field(default_factory=dict)
    """By key of `ATTACHMENTS`."""
    weights: bytes = field(default=b"", repr=False, compare=False)
    """The very bytes that were hashed."""

    def build_network(self) -> SegmentationNetwork:
        """The network with the bundle's weights, in eval mode, on the CPU.

        Raises:
            BundleError: an unknown network, or tensors that do not fit it.
        """
        network = self._build_without_memory()
        with self._fits_network():
            tensors = read_weights(self.weights, network.state_dict())
        network.load_state_dict(tensors, assign=True)
        if any(tensor.is_meta for tensor in chain(network.parameters(), network.buffers())):
            network = self._build()  # it computes something that it does not store
            network.load_state_dict(tensors)
        return network.eval()

    def refuse_large_weights(self) -> None:
        """Compare the header of weights that take long to read with the network, before they are read.

        Raises:
            BundleError: they do not fit it.
        """
        head = _read(self.path, WEIGHTS, MAX_WEIGHTS_BYTES, first=HEAD_BYTES)
        size = (self.path / WEIGHTS).stat().st_size
        if size > _LARGE_BYTES:
            with self._fits_network():
                check_header(head, size, self._build_without_memory().state_dict())

    @contextmanager
    def _fits_network(self) -> Iterator[None]:
        """Errors inside say whose weights do not fit what."""
        try:
            yield
        except BundleError:
            raise
        except RoadKdError as error:
            raise BundleError(
                f"model bundle {self.path}: {WEIGHTS} does not fit network '{self.network}'"
                f" with {len(self.taxonomy)} classes: {error}. {_FIX}"
            ) from error

    def _build_without_memory(self) -> SegmentationNetwork:
        """The network on the meta device: shapes that a file is compared with before it is loaded."""
        try:
            if self.network in NETWORKS:
                check_options(self.network, NETWORKS[self.network], self.network_kwargs)
            with torch.device("meta"), _WithoutInit():
                return self._build()
        except RoadKdError as error:
            raise BundleError(f"model bundle {self.path}: {MANIFEST}: {error}. {_FIX}") from error

    def _build(self) -> SegmentationNetwork:
        try:
            network = build_network(self.network, len(self.taxonomy), **self.network_kwargs)
        except RoadKdError:
            raise
        except Exception as error:  # values that no check foresaw
            raise RoadKdError(f"network {shown(self.network)} cannot be built: {printable(error, 200)}") from error
        channels = 0 if self.input.depth is None else self.input.depth.channels
        if network.depth_channels != channels or any(side % network.size_divisor for side in self.input.size):
            raise RoadKdError(
                f"network {shown(self.network)} takes {network.depth_channels} depth channels and multiples of"
                f" {network.size_divisor} pixels, input gives {channels} and {self.input.size}"
            )
        return network

    @property
    def onnx_sha256(self) -> str | None:
        """None: the bundle has no model.onnx."""
        return self.attachments["onnx"].sha256 if "onnx" in self.attachments else None

    def read_attachment(self, key: str) -> bytes:
        """The content of a file of `ATTACHMENTS`; checked only here, so that nobody else needs the file.

        Raises:
            BundleError: there is none, or it has a wrong hash.
        """
        if key not in self.attachments:
            raise BundleError(
                f"model bundle {self.path}: it has no {ATTACHMENTS[key]}."
                f" Write a bundle with one by 'road-kd export BUNDLE --out DIR --{key}', or use backend torch."
            )
        limit = MAX_GOLDEN_BYTES if key == "golden" else MAX_WEIGHTS_BYTES
        return _read_checked(self.path, ATTACHMENTS[key], self.attachments[key].sha256, limit)


class _WithoutInit(TorchFunctionMode):
    """Random weights are not drawn, which takes most of the time where they have no memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


_FIX = "Fetch it again, or write a new bundle with 'road-kd export'."


def resolve_bundle(name_or_path: str | Path) -> Path:
    """Folder of a bundle: of one that ships with the package if it is a bare name, otherwise a path.

    A path is what has a slash (or is a `Path`): a folder that happens to lie in the working directory never stands in
    for a shipped model.

    Raises:
        BundleError: there is none; the message says where it was looked for.
    """
    bare = isinstance(name_or_path, str) and "/" not in name_or_path and name_or_path not in (".", "..")
    if bare:
        candidates = share_candidates(Path("models") / name_or_path)
    else:
        try:
            candidates = [Path(name_or_path).expanduser()]
        except RuntimeError as error:  # the home of a user who does not exist
            raise BundleError(f"model bundle {shown(name_or_path)}: {error}") from error
    for candidate in candidates:
        if _is_file(candidate / MANIFEST):
            return candidate.resolve()
    hint = f"write ./{name_or_path} for the folder here" if bare and _is_file(Path(name_or_path) / MANIFEST) else _NAMES
    looked = ", ".join(str(c) for c in candidates)
    raise BundleError(f"model bundle {shown(str(name_or_path))}: no {MANIFEST} in {looked}: {hint}")


_NAMES = "pass the folder of a bundle, with a slash in it, or the name of a shipped one (road_student)"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a null
        return False


def load_bundle(name_or_path: str | Path, *, trusted_key: str | Path = "") -> Bundle:
    """Read and check a bundle.

    Everything in it is somebody else's data: files are read within bounds, fields are typed and ranged, and nothing is
    built before `Bundle.build_network`.

    Args:
        name_or_path: as `resolve_bundle` takes it.
        trusted_key: public key as PEM; only what its holder signed is loaded. Empty: unsigned bundles are as well.

    Raises:
        BundleError: a missing file, an unreadable manifest, a format of another version, a wrong hash or signature.
    """
    path = resolve_bundle(name_or_path)
    try:
        content = read_file(path / MANIFEST, MAX_BYTES)
        if trusted_key:
            verify_bundle(path, content, Path(trusted_key))
        bundle = _from_manifest(path, parse_yaml(content, "it"))
    except BundleError:
        raise
    except RoadKdError as error:
        raise BundleError(f"model bundle {path}: {MANIFEST}: {error}. {_FIX}") from error
    bundle.refuse_large_weights()
    return replace(bundle, weights=_read_checked(path, WEIGHTS, bundle.weights_sha256))


def _read_manifest(folder: Path) -> Any:
    return parse_yaml(read_file(folder / MANIFEST, MAX_BYTES), "it")


def _from_manifest(path: Path, data: Any) -> Bundle:
    """The bundle without its weights."""
    manifest = Field(data, "")
    version = manifest["format_version"].integer(0, 1_000_000)
    if version != FORMAT_VERSION:
        raise RoadKdError(f"format_version is {version}, this package reads {FORMAT_VERSION}")
    network, weights = manifest["network"], manifest["weights"]
    provenance = manifest.get("provenance")
    return Bundle(
        path=path,
        name=manifest["name"].text(),
        network=network["name"].text(),
        network_kwargs=network["kwargs"].map(),
        taxonomy=Taxonomy.from_dicts(manifest["classes"].value),
        input=InputSpec.from_dict(manifest["input"].value),
        weights_sha256=weights["sha256"].text(),
        provenance={} if provenance is None else provenance.map(),
        attachments={key: _attachment(entry) for key in ATTACHMENTS if (entry := manifest.get(key)) is not None},
    )


def _attachment(entry: Field) -> Attachment:
    bound = entry.get("min_agreement")
    return Attachment(entry["sha256"].text(), MIN_AGREEMENT if bound is None else bound.number(0, 1))


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
    """Write a bundle; an older one in the same folder is replaced, together with its attachments.

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
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    weights = save(state)
    manifest = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "network": {"name": network_name, "kwargs": {k: v for k, v in network_kwargs.items() if k != "pretrained"}},
        "classes": taxonomy.to_dicts(),
        "input": input_spec.to_dict(),
        "weights": {"file": WEIGHTS, "sha256": _sha256(weights), "dtype": "float32"},
        "provenance": dict(provenance or {}),
    }
    text = _manifest_text(folder, manifest)
    write_file(folder / WEIGHTS, weights, error=BundleError)
    for name in (*ATTACHMENTS.values(), SIGNATURE):
        (folder / name).unlink(missing_ok=True)  # they belong to the older weights
    write_file(folder / MANIFEST, text, error=BundleError)
    return folder


def add_attachment(path: str | Path, key: str, content: bytes, *, min_agreement: float | None = MIN_AGREEMENT) -> None:
    """Write a file of `ATTACHMENTS` into the bundle that lies in the folder `path`; an older one is replaced."""
    folder, file = Path(path), ATTACHMENTS[key]
    entry: dict[str, Any] = {"file": file, "sha256": _sha256(content)}
    if min_agreement is not None:
        entry["min_agreement"] = round(min_agreement, 4)
    text = _manifest_text(folder, _read_manifest(folder) | {key: entry})
    write_file(folder / file, content, error=BundleError)
    write_file(folder / MANIFEST, text, error=BundleError)


def _manifest_text(folder: Path, manifest: Mapping[str, Any]) -> bytes:
    """The content of model.yaml; refused if `load_bundle` would refuse it."""
    text = yaml.safe_dump(dict(manifest), sort_keys=False, allow_unicode=True).encode()
    try:
        _from_manifest(folder, parse_yaml(text, "it"))
    except RoadKdError as error:
        raise BundleError(f"model bundle {folder}: {MANIFEST}: {error}") from error
    return text


def _read(folder: Path, name: str, limit: int, first: int = -1) -> bytes:
    try:
        return read_file(folder / name, limit, first=first)
    except RoadKdError as error:
        raise BundleError(f"model bundle {error}. {_FIX}") from error


def _read_checked(folder: Path, name: str, expected_sha256: str, limit: int = MAX_WEIGHTS_BYTES) -> bytes:
    """A file of the bundle in `folder`, or BundleError if it is missing, unreadable or another than model.yaml says."""
    content = _read(folder, name, limit)
    digest = _sha256(content)
    if digest != expected_sha256:
        raise BundleError(
            f"model bundle {folder}: {name} has sha256 {digest[:12]}…, {MANIFEST} expects {expected_sha256[:12]}…."
            f" The download was cut short or the file was edited. {_FIX}"
        )
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
