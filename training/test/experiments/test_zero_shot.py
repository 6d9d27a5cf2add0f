# SPDX-License-Identifier: Apache-2.0
"""The table of encodings: each row is fed its own, at every scale, and nobody trains on what is scored zero-shot."""

import pytest

from road_kd_training.experiments import find_experiment
from road_kd_training.experiments.plan import make_plan


@pytest.fixture(params=["smoke", "reduced", "small"])
def plan(request, tmp_path):
    (tmp_path / "stereo_pothole").mkdir()
    return make_plan(find_experiment("overview/zero_shot"), request.param, out=tmp_path, data_root=tmp_path)


def of(plan, key):
    return plan.runs_of(plan.experiment.row(key))[0].config


class TestZeroShot:
    def test_each_row_is_fed_its_own_encoding(self, plan):
        fed = {
            row.key: (of(plan, row.key).input.depth, of(plan, row.key).input.depth_high) for row in plan.experiment.rows
        }
        assert fed == {
            "residual": ("plane_residual", 0.05),
            "height_narrow": ("relative_height", 0.03),
            "height": ("relative_height", 0.1),
            "height_wide": ("relative_height", 0.3),
            "height_varied": ("relative_height", 0.1),
        }

    def test_one_row_alone_trains_on_varied_scenes(self, plan):
        varied = {run.row.key for run in plan.runs for one in run.config.train if one.options.get("variety")}
        assert varied == {"height_varied"}

    def test_no_row_has_seen_a_real_frame(self, plan):
        assert {source.dataset for run in plan.runs for source in run.config.train} == {"synthetic"}
        assert [source.dataset for source in plan.tests.values()] == ["synthetic"] * 2 + ["stereo_pothole"] * 3
