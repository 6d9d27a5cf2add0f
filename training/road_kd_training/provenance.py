"""Where a result comes from: code revision, versions and hardware, without names of users or machines."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch


def describe_environment() -> dict[str, str]:
    """Git revision, versions and processor of this run."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return {
        "git": git_revision(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "device": device,
    }


def git_revision() -> str:
    """Commit of the source tree, with `-dirty` if it was changed since; `unknown` outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
