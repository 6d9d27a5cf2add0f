# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node `road_seg`: inputs → worker → outputs, and what a robot may ask of it while it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from road_kd_seg.errors import FrameError, RoadKdError, printable
from road_kd_seg.node_interface import NODE_NAME
from road_kd_seg.ros import parameters
from road_kd_seg.ros.depth_health import DepthAssessor
from road_kd_seg.ros.diagnostics import Diagnostics
from road_kd_seg.ros.frame_counters import FrameCounters, FrameOutcome
from road_kd_seg.ros.inputs import Callbacks, FrameTask, Inputs
from road_kd_seg.ros.lifecycle import guard_transitions, lifecycle_state, transition
from road_kd_seg.ros.models import Models
from road_kd_seg.ros.monitor import Monitor, NodeState
from road_kd_seg.ros.parameters import Settings
from road_kd_seg.ros.publishers import Outputs
from road_kd_seg.ros.segmented_frame import SegmentedFrame
from road_kd_seg.ros.worker import NewestOnlyWorker
from road_kd_seg.rotation import plane_turned_back, turned_back, upright
from road_kd_seg.smoothing import Smoother

_THROTTLE_S = 5.0


@dataclass(frozen=True)
class _Engine:
    """What changes as one when parameters change; the worker takes one reading of it per frame."""

    settings: Settings
    models: Models
    smoother: Smoother | None
    """None: every frame for itself."""


def _smoother(settings: Settings) -> Smoother | None:
    return Smoother(settings.temporal_smoothing) if settings.temporal_smoothing else None


_Worker = NewestOnlyWorker[FrameTask, SegmentedFrame]


class RoadSegNode(LifecycleNode):
    """Segments a camera's frames; docs/NODE.md lists topics, services and parameters."""

    def __init__(self) -> None:
        super().__init__(NODE_NAME)
        parameters.declare(self)
        self.failure = ""
        """Why the last transition failed; empty if it did not."""
        self._counters = FrameCounters()
        self._monitor = Monitor()
        self._depth = DepthAssessor(self._monitor, self.get_logger())
        self._enabled = True
        self._active = False
        self._engine: _Engine | None = None
        self._candidate: _Engine | None = None
        self._outputs: Outputs | None = None
        self._worker: _Worker | None = None
        self._inputs: Inputs | None = None
        self.add_on_set_parameters_callback(self._prepare_parameters)
        self.add_post_set_parameters_callback(self._apply_parameters)
        self._set_enabled = self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        self._diagnostics = Diagnostics(self, self._counters, self._monitor, self._state, self._describe_topics)
        backward = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
        self._jumps = self.get_clock().create_jump_callback(backward, post_callback=self._on_clock_jump)
        guard_transitions(self)

    def autostart(self) -> None:
        """Configure and activate, if the parameter says so and nothing prevents it."""
        if not self.get_parameter("autostart").value:
            return
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()
        if self.failure:
            name = self.get_fully_qualified_name()
            self.get_logger().error(
                f"waits for better parameters: correct them (ros2 param set {name} NAME VALUE), then ros2 lifecycle set"
                f" {name} configure and activate; or Ctrl-C and start again (seg_node --help)"
            )

    def stop(self) -> None:
        """Shut down from whatever state, which logs the frame counters."""
        if self.lifecycle_state != "finalized":
            self.trigger_shutdown()

    def destroy_node(self) -> None:
        """Destroy the node and, as rclpy forgets it, the state machine, without which the DDS participant lives on."""
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    @property
    def lifecycle_state(self) -> str:
        """unconfigured, inactive, active or finalized."""
        return lifecycle_state(self)

    @transition
    def _configure(self) -> None:
        settings = parameters.read(self)
        started_ns = time.monotonic_ns()
        models = Models.load(settings)
        self._outputs = Outputs(self, settings.target_frame)
        self._engine = _Engine(settings, models, _smoother(settings))
        self._outputs.announce(models.taxonomy, settings)
        self._worker = NewestOnlyWorker(
            self._segment,
            self._deliver,
            on_superseded=lambda _: self._counters.record(FrameOutcome.SUPERSEDED),
            on_discarded=lambda _: self._counters.record(FrameOutcome.STALE),
            on_error=lambda _, error: self._reject(error),
        )
        seconds = (time.monotonic_ns() - started_ns) / 1e9
        self.get_logger().info(
            f"model {models.main.bundle.path} on {models.main.device_name}, loaded in {seconds:.1f} s;"
            f" segments about {models.forecast_hz:.0f} frames/s here"
        )
        for note in models.notes:
            self.get_logger().warning(note)

    @transition
    def _activate(self) -> None:
        self._active = True
        try:
            self._open_inputs()
        except Exception:
            self._active = False
            raise
        self.get_logger().info("active")

    @transition
    def _deactivate(self) -> None:
        self._active = False
        self._close_inputs()
        self.get_logger().info("inactive")

    @transition
    def _cleanup(self) -> None:
        self._release()

    @transition
    def _shut_down(self) -> None:
        self._active = False
        self._close_inputs()
        self._release()
        self.get_logger().info(str(self._counters.read()))

    on_configure = _configure
    on_activate = _activate
    on_deactivate = _deactivate
    on_cleanup = _cleanup
    on_shutdown = _shut_down

    def _release(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        if self._outputs is not None:
            self._outputs.close()
        self._worker = self._outputs = self._engine = None

    def _open_inputs(self) -> None:
        if self._active and self._enabled and self._inputs is None and self._engine is not None:
            callbacks = Callbacks(self._on_job, self._reject, self._on_time_went_back, self._runs_without_depth)
            self._inputs = Inputs(self, self._engine.settings, self._counters, self._monitor, callbacks)
            self._monitor.listen()

    def _close_inputs(self) -> None:
        """Unsubscribe and wait for the worker, so that nothing is published once this returns."""
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        if self._worker is not None:
            self._worker.discard(lambda _: True)
            self._worker.wait_until_idle()

    def _runs_without_depth(self) -> bool:
        return self._engine is not None and self._engine.models.rgb_only is not None

    def _describe_topics(self) -> str:
        return self._inputs.describe_topics() if self._inputs is not None else ""

    def _on_job(self, job: FrameTask) -> None:
        if self._worker is not None:
            self._worker.offer(job)

    def _segment(self, job: FrameTask) -> SegmentedFrame:
        engine = self._engine
        if engine is None:
            raise FrameError("the node was cleaned up meanwhile")
        settings, degrees = engine.settings, engine.settings.rotate
        frame = upright(job.frame, degrees)
        found = self._depth.assess(frame, settings.min_valid_depth, is_used=engine.models.main.needs_depth)
        segmentation = turned_back(engine.models.segment(frame, engine.smoother, color_only=self._depth.poor), degrees)
        plane = plane_turned_back(found, degrees, job.frame.size)
        return SegmentedFrame(job.frame, segmentation, plane, job.header, engine.models.taxonomy, settings)

    def _deliver(self, job: FrameTask, result: SegmentedFrame) -> None:
        if self._outputs is not None:
            self._outputs.publish(result)
        self._counters.record(FrameOutcome.PUBLISHED)
        self._monitor.see_published((time.monotonic_ns() - job.received_ns) / 1e6)

    def _reject(self, error: Exception) -> None:
        """A frame that cannot be decoded, segmented or published: log it and continue."""
        text = str(error) if isinstance(error, RoadKdError) else printable(f"{type(error).__name__}: {error}")
        self._counters.record(FrameOutcome.INVALID)
        self._monitor.see_problem(text)
        self.get_logger().warning(f"dropped a frame: {text}", throttle_duration_sec=_THROTTLE_S)

    def _on_time_went_back(self, now_ns: int) -> None:
        self.get_logger().info(
            "time went back: a bag looped, or its player was restarted", throttle_duration_sec=_THROTTLE_S
        )
        if self._worker is not None:
            self._worker.discard(lambda job: job.frame.stamp_ns > now_ns)

    def _on_clock_jump(self, jump: TimeJump) -> None:
        if self._inputs is None:
            return
        now_ns = self.get_clock().now().nanoseconds
        self._inputs.forget_newer_than(now_ns)
        self._on_time_went_back(now_ns)

    def _on_set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = bool(request.data)
        response.success = True
        response.message = f"{'enabled' if self._enabled else 'disabled'}, {self.lifecycle_state}"
        try:
            if self._enabled:
                self._open_inputs()
            else:
                self._close_inputs()
        except RoadKdError as error:
            self._enabled, response.success, response.message = False, False, str(error)
        return response

    def _prepare_parameters(self, changes: Sequence[Parameter]) -> SetParametersResult:
        """Do all that can fail before any parameter changes; unconfigured, that is left to the configure transition."""
        engine = self._engine
        self._candidate = None
        if engine is None:
            return SetParametersResult(successful=True)
        try:
            settings = parameters.merge(engine.settings, {change.name: change.value for change in changes})
            same = (settings.model, settings.rgb_only_model) == (engine.settings.model, engine.settings.rgb_only_model)
            models = engine.models if same else Models.load(settings)
            same &= settings.temporal_smoothing == engine.settings.temporal_smoothing
            self._candidate = _Engine(settings, models, engine.smoother if same else _smoother(settings))
        except RoadKdError as error:
            self.get_logger().error(f"parameters unchanged: {error}")
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply_parameters(self, _: Sequence[Parameter]) -> None:
        candidate, self._candidate = self._candidate, None
        if candidate is None or candidate == self._engine:
            return
        self._engine = candidate
        if self._outputs is not None:
            self._outputs.announce(candidate.models.taxonomy, candidate.settings)

    def _state(self) -> NodeState:
        engine = self._engine
        settings = engine.settings if engine is not None else parameters.raw(self)
        names: list[tuple[str, str]] = self.get_node_names_and_namespaces()
        return NodeState(
            lifecycle=self.lifecycle_state,
            enabled=self._enabled,
            model=settings.model,
            rgb_only_model=settings.rgb_only_model,
            device=engine.models.main.device_name if engine is not None else "",
            runs_without_depth=self._runs_without_depth(),
            failure=self.failure,
            has_namesake=names.count((self.get_name(), self.get_namespace())) > 1,
            listens=self._inputs is not None,
            depth_is_used=engine is not None and engine.models.main.needs_depth,
            max_latency_ms=settings.max_latency_ms,
            max_superseded_share=settings.max_superseded_share,
            forecast_hz=engine.models.forecast_hz if engine is not None else 0.0,
        )
