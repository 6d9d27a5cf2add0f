# SPDX-License-Identifier: Apache-2.0
from dataclasses import asdict, fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus

from road_kd_seg.errors import RoadKdError
from road_kd_seg.ros.frame_counters import FrameCounters, FrameOutcome
from road_kd_seg.ros.inputs import DepthWatch
from road_kd_seg.ros.models import Models
from road_kd_seg.ros.monitor import Monitor, NodeState
from road_kd_seg.ros.parameters import LIVE, Settings, merge

ROOT = Path(__file__).resolve().parents[2]


class TestSettings:
    def test_the_parameter_file_holds_every_parameter_with_its_default_and_names_the_color_model(self):
        text = (ROOT / "config" / "seg.yaml").read_text()
        expected = {**asdict(Settings()), "rgb_only_model": "road_student_rgb"}
        assert yaml.safe_load(text) == {"/**": {"ros__parameters": expected}}

    def test_the_documented_table_is_the_one_that_docs_parameter_table_py_writes(self):
        spec = spec_from_file_location("parameter_table", ROOT / "docs" / "parameter_table.py")
        made = module_from_spec(spec)
        spec.loader.exec_module(made)
        assert made.table() in (ROOT / "docs" / "NODE.md").read_text()
        assert [item.name for item in fields(Settings) if f"`{item.name}`" not in made.table()] == []

    def test_live_parameters_change_and_foreign_ones_are_ignored(self):
        changed = merge(Settings(), {"min_confidence": 0.5, "use_sim_time": True})
        assert changed == Settings(min_confidence=0.5)

    def test_setting_a_fixed_parameter_to_what_it_is_changes_nothing(self):
        assert merge(Settings(), {"device": "auto"}) == Settings()

    @pytest.mark.parametrize("name", sorted(asdict(Settings()).keys() - LIVE))
    def test_fixed_parameters_have_to_wait(self, name):
        with pytest.raises(RoadKdError, match=f"parameter {name}: cannot change while the node is configured"):
            merge(Settings(), {name: "another"})

    def test_every_number_has_a_range_or_a_list_of_its_own(self):
        numbers = [item for item in fields(Settings) if type(item.default) in (int, float)]
        assert [item.name for item in numbers if item.metadata["range"] is None] == ["rotate"]

    @pytest.mark.parametrize("degrees", [-90, 1, 45, 360, 2**63 - 1])
    def test_only_quarter_turns_rotate(self, degrees):
        with pytest.raises(RoadKdError, match=f"parameter rotate: got {degrees}, expected one of 0, 90, 180, 270"):
            merge(Settings(rotate=degrees), {})


class TestModels:
    def test_a_second_model_that_needs_depth_is_refused(self, tiny_bundle):
        with pytest.raises(RoadKdError, match=r"rgb_only_model: .*requires depth"):
            Models.load(Settings(model=str(tiny_bundle), rgb_only_model=str(tiny_bundle), device="cpu"))

    def test_a_model_without_depth_does_without_a_second_one(self, tiny_rgb_bundle):
        models = Models.load(Settings(model=str(tiny_rgb_bundle), device="cpu"))
        assert models.rgb_only is models.main


class TestDepthWatch:
    def test_depth_is_missing_once_color_is_newer_by_more_than_the_timeout(self):
        watch = DepthWatch(timeout_s=1.0)
        watch.see_depth(5_000_000_000)
        assert not watch.see_color(6_000_000_000)
        assert watch.see_color(6_000_000_001)
        watch.see_depth(6_000_000_000)
        assert not watch.see_color(6_100_000_000)

    def test_before_the_first_depth_the_timeout_runs_from_the_first_color(self):
        watch = DepthWatch(timeout_s=1.0)
        assert [watch.see_color(stamp) for stamp in (7_000_000_000, 8_000_000_000, 8_000_000_001)] == [
            False,
            False,
            True,
        ]

    def test_a_bag_that_loops_gets_a_new_timeout(self):
        watch = DepthWatch(timeout_s=1.0)
        watch.see_depth(90_000_000_000)
        assert not watch.see_color(5_000_000_000)
        assert watch.see_color(6_000_000_001)


class TestJudgment:
    def report(self, traffic, *outcomes, **changes):
        state = {
            "lifecycle": "active",
            "enabled": True,
            "model": "student",
            "rgb_only_model": "",
            "device": "cpu",
            "runs_without_depth": False,
            "failure": "",
            "has_namesake": False,
            "listens": True,
            "depth_is_used": True,
            "max_latency_ms": 300.0,
            "max_superseded_share": 0.5,
            "forecast_hz": 41.0,
        }
        monitor, counters = Monitor(), FrameCounters()
        monitor.report(NodeState(**state), counters.read(), "node")
        traffic(monitor)
        for outcome in outcomes:
            counters.receive()
            counters.record(outcome)
        status = monitor.report(NodeState(**{**state, **changes}), counters.read(), "node")
        return status.level, status.message, {item.key: item.value for item in status.values}

    @staticmethod
    def healthy(monitor):
        monitor.see_color(depth_missing=False)
        monitor.see_depth()
        monitor.see_pair()
        for latency_ms in range(101):
            monitor.see_published(latency_ms)

    def test_a_healthy_node_says_so_and_how_fast_it_is(self):
        level, message, values = self.report(self.healthy)
        assert (level, message) == (DiagnosticStatus.OK, "segmenting")
        assert (values["latency_p50_ms"], values["latency_p95_ms"]) == ("50.0", "95.0")

    @pytest.mark.parametrize(
        ("changes", "level", "message"),
        [
            ({"failure": "no model"}, DiagnosticStatus.ERROR, "no model"),
            ({"lifecycle": "inactive"}, DiagnosticStatus.OK, "inactive"),
            ({"enabled": False}, DiagnosticStatus.OK, "disabled by set_enabled"),
        ],
        ids=["failed", "inactive", "disabled"],
    )
    def test_the_nodes_state_comes_before_its_traffic(self, changes, level, message):
        assert self.report(lambda monitor: None, **changes)[:2] == (level, message)

    def test_silence_is_a_warning(self):
        level, message, _ = self.report(lambda monitor: None)
        assert level == DiagnosticStatus.WARN
        assert "no color images" in message

    def test_missing_depth_is_an_error_without_a_model_for_it(self):
        level, message, values = self.report(lambda monitor: monitor.see_color(depth_missing=True))
        assert level == DiagnosticStatus.ERROR
        assert "no depth images, and no rgb_only_model" in message
        assert values["depth"] == "missing"

    def test_missing_depth_is_a_warning_with_a_model_for_it(self):
        level, message, _ = self.report(
            lambda monitor: monitor.see_color(depth_missing=True), runs_without_depth=True, rgb_only_model="lix"
        )
        assert level == DiagnosticStatus.WARN
        assert "color alone with lix" in message

    def test_latency_above_its_limit_is_a_warning(self):
        level, message, _ = self.report(self.healthy, max_latency_ms=90.0)
        assert level == DiagnosticStatus.WARN
        assert message == "latency is 95 ms at the 95th percentile (max_latency_ms 90)"

    def test_too_many_superseded_frames_are_a_warning(self):
        outcomes = [FrameOutcome.SUPERSEDED] * 3 + [FrameOutcome.PUBLISHED]
        level, message, values = self.report(self.healthy, *outcomes)
        assert level == DiagnosticStatus.WARN
        assert message.startswith("75% of the color images are superseded")
        assert values["superseded_share"] == "0.75"
        assert "segments about 41 frames/s here; the camera sends " in message
        assert values["forecast_hz"] == "41.0"
        assert self.report(self.healthy, *outcomes, max_superseded_share=0.75)[0] == DiagnosticStatus.OK

    def test_stamps_that_never_match_are_an_error_with_the_mend(self):
        def unmatched(monitor):
            monitor.see_color(depth_missing=False)
            monitor.see_depth()

        level, message, _ = self.report(unmatched)
        assert level == DiagnosticStatus.ERROR
        assert message.startswith("1 color and 1 depth images, but no two with equal stamps")
        assert "sync_slop_s" in message

    def test_a_dropped_frame_is_a_warning_with_its_reason(self):
        def bad(monitor):
            self.healthy(monitor)
            monitor.see_problem("step is 3 bytes")

        level, message, _ = self.report(bad)
        assert (level, message) == (DiagnosticStatus.WARN, "dropped 1 frames: step is 3 bytes")
