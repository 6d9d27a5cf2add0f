# SPDX-License-Identifier: Apache-2.0
"""A tiny distilled run, and one that somebody interrupts."""

from pathlib import Path
from typing import Any

from road_kd_training.config import DataConfig, DistillerConfig, InputConfig, NetworkConfig, TeacherConfig, TrainConfig
from road_kd_training.engine import Trainer

LOGITS = [["logits", "logits"]]
CWD = DistillerConfig("cwd", {"taps": LOGITS})


def tiny_data(stereo_tree: Path, split: str) -> list[DataConfig]:
    """A split of the tiny stereo_pothole tree."""
    return [DataConfig("stereo_pothole", {"root": str(stereo_tree), "split": split})]


def distilled_run(stereo_tree: Path, teacher: Path, output: Path, **changes: Any) -> TrainConfig:
    """ENet, which sees color alone, learns from an ERFNet that sees depth too: four steps of three."""
    fields: dict[str, Any] = {
        "name": "tiny_distilled",
        "network": NetworkConfig("enet"),
        "train": tiny_data(stereo_tree, "train"),
        "validation": tiny_data(stereo_tree, "validation"),
        "output": str(output),
        "teachers": [TeacherConfig(bundle=str(teacher))],
        "distillers": [CWD],
        "input": InputConfig(height=32, width=64, depth="none"),
        "steps": 4,
        "batch_size": 3,
        "warmup_steps": 1,
        "ema_decay": 0.5,
        "mixed_precision": "no",
        "num_workers": 0,
        "validate_every": 4,
    }
    return TrainConfig(**(fields | changes))


class InterruptedTrainer(Trainer):
    """Somebody presses Ctrl-C during the third step."""

    def _train_step(self, *batch: Any) -> dict[str, float]:
        if self.step == 2:
            raise KeyboardInterrupt
        return super()._train_step(*batch)
