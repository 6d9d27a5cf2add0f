# SPDX-License-Identifier: Apache-2.0
"""The package's exceptions, and how text from outside gets into a message."""

from __future__ import annotations

import io
import reprlib
import sys
from collections.abc import Callable, Sequence

_SHOWN = 80
_MESSAGE = 1200

_abbreviate = reprlib.Repr()
_abbreviate.maxlevel = 2
_abbreviate.maxstring = _abbreviate.maxother = _SHOWN


def shown(value: object) -> str:
    """A name, path or value from outside as a message shows it: quoted, escaped, at most 80 characters."""
    try:
        text = repr(_shorten(value, _SHOWN)) if isinstance(value, str) else _abbreviate.repr(value)
    except Exception:  # a number of more digits than Python converts
        text = f"a value of type {type(value).__name__}"
    return _shorten(text, _SHOWN)


def printable(text: object, limit: int = _MESSAGE) -> str:
    """Text of which every character can be printed, in one line: the others are escaped, the middle of a long one goes.

    Nothing that a file or a message holds reaches a terminal, a log or a ROS message without this or `shown`: escape
    sequences would act, line breaks would forge lines, lone surrogates cannot be encoded.
    """
    short = _shorten(str(text), limit)
    if not short.isprintable():
        escaped = (c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in short)
        short = _shorten("".join(escaped), limit)
    return short


def _shorten(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}…{text[head + 1 - limit :]}"


class RoadKdError(Exception):
    """Base of everything this package raises on purpose: what is wrong, where, what was expected, the fix.

    Args:
        message: becomes `printable`.
        detail: lines of our own that follow it as they are, such as an expected folder tree.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message, detail)

    def __str__(self) -> str:
        return printable(self.args[0]) + str(self.args[1])


class BundleError(RoadKdError):
    """A model on disk that is missing, damaged or written for something else."""


class FrameError(RoadKdError):
    """A frame (or a ROS message) that cannot be segmented; the next one may well be fine."""


class BagError(RoadKdError):
    """A bag that cannot be read, or that lacks the topics it was asked for."""


class ShapeMismatch(RoadKdError):
    """Two tensors that had to agree and do not."""

    def __init__(self, where: str, got: Sequence[int], expected: Sequence[int], *, hint: str) -> None:
        super().__init__(f"{where}: got shape {tuple(got)}, expected {tuple(expected)}: {hint}.")


_PROVIDERS = {
    "rclpy": "source a ROS 2 environment, or: pip install 'road_kd_seg[ros]'",
    **dict.fromkeys(("rosbags", "rich", "jinja2", "matplotlib"), "pip install 'road_kd_seg[replay]'"),
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "pip install 'road_kd_seg[onnx]'"),
}
"""What brings the packages that only some of the tools need."""


def run_tool(main: Callable[[], int | None]) -> int:
    """Run a console script's body; print what stops it as one line on stderr and return its exit code.

    A traceback is a bug of ours: files that cannot be read or written are the user's, so is a package that only this
    tool needs, and no character of a name stops a tool at its last line, whatever the terminal can show.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return main() or 0
    except RoadKdError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PROVIDERS:
            raise
        print(f"error: {package} is not installed: {_PROVIDERS[package]}", file=sys.stderr)
        return 1
    except UnicodeEncodeError as error:
        if sys.getfilesystemencoding() == "utf-8":
            raise
        print(
            f"error: {shown(error.object)} is no file name in this locale ({error.encoding}): export PYTHONUTF8=1,"
            " or a locale such as LC_ALL=C.UTF-8",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"error: {printable(f'{name}{error.strerror or error}')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
