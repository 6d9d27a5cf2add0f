# SPDX-License-Identifier: Apache-2.0
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from road_kd_seg.bundle import MANIFEST, WEIGHTS, load_bundle, resolve_bundle
from road_kd_seg.errors import BundleError


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def edit_manifest(bundle, change):
    manifest = yaml.safe_load((bundle / MANIFEST).read_text())
    change(manifest)
    (bundle / MANIFEST).write_text(yaml.safe_dump(manifest))


def replace_weights(bundle, tensors):
    import hashlib

    save_file(tensors, bundle / WEIGHTS)
    digest = hashlib.sha256((bundle / WEIGHTS).read_bytes()).hexdigest()
    edit_manifest(bundle, lambda m: m["weights"].update(sha256=digest))


class TestLoadBundle:
    def test_gives_back_what_was_saved(self, bundle):
        loaded = load_bundle(bundle)
        assert (loaded.name, loaded.network, loaded.input.size) == ("tiny", "erfnet", (64, 96))
        state = loaded.build_network().state_dict()
        stored = load_file(bundle / WEIGHTS)
        assert all(torch.equal(state[key], stored[key]) for key in state)

    def test_a_missing_bundle_says_where_it_was_looked_for(self, tmp_path):
        with pytest.raises(
            BundleError, match=r"'nowhere': no model.yaml in .*models/nowhere.*: pass the folder of a bundle"
        ):
            load_bundle("nowhere")
        with pytest.raises(BundleError, match="pass the folder of a bundle"):
            load_bundle(tmp_path)

    def test_one_flipped_bit_in_the_weights_is_noticed(self, bundle):
        content = bytearray((bundle / WEIGHTS).read_bytes())
        content[-1] ^= 1
        (bundle / WEIGHTS).write_bytes(content)
        with pytest.raises(
            BundleError, match=r"weights.safetensors has sha256 \w{12}…, model.yaml expects \w{12}….*Fetch"
        ):
            load_bundle(bundle)

    def test_missing_weights_are_named(self, bundle):
        (bundle / WEIGHTS).unlink()
        with pytest.raises(BundleError, match="weights.safetensors is missing. Fetch it again"):
            load_bundle(bundle)

    @pytest.mark.parametrize("text", ["{", "just words", "", "\x00"])
    def test_a_manifest_that_is_none_is_refused_in_one_line(self, bundle, text):
        (bundle / MANIFEST).write_text(text)
        with pytest.raises(BundleError) as caught:
            load_bundle(bundle)
        assert "model.yaml" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_another_format_version_says_which_is_read(self, bundle):
        edit_manifest(bundle, lambda m: m.update(format_version=99))
        with pytest.raises(BundleError, match="format_version is 99, this package reads 1"):
            load_bundle(bundle)

    @pytest.mark.parametrize("key", ["name", "network", "classes", "input", "weights"])
    def test_every_missing_key_is_named(self, bundle, key):
        edit_manifest(bundle, lambda m: m.pop(key))
        with pytest.raises(BundleError, match=f"model.yaml: {key}.* is missing"):
            load_bundle(bundle)


class TestBuildNetwork:
    def test_an_unknown_network_suggests_the_nearest(self, bundle):
        edit_manifest(bundle, lambda m: m["network"].update(name="erfnett"))
        with pytest.raises(BundleError, match="network 'erfnett' is unknown: did you mean 'erfnet'"):
            load_bundle(bundle).build_network()

    def test_a_missing_tensor_is_named(self, bundle):
        tensors = load_file(bundle / WEIGHTS)
        key = sorted(tensors)[0]
        del tensors[key]
        replace_weights(bundle, tensors)
        with pytest.raises(BundleError, match=f"does not fit network 'erfnet' with 5 classes: missing {key}"):
            load_bundle(bundle).build_network()

    def test_weights_for_other_classes_do_not_fit(self, bundle):
        edit_manifest(bundle, lambda m: m["classes"].pop())
        with pytest.raises(BundleError, match="with 4 classes: .*other shape"):
            load_bundle(bundle).build_network()

    def test_a_file_that_is_no_safetensors_is_refused(self, bundle):
        import hashlib

        (bundle / WEIGHTS).write_bytes(b"not tensors")
        digest = hashlib.sha256(b"not tensors").hexdigest()
        edit_manifest(bundle, lambda m: m["weights"].update(sha256=digest))
        with pytest.raises(BundleError, match="does not fit network .* no safetensors file"):
            load_bundle(bundle).build_network()


class TestNames:
    def test_a_relative_path_is_resolved(self, bundle, monkeypatch):
        monkeypatch.chdir(bundle.parent)
        assert resolve_bundle("./bundle") == resolve_bundle("bundle/") == bundle
        monkeypatch.chdir(bundle)
        assert resolve_bundle(".") == bundle

    def test_a_folder_here_never_stands_in_for_a_shipped_model(self, bundle, monkeypatch):
        shipped = resolve_bundle("road_student")
        monkeypatch.chdir(bundle.parent)
        bundle.rename(bundle.parent / "road_student")
        assert resolve_bundle("road_student") == shipped

    def test_who_means_the_folder_here_is_told_how_to_say_so(self, bundle, monkeypatch):
        monkeypatch.chdir(bundle.parent)
        with pytest.raises(BundleError, match=r"write \./bundle for the folder here"):
            resolve_bundle("bundle")

    @pytest.mark.parametrize(
        "name", ["", "x" * 5000, "a\0b", "~nosuchuser/x", "/proc/self/mem", "\ud800/x", "..", "a\nb/c"]
    )
    def test_names_that_are_none_are_refused_in_one_line(self, name):
        with pytest.raises(BundleError) as caught:
            load_bundle(name)
        assert str(caught.value).isprintable()
