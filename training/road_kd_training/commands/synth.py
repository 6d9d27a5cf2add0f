# SPDX-License-Identifier: Apache-2.0
"""`road-kd synth`: synthetic road scenes into a folder."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from road_kd_training.datasets.synthetic import render_missing
from road_kd_training.terminal import plain_console


def run(options: Namespace) -> None:
    """Render what the folder lacks."""
    seeds = range(options.first_seed, options.first_seed + options.scenes)
    rendered = render_missing(Path(options.out), seeds, variety=options.variety)
    more = ", variety: true" if options.variety else ""
    plain_console().print(
        f"rendered {rendered} scenes, {options.scenes - rendered} were there: {options.out};"
        f" next: in a recipe, dataset: synthetic, options: {{root: {options.out}, num_scenes: {options.scenes}{more}}}",
        soft_wrap=True,
    )
