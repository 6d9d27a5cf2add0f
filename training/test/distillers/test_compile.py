# SPDX-License-Identifier: Apache-2.0
"""The five papers' functions compile, and then give what they give without."""

import pytest
import torch

from road_kd_training.distillers import cpkd, intra_kd, lix, sslkd
from road_kd_training.distillers.cwd import channel_wise_kl

generator = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(2, 3, 4, 5, 6, generator=generator, dtype=torch.float64)
TARGET = torch.randint(0, 4, (3, 5, 6), generator=generator)

CASES = {
    "cwd": lambda: channel_wise_kl(STUDENT, TEACHER),
    "cpkd position": lambda: cpkd.position_loss(STUDENT, TEACHER),
    "cpkd channel": lambda: cpkd.channel_loss(STUDENT, TEACHER),
    "intra_kd attention": lambda: intra_kd.attention_loss(STUDENT, TEACHER),
    "intra_kd moments": lambda: intra_kd.moment_pool(STUDENT, intra_kd.aoi_masks(TARGET, 4))[:3],
    "sslkd features": lambda: sslkd.feature_mae(STUDENT, TEACHER),
    "sslkd pseudo-labels": lambda: sslkd.cross_pseudo_loss(STUDENT, TEACHER),
    "dkd": lambda: lix.dkd_terms(STUDENT, TEACHER, TARGET, 4.0),
    "lix kernel": lambda: lix.recalibrate(STUDENT.flatten(1), "laplace", 1.0),
    "lix cka": lambda: lix.cka(STUDENT.flatten(1), TEACHER.flatten(1)),
}


BREAKS_THE_GRAPH = {"dkd"}
"""Drops ignored pixels, so that its shapes depend on the labels."""


@pytest.mark.parametrize("name", CASES)
def test_it_compiles(name):
    compiled = torch.compile(CASES[name], backend="eager", fullgraph=name not in BREAKS_THE_GRAPH)
    torch.testing.assert_close(compiled(), CASES[name]())
