# SPDX-License-Identifier: Apache-2.0
"""The losses of road_kd_training in torchdistill's recipes: import this file, then name them as criterion keys.

criterion:
  key: 'road_kd'
  kwargs:
    loss: 'channel_wise_kl'
    student: {path: 'classifier.low_classifier', io: 'output'}
    teacher: {path: 'classifier.4', io: 'output'}
    options: {temperature: 3.0}

`python examples/torchdistill_losses.py` computes one of them as torchdistill does.
"""

import torch
from torch import Tensor, nn
from torchdistill.losses.registry import get_mid_level_loss, register_mid_level_loss

import road_kd_training


@register_mid_level_loss(key="road_kd")
class RoadKdLoss(nn.Module):
    """A function of (student, teacher) maps, by its name in `road_kd_training`."""

    def __init__(self, loss: str, student: dict, teacher: dict, options: dict | None = None) -> None:
        super().__init__()
        self.loss = getattr(road_kd_training, loss)
        self.student, self.teacher, self.options = student, teacher, options or {}

    def forward(self, student_io_dict: dict, teacher_io_dict: dict, *args: object, **kwargs: object) -> Tensor:
        """Compare what torchdistill's hooks kept."""
        student = student_io_dict[self.student["path"]][self.student["io"]]
        teacher = teacher_io_dict[self.teacher["path"]][self.teacher["io"]]
        return self.loss(student, teacher, **self.options)


if __name__ == "__main__":
    tap = {"path": "backbone", "io": "output"}
    criterion = {"key": "road_kd", "kwargs": {"loss": "channel_wise_kl", "student": tap, "teacher": tap}}
    loss = get_mid_level_loss(criterion)
    features = torch.rand(2, 2, 8, 16, 16)
    print(f"loss: {loss({'backbone': {'output': features[0]}}, {'backbone': {'output': features[1]}}, None):.6f}")
