# SPDX-License-Identifier: Apache-2.0
"""Files: written whole or not at all, read only if they are files and no larger than they may be."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from road_kd_seg.errors import RoadKdError


def write_file(path: Path, content: bytes | memoryview, *, error: type[RoadKdError] = RoadKdError) -> None:
    """Write a file, folders included: whole, or not at all.

    The content goes to a new file beside `path`, which then takes its place: a symlink is replaced, not followed, and
    permissions are those that the umask gives.

    Args:
        path: where.
        content: what.
        error: class of the error to raise.

    Raises:
        RoadKdError: the folder cannot be written, or the disk is full; nothing stays behind.
    """
    unfinished = path.with_name(f".{path.name[:100]}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(handle)
        unfinished.replace(path)
    except OSError as problem:
        with suppress(OSError):
            unfinished.unlink()
        raise error(
            f"{path}: cannot be written ({problem.strerror}): free some space, or choose a folder that you may write to"
        ) from problem


def read_file(path: Path, limit: int, *, first: int = -1, error: type[RoadKdError] = RoadKdError) -> bytes:
    """The content of a regular file; never waits, as on a pipe, and never reads without end, as of a device.

    Args:
        path: which; a symlink is followed.
        limit: bytes that it may have.
        first: how many of them are read, from its beginning; -1: all.
        error: class of the error to raise.

    Raises:
        RoadKdError: missing, no regular file, unreadable, or larger than `limit`.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise error(f"{path} is no regular file")
            if status.st_size > limit:
                raise error(f"{path} has {status.st_size} bytes, expected at most {limit}")
            return stream.read(status.st_size if first < 0 else min(first, status.st_size))
    except FileNotFoundError as problem:
        raise error(f"{path} is missing") from problem
    except (OSError, ValueError) as problem:  # ValueError: a name that no file can have
        reason = getattr(problem, "strerror", None) or str(problem)
        raise error(f"{path} cannot be read ({reason})") from problem


def read_text(path: Path, limit: int, *, error: type[RoadKdError] = RoadKdError) -> str:
    """The content of a text file, without a byte order mark; otherwise as `read_file`.

    Raises:
        RoadKdError: as `read_file`, or no UTF-8.
    """
    try:
        return read_file(path, limit, error=error).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path} is no text file (UTF-8)") from problem


def make_folder(path: Path, *, error: type[RoadKdError] = RoadKdError) -> None:
    """Make a folder for output, before the work whose result it is for.

    Raises:
        RoadKdError: it is no folder, or cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{secrets.token_hex(4)}.part"  # permissions do not tell of every file system
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        probe.unlink()
    except UnicodeEncodeError:
        raise
    except (OSError, ValueError) as failure:
        problem = getattr(failure, "strerror", None) or str(failure)
        raise error(f"{path}: cannot be written ({problem}): choose a folder that you may write to") from failure


def check_target(path: Path, *, error: type[RoadKdError] = RoadKdError) -> None:
    """Refuse a file for output that cannot be written, before the work whose result it is for; makes its folder.

    Raises:
        RoadKdError: it is a folder, or its own cannot be made or written.
    """
    make_folder(path.parent, error=error)
    if path.is_dir():
        raise error(f"{path}: cannot be written, it is a folder: name a file")
