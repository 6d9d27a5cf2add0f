# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
import torch.nn.functional as F

from noise import noise
from road_kd_training.distillers.vid import gaussian_nll


class TestGaussianNll:
    def test_by_hand(self):
        """Deviations 1 and 2 under variances 1 and 4: (1 + 0 + 1 + ln 4) / 2 on average over the two."""
        mean, value = torch.zeros(1, 2, 1, 1), torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)
        loss = gaussian_nll(mean, torch.tensor([1.0, 4.0]), value)
        assert float(loss) == pytest.approx((1 + 1 + math.log(4)) / 4)

    def test_equals_the_density_of_torch(self):
        mean, value, variance = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1), noise(3, seed=2).exp()
        density = torch.distributions.Normal(mean, variance.sqrt()[:, None, None]).log_prob(value)
        expected = -density.mean() - math.log(2 * math.pi) / 2
        torch.testing.assert_close(gaussian_nll(mean, variance, value), expected)

    def test_gradcheck(self):
        inputs = noise(1, 2, 2, 3).requires_grad_(), noise(2, seed=2).exp().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, v: gaussian_nll(x, v, noise(1, 2, 2, 3, seed=1)), inputs)

    def test_no_gradient_reaches_the_teacher(self):
        mean, value = noise(1, 2, 2, 3).requires_grad_(), noise(1, 2, 2, 3, seed=1).requires_grad_()
        gaussian_nll(mean, torch.ones(2, dtype=torch.float64), value).backward()
        assert value.grad is None


class TestVid:
    def test_variances_start_where_configured_and_learn(self, tiny_pair):
        vid = tiny_pair.build("vid", taps=(("deep", "deep"),), initial_variance=5.0)
        torch.testing.assert_close(F.softplus(vid.scales[0].detach()) + 1e-5, torch.full((16,), 5.0))
        student, teachers = tiny_pair.outputs()
        vid(student, teachers, None, 0)["information"].backward()
        assert vid.scales[0].grad.abs().min() > 0
