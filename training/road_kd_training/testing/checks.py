# SPDX-License-Identifier: Apache-2.0
"""What a check is, and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One claim about one thing."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Pass, or raise AssertionError."""
        self.run()

    def __str__(self) -> str:
        return self.name


def expect(condition: bool, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def expect_error(action: Callable[[], object], kind: type[Exception], text: str) -> None:
    """Raise AssertionError unless the action raises an error of this kind whose message holds the text."""
    try:
        action()
    except kind as error:
        expect(text in str(error), f"the {kind.__name__} does not say '{text}': {error}")
        return
    raise AssertionError(f"no {kind.__name__} that says '{text}'")
