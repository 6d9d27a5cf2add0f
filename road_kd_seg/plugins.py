# SPDX-License-Identifier: Apache-2.0
"""What other installed packages add by entry points, beside our own dict literals.

A package adds a network by two lines of its pyproject.toml; `road_kd.distillers` and `road_kd.datasets` work alike:

    [project.entry-points."road_kd.networks"]
    my_network = "my_package.networks:MyNetwork"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from road_kd_seg.errors import RoadKdError

T = TypeVar("T")


class WithPlugins(Mapping[str, T]):
    """A literal mapping, and behind it the entry points of one group, each imported when it is first looked up.

    Args:
        group: name of the entry-point group.
        own: ours; an entry point of the same name is refused.

    Raises:
        RoadKdError: on look-up, an entry point that cannot be imported, or whose name is taken; it names the package.
    """

    def __init__(self, group: str, own: Mapping[str, T]) -> None:
        self.group = group
        self.own = own
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name in self.own:
            return self.own[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(self.plugins[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from self.plugins

    def __len__(self) -> int:
        return len(self.own) + len(self.plugins)

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self.plugins

    @cached_property
    def plugins(self) -> Mapping[str, EntryPoint]:
        """Entry points of the group by name, not yet imported."""
        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            if entry.name in self.own or entry.name in found:
                raise RoadKdError(
                    f"{_package(entry)} registers '{entry.name}' in {self.group}, which {self._holder(entry, found)}"
                    " has already: rename its entry point"
                )
            found[entry.name] = entry
        return found

    def _holder(self, entry: EntryPoint, found: Mapping[str, EntryPoint]) -> str:
        return "road_kd_seg" if entry.name in self.own else _package(found[entry.name])

    def _load(self, entry: EntryPoint) -> T:
        try:
            loaded: T = entry.load()
        except Exception as error:  # whatever a stranger's module raises on import
            raise RoadKdError(
                f"'{entry.name}' of {self.group}, {_package(entry)}, cannot be imported from {entry.value}:"
                f" {type(error).__name__}: {error}. Correct or uninstall that package."
            ) from error
        return loaded


def _package(entry: EntryPoint) -> str:
    return f"package {entry.dist.name}" if entry.dist is not None else "an installed package"
