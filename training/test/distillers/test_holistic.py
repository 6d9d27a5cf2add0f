# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from noise import noise
from road_kd_training.distillers.holistic import Discriminator, SelfAttention, critic_loss


class LinearCritic(nn.Module):
    """Three times the first channel's mean over 4 pixels: its gradient has the length 3 / 4 · √4 = 1.5."""

    def forward(self, x):
        return 3 * x[:, 0].mean(dim=(1, 2))


class TestCriticLoss:
    def test_a_linear_critic_by_hand(self):
        """Means 1 (student) and 3 (teacher): 3 - 9, and a penalty of 10 (1.5 - 1)²."""
        fake, real = torch.full((2, 1, 2, 2), 1.0), torch.full((2, 1, 2, 2), 3.0)
        assert critic_loss(LinearCritic(), fake, real, 10.0).item() == pytest.approx(-6 + 2.5, rel=1e-5)

    def test_gradcheck_through_the_penalty(self):
        """The penalty's gradient is one of second order."""
        critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0)).double()
        fake, real = noise(2, 1, 2, 2), noise(2, 1, 2, 2, seed=1)

        def loss(weight):
            torch.manual_seed(0)

            def run(x):
                return torch.func.functional_call(critic, {"1.weight": weight}, (x,))

            return critic_loss(run, fake, real, 10.0)

        assert torch.autograd.gradcheck(loss, noise(3, 4, seed=2).requires_grad_())

    def test_neither_map_learns_from_it(self):
        fake, real = noise(1, 1, 2, 2).requires_grad_(), noise(1, 1, 2, 2, seed=1).requires_grad_()
        critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1), nn.Flatten(0)).double()
        critic_loss(critic, fake, real, 10.0).backward()
        assert fake.grad is None
        assert real.grad is None


class TestDiscriminator:
    def test_judges_each_map_by_itself(self):
        torch.manual_seed(0)
        discriminator = Discriminator(3, width=4)
        maps = noise(3, 3, 64, 64).float().softmax(1)
        whole = discriminator(maps)
        assert whole.shape == (3,)
        torch.testing.assert_close(discriminator(maps[1:2]), whole[1:2])

    def test_attention_starts_as_the_identity(self):
        x = noise(1, 8, 4, 4).float()
        torch.testing.assert_close(SelfAttention(8)(x), x)


class TestHo:
    def test_each_term_teaches_its_own_party(self, tiny_pair):
        ho = tiny_pair.build("ho", width=4)
        student, teachers = tiny_pair.outputs()
        terms = ho(student, teachers, None, 0)
        weights = list(ho.parameters())
        of_student = torch.autograd.grad(
            terms["holistic"], [student.logits, *weights], retain_graph=True, allow_unused=True
        )
        assert of_student[0].abs().max() > 0
        assert all(gradient is None for gradient in of_student[1:])
        of_critic = torch.autograd.grad(terms["discriminator"], [student.logits, *weights], allow_unused=True)
        assert of_critic[0] is None
        assert any(gradient is not None and gradient.abs().max() > 0 for gradient in of_critic[1:])

    def test_the_discriminator_learns_to_tell_them_apart(self, tiny_pair):
        ho = tiny_pair.build("ho", width=4)
        student, teachers = tiny_pair.outputs(batch=4)
        teacher = teachers[0]._replace(logits=3 * teachers[0].logits)
        optimizer = torch.optim.Adam(ho.parameters(), 1e-2)
        torch.manual_seed(0)
        losses = []
        for _ in range(12):
            optimizer.zero_grad()
            terms = ho(student, [teacher], None, 0)
            terms["discriminator"].backward()
            optimizer.step()
            losses.append(terms["discriminator"].item())
        assert losses[-1] < losses[0] / 2
