# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from noise import noise
from road_kd_training.distillers.pad import uncertain_regression


class TestUncertainRegression:
    def test_by_hand(self):
        """Errors 1 and 2 under variances 1 and 4: (1 + 0 + 1 + ln 4) / 2."""
        student, teacher = torch.zeros(1, 1, 1, 2), torch.tensor([1.0, -2.0]).view(1, 1, 1, 2)
        log_variance = torch.tensor([0.0, math.log(4.0)]).view(1, 1, 1, 2)
        assert float(uncertain_regression(student, teacher, log_variance)) == pytest.approx((2 + math.log(4)) / 2)

    def test_the_best_variance_is_the_squared_error(self):
        student, teacher = noise(1, 2, 3, 3), noise(1, 2, 3, 3, seed=1)
        best = (student - teacher).square().log().requires_grad_()
        uncertain_regression(student, teacher, best).backward()
        assert best.grad.abs().max() < 1e-12

    def test_an_uncertain_pixel_counts_less(self):
        student = torch.zeros(1, 1, 1, 2, requires_grad=True)
        log_variance = torch.tensor([0.0, 3.0]).view(1, 1, 1, 2)
        uncertain_regression(student, torch.ones(1, 1, 1, 2), log_variance).backward()
        sure, unsure = student.grad.flatten().abs().tolist()
        assert unsure == pytest.approx(sure * math.exp(-3), rel=1e-5)

    def test_gradcheck(self):
        inputs = noise(1, 2, 2, 3).requires_grad_(), noise(1, 2, 2, 3, seed=2).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, v: uncertain_regression(x, noise(1, 2, 2, 3, seed=1), v), inputs)

    def test_no_gradient_reaches_the_teacher(self):
        student, teacher = noise(1, 2, 2, 3).requires_grad_(), noise(1, 2, 2, 3, seed=1).requires_grad_()
        uncertain_regression(student, teacher, torch.zeros(1, 2, 2, 3, dtype=torch.float64)).backward()
        assert teacher.grad is None
