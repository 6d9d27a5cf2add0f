# SPDX-License-Identifier: Apache-2.0
"""Entry points of packages that are really on the path, made in a temporary folder."""

import sys

import pytest

from road_kd_seg.errors import RoadKdError
from road_kd_seg.plugins import WithPlugins

GROUP = "road_kd.tests"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lays an installed package, one module and its metadata, on the path."""

    def install_package(name: str, source: str, entries: str) -> None:
        folder = tmp_path / name
        metadata = folder / f"{name}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (folder / f"{name}.py").write_text(source)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}\n")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return install_package


def registry() -> WithPlugins[object]:
    return WithPlugins(GROUP, {"own": 1})


def test_without_plugins_it_is_the_literal():
    assert dict(registry()) == {"own": 1}
    assert "other" not in registry()
    with pytest.raises(KeyError):
        registry()["other"]


def test_a_plugin_stands_after_our_own_names(install):
    install("stranger_one", "thing = 7", "theirs = stranger_one:thing")
    assert dict(registry()) == {"own": 1, "theirs": 7}
    assert len(registry()) == 2


def test_listing_names_imports_no_plugin(install):
    install("stranger_two", "raise OSError('loaded')", "theirs = stranger_two:thing")
    assert list(registry()) == ["own", "theirs"]
    assert "stranger_two" not in sys.modules


def test_a_plugin_that_cannot_be_imported_names_its_package(install):
    install("stranger_three", "raise OSError('no such disk')", "theirs = stranger_three:thing")
    message = r"'theirs' of road_kd.tests, package stranger_three, cannot be imported .*OSError: no such disk"
    with pytest.raises(RoadKdError, match=message):
        registry()["theirs"]


def test_a_name_of_ours_cannot_be_taken(install):
    install("stranger_four", "thing = 7", "own = stranger_four:thing")
    with pytest.raises(RoadKdError, match="package stranger_four registers 'own' .* which road_kd_seg has already"):
        registry()["other"]


def test_two_packages_cannot_share_a_name(install):
    install("stranger_five", "thing = 5", "theirs = stranger_five:thing")
    install("stranger_six", "thing = 6", "theirs = stranger_six:thing")
    with pytest.raises(RoadKdError, match=r"package stranger_\w+ registers 'theirs' .* which package stranger_\w+ has"):
        list(registry())
