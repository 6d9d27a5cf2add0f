# SPDX-License-Identifier: Apache-2.0
"""What this machine's CPU can do, and how this process should use it."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform
from functools import lru_cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_THRESHOLD_BYTES = 32 << 20  # glibc's maximum
_TRIM_THRESHOLD_BYTES = 1 << 30


@lru_cache(maxsize=1)
def cpu_name() -> str | None:
    """Model of the CPU, e.g. "AMD EPYC"; None if the system does not say."""
    return _cpuinfo("model name") or platform.processor() or None


@lru_cache(maxsize=1)
def cpu_flags() -> frozenset[str]:
    """Instruction sets as Linux names them; empty where it does not say."""
    return frozenset((_cpuinfo("flags") or _cpuinfo("Features")).split())


def has_bf16() -> bool:
    """Whether the CPU computes in bf16: without, PyTorch emulates it, many times slower than fp32."""
    return bool(cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def num_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pick_num_threads(num_threads: int) -> int:
    """`num_threads`, or for 0 half of the CPUs, at most four: the camera driver, the middleware and whoever uses the
    masks need the others, and a network this small gains little from more."""
    return num_threads or max(1, min(num_cpus() // 2, 4))


def share_machine() -> None:
    """Before PyTorch is imported, in every process that segments: be a good neighbor to those on the same cores.

    OpenMP threads that wait for each other sleep: where something else needs a core, spinning makes a forward pass
    several times as long (docs/PERFORMANCE.md). Who sets OMP_WAIT_POLICY knows better. And freed memory is kept.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory instead of returning it to the system with every image: fetching it again costs one
    page fault per 4 kB. Returns whether the C library took it."""
    try:
        mallopt = ctypes.CDLL(ctypes.util.find_library("c")).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    taken = [
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES),
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES),
    ]
    return all(taken)


def _cpuinfo(key: str) -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")
