"""Exceptions of the training package, beside those of the runtime."""

from road_kd_seg.errors import RoadKdError


class DatasetError(RoadKdError):
    """A dataset that is missing, laid out otherwise, or holds a damaged file."""


class TrainingError(RoadKdError):
    """A run that cannot start or cannot go on."""
