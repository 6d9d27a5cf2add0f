# SPDX-License-Identifier: Apache-2.0
"""Distill a torchvision segmenter into a timm backbone: two models that were not written for this package.

python examples/distill_any_models.py
"""

import timm
import torch
from torch import nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from road_kd_training import DISTILLERS, TappedModel

torch.manual_seed(0)
images = torch.rand(4, 3, 64, 96)  # yours, normalized; no labels are needed here

# In earnest: lraspp_mobilenet_v3_large(weights="DEFAULT"), or any model of yours.
teacher = TappedModel(lraspp_mobilenet_v3_large(weights_backbone=None, num_classes=5), ["backbone.12"], images)
teacher.eval().requires_grad_(False)
body = timm.create_model("resnet10t", num_classes=0, global_pool="", output_stride=16)
head = nn.Sequential(nn.Conv2d(512, 5, 1), nn.Upsample(size=images.shape[-2:], mode="bilinear"))
student = TappedModel(nn.Sequential(body, head), ["0.layer3"], images)

method = DISTILLERS["cwd"]  # any method that `road-kd list distillers` shows
taps = (("0.layer3", "backbone.12"), ("logits", "logits"))
distiller = method(method.Config(taps=taps), student.info, [teacher.info])
optimizer = torch.optim.AdamW([*student.parameters(), *distiller.parameters()], lr=2e-3)

for step in range(28):
    terms = distiller(student(images), [teacher(images)], None, step)
    loss = sum(method.default_weights[name] * term for name, term in terms.items())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 9 == 0:
        print(f"step {step}: loss {loss.item():.4f}")
