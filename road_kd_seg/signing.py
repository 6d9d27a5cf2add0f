# SPDX-License-Identifier: Apache-2.0
"""Signed bundles: who holds the key vouches for model.yaml, and with its hashes for every file that is loaded.

The hashes in model.yaml guard against accident, not against who edits both. The signature is that of OpenSSF's
`model-signing` (extra `sign`), with a key of one's own and without any connection; its command line reads it as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from road_kd_seg.errors import BundleError, RoadKdError, printable
from road_kd_seg.files import read_file, write_file

SIGNATURE = "model.sig"
_MANIFEST = "model.yaml"
_MAX_BYTES = 1_000_000


def sign_bundle(folder: Path, key: Path) -> None:
    """Write a bundle's model.sig.

    Args:
        folder: the bundle's.
        key: a private elliptic-curve key as PEM, e.g. of `openssl ecparam -name prime256v1 -genkey -noout`.

    Raises:
        RoadKdError: model-signing is not installed, or the key cannot be used.
    """
    signing, _ = _import_model_signing()
    with _alone(read_file(folder / _MANIFEST, _MAX_BYTES, error=BundleError)) as (model, signature):
        try:
            signing.Config().use_elliptic_key_signer(private_key=key).sign(model, signature)
        except Exception as error:  # its exceptions have no common base
            raise RoadKdError(f"--sign {key}: {printable(error, 200)}: expected a private EC key as PEM") from error
        write_file(folder / SIGNATURE, signature.read_bytes(), error=BundleError)


def verify_bundle(folder: Path, manifest: bytes, key: Path) -> None:
    """Refuse a bundle that the holder of a key has not signed as it is.

    Args:
        folder: the bundle's.
        manifest: the content of model.yaml that will be used.
        key: the public key as PEM.

    Raises:
        BundleError: it is unsigned, was altered, or was signed with another key.
        RoadKdError: model-signing is not installed.
    """
    if not (folder / SIGNATURE).is_file():
        raise BundleError(f"model bundle {folder}: it is not signed, and only bundles signed for {key} are trusted")
    _, verifying = _import_model_signing()
    with _alone(manifest) as (model, signature):
        signature.write_bytes(read_file(folder / SIGNATURE, _MAX_BYTES, error=BundleError))
        try:
            verifying.Config().use_elliptic_key_verifier(public_key=key).verify(model, signature)
        except Exception as error:  # its exceptions have no common base, and a signature is somebody else's data
            raise BundleError(
                f"model bundle {folder}: its signature is not one of {key} for this {_MANIFEST}:"
                f" {printable(error, 200)}: it was altered, or another key signed it"
            ) from error


@contextmanager
def _alone(manifest: bytes) -> Iterator[tuple[Path, Path]]:
    """A folder that holds these very bytes as model.yaml and nothing else, and a place for its signature."""
    with TemporaryDirectory(prefix="road_kd_seg-") as folder:
        model = Path(folder) / "model"
        model.mkdir()
        (model / _MANIFEST).write_bytes(manifest)
        yield model, Path(folder) / SIGNATURE


def _import_model_signing() -> tuple[Any, Any]:
    try:
        from model_signing import signing, verifying
    except ImportError as error:
        raise RoadKdError(
            f"signed bundles need model-signing ({error}): run pip install 'road_kd_seg[sign]'"
        ) from error
    return signing, verifying
