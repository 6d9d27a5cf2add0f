# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from noise import noise
from road_kd_training.experiments import find_experiment
from road_kd_training.experiments.alignment import position_cka
from road_kd_training.experiments.plan import make_plan


def rotation(channels, seed=5):
    return torch.linalg.qr(noise(channels, channels, seed=seed))[0]


class TestPositionCka:
    def test_features_agree_with_themselves_rotated_scaled_and_shifted(self):
        x = noise(3, 6, 4, 8)
        turned = 7 * torch.einsum("bchw,cd->bdhw", x, rotation(6)) + 3
        assert position_cka(x, turned) == pytest.approx(1)

    def test_unrelated_features_do_not_agree(self):
        """Of 24,000 positions and 6 channels each: about channels over positions."""
        assert position_cka(noise(6, 6, 50, 80), noise(6, 6, 50, 80, seed=1)) < 0.01

    def test_it_is_the_ratio_of_centered_gram_matrices(self):
        x, y = noise(2, 3, 2, 2), noise(2, 5, 2, 2, seed=1)
        rows = [z.movedim(1, -1).reshape(8, -1) for z in (x, y)]
        ours, theirs = (z @ z.T for z in (row - row.mean(0) for row in rows))
        assert position_cka(x, y) == pytest.approx(float((ours * theirs).sum() / (ours.norm() * theirs.norm())))

    def test_the_larger_map_is_resized(self):
        x = noise(2, 3, 4, 4)
        assert position_cka(x, x.repeat_interleave(2, 2).repeat_interleave(2, 3)) == pytest.approx(1)

    def test_features_that_do_not_vary_do_not_agree(self):
        assert position_cka(torch.ones(2, 3, 4, 4), noise(2, 3, 4, 4).float()) == 0


def test_students_of_fig_5_leave_snapshots_and_its_teacher_does_not(tmp_path):
    """ "the CKA score of the features steadily increases and stabilizes as training progresses" """
    plan = make_plan(find_experiment("lix/fig5"), "reduced", out=tmp_path, data_root=tmp_path)
    every = {run.row.role: run.config.snapshot_every for run in plan.runs}
    assert every == {"teacher": None, "baseline": 25, "distilled": 25}
