# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from noise import noise
from road_kd_training.distillers.diffkd import FeatureDiffusion, denoise_step, signal_shares
from road_kd_training.errors import TrainingError


class TestDenoiseStep:
    def test_the_true_noise_leads_back_to_the_clean_map(self):
        clean, added = noise(1, 2, 3, 3), noise(1, 2, 3, 3, seed=1)
        share, none = torch.tensor(0.3, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
        noisy = share.sqrt() * clean + (1 - share).sqrt() * added
        torch.testing.assert_close(denoise_step(noisy, added, share, none), clean)

    def test_a_step_with_the_true_noise_lands_on_the_next_level(self):
        clean, added = noise(1, 2, 3, 3), noise(1, 2, 3, 3, seed=1)
        here, there = torch.tensor([0.3, 0.8], dtype=torch.float64)
        found = denoise_step(here.sqrt() * clean + (1 - here).sqrt() * added, added, here, there)
        torch.testing.assert_close(found, there.sqrt() * clean + (1 - there).sqrt() * added)

    def test_gradcheck(self):
        here, there = torch.tensor([0.3, 0.8], dtype=torch.float64)
        inputs = noise(1, 1, 2, 2).requires_grad_(), noise(1, 1, 2, 2, seed=1).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, e: denoise_step(x, e, here, there), inputs)


class TestFeatureDiffusion:
    def test_signal_falls_from_one_to_almost_none(self):
        shares = signal_shares()
        assert (shares.diff() < 0).all()
        assert float(shares[0]) == pytest.approx(1 - 1e-4)
        assert float(shares[-1]) < 1e-4

    def test_five_steps_cross_the_later_half(self):
        assert FeatureDiffusion(4, 6, 3, 5).schedule == [400, 300, 200, 100, 0]

    def test_the_diffusion_model_learns_the_noise(self):
        torch.manual_seed(0)
        model = FeatureDiffusion(4, 4, 4, 2)
        code = torch.randn(4, 4, 6, 6)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        losses = []
        for _ in range(40):
            optimizer.zero_grad()
            loss = model.diffusion_loss(code)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


class TestDiffkd:
    def test_only_the_reconstruction_teaches_the_autoencoder(self, tiny_pair):
        diffkd = tiny_pair.build("diffkd", taps=(("deep", "deep"),))
        student, teachers = tiny_pair.outputs()
        terms = diffkd(student, teachers, None, 0)
        encoder = list(diffkd.models[0].encoder.parameters())
        for term in ("denoised_hint", "diffusion"):
            found = torch.autograd.grad(terms[term], encoder, retain_graph=True, allow_unused=True)
            assert all(gradient is None for gradient in found)
        found = torch.autograd.grad(terms["reconstruction"], encoder)
        assert any(gradient.abs().max() > 0 for gradient in found)

    def test_only_the_hint_teaches_the_student(self, tiny_pair):
        diffkd = tiny_pair.build("diffkd", taps=(("deep", "deep"),))
        student, teachers = tiny_pair.outputs()
        terms = diffkd(student, teachers, None, 0)
        features = student.features["deep"]
        assert torch.autograd.grad(terms["denoised_hint"], features, retain_graph=True)[0].abs().max() > 0
        for term in ("diffusion", "reconstruction"):
            assert torch.autograd.grad(terms[term], features, retain_graph=True, allow_unused=True)[0] is None

    def test_the_code_has_half_the_teachers_channels_unless_said(self, tiny_pair):
        for options, channels in (({}, 8), ({"code_channels": 3}, 3)):
            diffkd = tiny_pair.build("diffkd", taps=(("deep", "deep"),), **options)
            assert diffkd.models[0].entrance.out_channels == channels

    @pytest.mark.parametrize("steps", [0, 501])
    def test_an_impossible_number_of_steps_is_refused(self, tiny_pair, steps):
        with pytest.raises(TrainingError, match="diffkd: steps is .*, expected 1 to 500"):
            tiny_pair.build("diffkd", taps=(("deep", "deep"),), steps=steps)
