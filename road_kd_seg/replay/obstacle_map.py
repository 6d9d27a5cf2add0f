# SPDX-License-Identifier: Apache-2.0
"""Every obstacle of a drive, once: obstacles.csv and obstacles.geojson; and frame by frame: obstacles.json."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from road_kd_seg.files import write_file
from road_kd_seg.frame import RgbdFrame, Segmentation
from road_kd_seg.ground import assess_depth
from road_kd_seg.obstacle_tracker import ObstacleTracker
from road_kd_seg.obstacles import Obstacle, find_obstacles
from road_kd_seg.replay.gps import GpsTrack
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.taxonomy import Taxonomy

MAX_RANGE_M = 10.0
"""As the node's `max_range_m`."""
_DEGREE_DIGITS = 7
"""1 cm."""


@dataclass(slots=True)
class _Sighting:
    """One obstacle over the frames."""

    first_ns: int
    last_ns: int
    num_frames: int
    best: Obstacle
    """Of the nearest frame that has all of it, or of the nearest one."""
    best_ns: int

    def see(self, obstacle: Obstacle, stamp_ns: int) -> None:
        self.num_frames += stamp_ns != self.last_ns
        self.last_ns = stamp_ns
        if _rank(obstacle) < _rank(self.best):
            self.best, self.best_ns = obstacle, stamp_ns


def write_obstacle_map(
    folder: Path, frames: Iterable[RgbdFrame], predictions: LabelStore, taxonomy: Taxonomy, gps: GpsTrack | None
) -> int:
    """Write the three files into a folder.

    Args:
        folder: of the report.
        frames: those that have a prediction, in order; those without depth or camera_info have no obstacles.
        predictions: label images by stamp.
        taxonomy: which classes are obstacles.
        gps: where the drive went; None: the GeoJSON's features have no place.

    Returns:
        How many obstacles there are.
    """
    tracker, sightings, by_frame = ObstacleTracker(), dict[int, _Sighting](), []
    for frame in frames:
        if frame.depth_m is None or frame.intrinsics is None:
            continue
        label = predictions.get(frame.stamp_ns)
        segmentation = Segmentation(label, np.ones(label.shape, np.float32))  # a store keeps no confidence
        plane = assess_depth(frame.depth_m).plane
        found = find_obstacles(frame, segmentation, taxonomy, plane, max_range_m=MAX_RANGE_M)
        numbers = tracker.update(found, frame.stamp_ns)
        for obstacle, number in zip(found, numbers, strict=True):
            sighting = _Sighting(frame.stamp_ns, frame.stamp_ns, 1, obstacle, frame.stamp_ns)
            sightings.setdefault(number, sighting).see(obstacle, frame.stamp_ns)
        described = [each.describe(taxonomy, number) for each, number in zip(found, numbers, strict=True)]
        by_frame.append({"stamp_ns": frame.stamp_ns, "obstacles": described})
    rows = [_row(number, sighting, taxonomy, gps) for number, sighting in sightings.items()]
    _write(folder / "obstacles.json", json.dumps({"frames": by_frame}, indent=1))
    _write(folder / "obstacles.csv", _csv(rows))
    _write(folder / "obstacles.geojson", json.dumps(_geojson(rows), indent=1))
    return len(rows)


def _rank(obstacle: Obstacle) -> tuple[bool, float]:
    return obstacle.is_cut, float(np.linalg.norm(obstacle.position_m))


def _row(number: int, sighting: _Sighting, taxonomy: Taxonomy, gps: GpsTrack | None) -> dict[str, Any]:
    """One obstacle as flat data; what is not known is None."""
    described = sighting.best.describe(taxonomy, number)
    right_m, ahead_m, _ = (float(value) for value in sighting.best.position_m @ sighting.best.axes)
    place = None if gps is None else gps.at(sighting.best_ns, right_m, ahead_m)
    row: dict[str, Any] = {
        "id": number,
        "class": described["class"],
        "first_s": sighting.first_ns / 1e9,
        "last_s": sighting.last_ns / 1e9,
        "num_frames": sighting.num_frames,
        "seen_best_s": sighting.best_ns / 1e9,
        "is_cut": sighting.best.is_cut,
        "right_m": round(right_m, 3),
        "ahead_m": round(ahead_m, 3),
        **dict(zip(("width_m", "length_m", "height_m"), described["size_m"], strict=True)),
    }
    for name in ("depth_cm", "area_m2", "volume_l"):
        for part in ("value", "low", "high"):
            suffix = "" if part == "value" else f"_{part}"
            row[name + suffix] = None if described[name] is None else described[name][part]
    row["latitude"], row["longitude"] = (None, None) if place is None else (round(x, _DEGREE_DIGITS) for x in place)
    return row


def _csv(rows: list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    columns = list(rows[0]) if rows else ["id", "class"]
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _geojson(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """RFC 7946; a feature without a place has the geometry null."""
    features = []
    for row in rows:
        place = [row["longitude"], row["latitude"]]
        properties = {key: value for key, value in row.items() if key not in ("longitude", "latitude")}
        geometry = None if None in place else {"type": "Point", "coordinates": place}
        features.append({"type": "Feature", "id": row["id"], "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def _write(path: Path, text: str) -> None:
    write_file(path, text.encode())
