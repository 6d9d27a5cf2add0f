# SPDX-License-Identifier: Apache-2.0
"""Fresh Python environments that hold chosen packages and nothing else, made from the running one without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def closure(requirements: Iterable[str]) -> list[Distribution]:
    """The installed distributions that pip would install for some requirements, in no order."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(text) for text in requirements]
    asked: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = requirement.name.lower().replace("_", "-").replace(".", "-")
        try:
            dist = found.setdefault(name, distribution(requirement.name))
        except PackageNotFoundError:  # a marker of another platform that pip evaluates with more care
            continue
        for extra in {"", *requirement.extras}:
            if (name, extra) in asked:
                continue
            asked.add((name, extra))
            for text in dist.requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append(needed)
    return list(found.values())


def make_environment(folder: Path, distributions: Iterable[Distribution]) -> Path:
    """A virtual environment into which the files of some distributions are linked; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for dist in distributions:
        _link(dist, site)
    return folder / "bin" / "python"


def _link(dist: Distribution, site: Path) -> None:
    home = Path(str(dist.locate_file("")))
    for file in dist.files or ():
        inside = file.parts[0] != ".."
        if not inside and "bin" in file.parts[:5]:  # console scripts name the other interpreter
            continue
        relative = Path(file.parts[0]) if inside else Path(file)
        source, target = home / relative, Path(os.path.normpath(site / relative))
        if source.exists() and not target.is_symlink() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(os.path.normpath(source)))
