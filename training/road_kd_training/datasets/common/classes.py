# SPDX-License-Identifier: Apache-2.0
"""Class lists of benchmarks, written compactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from road_kd_seg.taxonomy import Role, SemanticClass, Taxonomy
from road_kd_training.errors import DatasetError


def taxonomy_of(
    colors: Mapping[str, tuple[int, int, int]], drivable: Iterable[str] = (), obstacle: Iterable[str] = ()
) -> Taxonomy:
    """A taxonomy whose ids follow the order of `colors`; classes without a role are background.

    Obstacle is what stands or moves alone on the road or beside it: people, animals, vehicles, poles, signs, fences.

    Args:
        colors: class name → RGB.
        drivable: names of the classes that a robot may drive on.
        obstacle: names of the classes that it must not touch.

    Raises:
        DatasetError: a role names a class that is not listed.
    """
    roles = {**dict.fromkeys(drivable, Role.DRIVABLE), **dict.fromkeys(obstacle, Role.OBSTACLE)}
    unknown = sorted(roles.keys() - colors.keys())
    if unknown:
        raise DatasetError(f"classes {', '.join(unknown)} have a role and are not in the list of classes")
    return Taxonomy(
        tuple(
            SemanticClass(i, name, roles.get(name, Role.BACKGROUND), color)
            for i, (name, color) in enumerate(colors.items())
        )
    )
