# SPDX-License-Identifier: Apache-2.0
"""Lifecycle transitions that say why they failed, and that cannot end the process."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from road_kd_seg.errors import RoadKdError, printable, shown


class _CanFail(Protocol):
    failure: str
    """Why the last transition failed; empty if it did not."""

    def get_logger(self) -> Any: ...


_Node = TypeVar("_Node", bound=_CanFail)


def transition(step: Callable[[_Node], None]) -> Callable[[_Node, LifecycleState], TransitionCallbackReturn]:
    """A lifecycle callback that logs why it failed (rclpy swallows exceptions) and leaves the node in its state."""

    def callback(self: _Node, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            step(self)
        except RoadKdError as error:
            self.failure = str(error)
        except Exception as error:  # rclpy would hide it
            self.failure = printable(f"{type(error).__name__}: {error}")
        else:
            self.failure = ""
            return TransitionCallbackReturn.SUCCESS
        self.get_logger().error(f"stays {state.label}: {self.failure}")
        return TransitionCallbackReturn.FAILURE

    return callback


def lifecycle_state(node: LifecycleNode) -> str:
    """unconfigured, inactive, active or finalized."""
    return str(node._state_machine.current_state[1])


def guard_transitions(node: LifecycleNode) -> None:
    """Respond to a transition that is impossible in this state with success=False; in rclpy it ends the process."""
    change_state = next(service for service in node.services if service.srv_type is ChangeState)
    change = change_state.callback

    def guarded(request: Any, response: Any) -> Any:
        label = request.transition.label
        if not re.fullmatch(r"[a-z_]{0,40}", label):  # rcl would log it as it is
            node.get_logger().warning(f"no transition {shown(label)}")
            response.success = False
            return response
        try:
            return change(request, response)
        except RuntimeError as error:  # RCLError is one
            node.get_logger().warning(printable(f"no such transition from {lifecycle_state(node)}: {error}"))
            response.success = False
            return response

    change_state.callback = guarded
