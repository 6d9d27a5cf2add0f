# SPDX-License-Identifier: Apache-2.0
"""How fast training samples come, where their time goes, and whether a training step would wait for them."""

from __future__ import annotations

import cProfile
import statistics
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from road_kd_training.config import TrainConfig
from road_kd_training.data import DrawnExamples, Draws, Pool, training_loader
from road_kd_training.errors import TrainingError

STARVING = 0.05
"""A step that waits longer than this share of its own duration is starved."""
ENDLESS = 100_000
"""Steps: more than any measurement takes."""


@dataclass(frozen=True)
class SampleTimes:
    """One sample in one process: medians over samples, in ms."""

    read_ms: float
    """In file reads. Files that the system holds in memory come from there, so a slow disk may not show."""
    decode_ms: float
    """The rest of the dataset's work: decompression, conversion, lookup."""
    augment_ms: float
    file_bytes: float | None
    """Mean bytes read from files per sample; None where the system does not count them."""
    sample_bytes: float
    """Bytes per sample that the training step receives."""

    @property
    def total_ms(self) -> float:
        """One sample, without batching."""
        return self.read_ms + self.decode_ms + self.augment_ms


@dataclass(frozen=True)
class LoaderSpeed:
    """A loader with so many worker processes."""

    workers: int
    batch_size: int
    samples_per_s: float
    """Taken as fast as they come."""
    wait_ms: float | None = None
    """Mean wait of a step of `step_ms`; None if no step was asked for."""
    step_ms: float | None = None

    @property
    def batch_ms(self) -> float:
        """The fastest step that this loader can feed."""
        return self.batch_size / self.samples_per_s * 1e3

    @property
    def starves(self) -> bool | None:
        """Whether the step waits; None if no step was asked for."""
        if self.wait_ms is None or self.step_ms is None:
            return None
        return self.wait_ms > STARVING * self.step_ms


def time_samples(examples: DrawnExamples, draws: Draws, count: int) -> SampleTimes:
    """Time `count` samples in this process, step by step.

    Raises:
        DatasetError: whatever the dataset finds wrong with its files.
    """
    read_ms: list[float] = []
    decode_ms: list[float] = []
    augment_ms: list[float] = []
    sizes: list[int] = []
    sample_bytes = 0
    for _, draw in zip(range(count), draws, strict=False):
        pool = examples.pools[draw.pool]
        before = _bytes_read()
        profile = cProfile.Profile()
        begun = time.perf_counter()
        sample = profile.runcall(pool.sources[draw.source].__getitem__, draw.index)
        fetched = time.perf_counter()
        after = _bytes_read()
        example = examples.augment(sample)
        augment_ms.append((time.perf_counter() - fetched) * 1e3)
        in_files_s = _seconds_in_files(profile)
        read_ms.append(in_files_s * 1e3)
        decode_ms.append((fetched - begun - in_files_s) * 1e3)
        sizes += [] if before is None or after is None else [after - before]
        sample_bytes = sum(tensor.nbytes for tensor in example)
    return SampleTimes(
        read_ms=statistics.median(read_ms),
        decode_ms=statistics.median(decode_ms),
        augment_ms=statistics.median(augment_ms),
        file_bytes=statistics.mean(sizes) if sizes else None,
        sample_bytes=sample_bytes,
    )


def measure_loader(
    config: TrainConfig, pools: Sequence[Pool], workers: int, seconds: float, step_ms: float | None = None
) -> LoaderSpeed:
    """Run the loader of a training run for some seconds, after its workers have started.

    Args:
        config: the run; its `num_workers` is ignored.
        pools: its samples.
        workers: loader processes; 0 loads in this one.
        seconds: how long to measure; twice as long if a step is asked for.
        step_ms: also feed a step of this duration, which leaves the processor alone as one on a GPU does.

    Raises:
        DatasetError: whatever a dataset finds wrong with its files.
    """
    config = replace(config, num_workers=workers, steps=ENDLESS)
    batch_size = sum(pool.batch_size for pool in pools)
    with closing(_batches(config, pools)) as batches:
        taken, elapsed_s = _take(batches, workers, seconds)
        wait_ms = None if step_ms is None else _wait_ms(batches, workers, seconds, step_ms)
    return LoaderSpeed(workers, batch_size, taken * batch_size / elapsed_s, wait_ms, step_ms)


def worker_counts(cores: int) -> list[int]:
    """0, 1, 2, 4, … up to the number of cores, which is the last."""
    return sorted({0, cores, *(1 << power for power in range(cores.bit_length()))})


def enough_workers(speeds: Sequence[LoaderSpeed]) -> LoaderSpeed:
    """The smallest number of workers that feed the step, or, where none does, that come within 5 % of the fastest."""
    feeding = [speed for speed in speeds if speed.starves is False]
    fastest = max(speed.samples_per_s for speed in speeds)
    return min(
        feeding or [speed for speed in speeds if speed.samples_per_s >= (1 - STARVING) * fastest],
        key=lambda speed: speed.workers,
    )


def _batches(config: TrainConfig, pools: Sequence[Pool]) -> Generator[Sequence[Tensor], None, None]:
    """Batches as the engine gets them; closing the iterator ends the worker processes."""
    yield from training_loader(config, pools, first_step=0, processes=1)


def _take(batches: Iterator[Sequence[Tensor]], workers: int, seconds: float) -> tuple[int, float]:
    """Number of batches, and the time that they took, from the moment when every worker has delivered one."""
    for _ in range(max(1, workers)):
        next(batches)
    begun, taken, elapsed_s = time.perf_counter(), 0, 0.0
    while elapsed_s < seconds:
        next(batches)
        taken += 1
        elapsed_s = time.perf_counter() - begun
    return taken, elapsed_s


def _wait_ms(batches: Iterator[Sequence[Tensor]], workers: int, seconds: float, step_ms: float) -> float:
    """Mean wait for a batch between steps, once the workers have found their pace."""
    waits_ms: list[float] = []
    warm_up = 3 * max(1, workers)  # two prefetched batches per worker, and the one it works on
    begun = time.perf_counter()
    while len(waits_ms) <= warm_up or time.perf_counter() - begun < seconds:
        asked = time.perf_counter()
        next(batches)
        waits_ms.append((time.perf_counter() - asked) * 1e3)
        time.sleep(step_ms / 1e3)
    return statistics.mean(waits_ms[warm_up:])


def _seconds_in_files(profile: cProfile.Profile) -> float:
    """Time in the interpreter's file functions; decoders are not among them."""
    names = ("_io.BufferedReader", "_io.FileIO", "io.open", "posix.")
    return sum(
        entry.inlinetime
        for entry in profile.getstats()
        if isinstance(entry.code, str) and any(name in entry.code for name in names)
    )


def _bytes_read() -> int | None:
    """Bytes that this process has read so far, from disk or cache; None where the system does not say."""
    try:
        for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
            if line.startswith("rchar:"):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None


def check_options(seconds: float, samples: int, step_ms: float | None, workers: Sequence[int]) -> None:
    """Refuse what cannot be measured.

    Raises:
        TrainingError: a duration, count or step that is not above 0, or a negative number of workers.
    """
    if seconds <= 0 or samples < 1 or (step_ms is not None and step_ms <= 0) or any(count < 0 for count in workers):
        raise TrainingError(
            f"seconds {seconds}, samples {samples}, step_ms {step_ms}, workers {list(workers)}:"
            " expected durations and counts above 0, and numbers of workers from 0"
        )
