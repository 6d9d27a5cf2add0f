# SPDX-License-Identifier: Apache-2.0
import shutil

import pytest
import yaml

from road_kd_seg.bundle import MANIFEST, WEIGHTS, load_bundle
from road_kd_seg.errors import BundleError, RoadKdError
from road_kd_seg.signing import SIGNATURE, sign_bundle

try:
    import model_signing  # noqa: F401
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
except ImportError:
    ec = None

pytestmark = pytest.mark.skipif(ec is None, reason="the extra sign is not installed")


def write_keys(folder, name):
    """A private and a public key as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    for kind, content in (("key", private), ("pub", public)):
        (folder / f"{name}.{kind}.pem").write_bytes(content)
    return folder / f"{name}.key.pem", folder / f"{name}.pub.pem"


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, "ours")


@pytest.fixture
def signed(tiny_bundle, tmp_path, keys):
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    sign_bundle(folder, keys[0])
    return folder


def test_a_signed_bundle_is_loaded_with_its_key_and_without(signed, keys):
    assert load_bundle(signed, trusted_key=keys[1]).name == load_bundle(signed).name == "tiny"


def test_an_unsigned_one_is_not_trusted(tiny_bundle, keys):
    with pytest.raises(BundleError, match="it is not signed"):
        load_bundle(tiny_bundle, trusted_key=keys[1])


def test_who_edits_the_weights_and_their_hash_is_found_out(signed, keys):
    import hashlib

    content = bytearray((signed / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (signed / WEIGHTS).write_bytes(content)
    manifest = yaml.safe_load((signed / MANIFEST).read_text())
    manifest["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    (signed / MANIFEST).write_text(yaml.safe_dump(manifest))
    load_bundle(signed)  # the hashes fit
    with pytest.raises(BundleError, match="its signature is not one of"):
        load_bundle(signed, trusted_key=keys[1])


def test_who_edits_only_the_weights_is_found_out_by_the_signed_hash(signed, keys):
    (signed / WEIGHTS).write_bytes(b"others")
    with pytest.raises(BundleError, match="has sha256"):
        load_bundle(signed, trusted_key=keys[1])


def test_another_key_is_not_trusted(signed, tmp_path):
    _, theirs = write_keys(tmp_path, "theirs")
    with pytest.raises(BundleError, match="its signature is not one of"):
        load_bundle(signed, trusted_key=theirs)


@pytest.mark.parametrize(
    "signature", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"verificationMaterial": 5}', b"x" * 2_000_000]
)
def test_a_signature_that_is_none_is_refused_in_one_line(signed, keys, signature):
    (signed / SIGNATURE).write_bytes(signature)
    with pytest.raises(BundleError) as caught:
        load_bundle(signed, trusted_key=keys[1])
    assert str(caught.value).isprintable()


def test_keys_that_are_none_are_named(signed, tmp_path):
    (tmp_path / "no.pem").write_text("no key")
    with pytest.raises(BundleError, match="no.pem"):
        load_bundle(signed, trusted_key=tmp_path / "no.pem")
    with pytest.raises(RoadKdError, match=r"--sign .*no\.pem"):
        sign_bundle(signed, tmp_path / "no.pem")


def test_a_bundle_written_anew_is_unsigned(signed):
    from road_kd_seg.bundle import save_bundle

    old = load_bundle(signed)
    save_bundle(
        signed,
        old.build_network(),
        name="new",
        network_name=old.network,
        network_kwargs=old.network_kwargs,
        taxonomy=old.taxonomy,
        input_spec=old.input,
    )
    assert not (signed / SIGNATURE).exists()
