# SPDX-License-Identifier: Apache-2.0
"""Arguments that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from jsonargparse import Namespace

from road_kd_training.datasets import RgbdDataset, build_dataset
from road_kd_training.errors import DatasetError


def chosen_dataset(options: Namespace) -> RgbdDataset:
    """The dataset that the arguments `dataset` and `options` name.

    Raises:
        DatasetError: an option is not key=value, or the dataset refuses it.
    """
    return build_dataset(options.dataset, **key_values(options.options))


def key_values(pairs: Sequence[str]) -> dict[str, Any]:
    """Options from `key=value` arguments; values are YAML.

    Raises:
        DatasetError: an argument that is not key=value.
    """
    parsed = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise DatasetError(f"'{pair}' is no dataset option: write key=value, e.g. root=DIR")
        parsed[key] = yaml.safe_load(value)
    return parsed
