# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from noise import noise
from road_kd_training.distillers.factor_transfer import factor_distance
from road_kd_training.errors import TrainingError


class TestFactorDistance:
    def test_by_hand(self):
        """(3, 4)/5 against (1, 0): (0.4 + 0.8) / 2."""
        student, teacher = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2), torch.tensor([7.0, 0.0]).view(1, 1, 1, 2)
        assert float(factor_distance(student, teacher)) == pytest.approx(0.6)

    def test_each_images_scale_is_divided_out(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        scale = torch.tensor([3.0, 1e3]).view(2, 1, 1, 1)
        torch.testing.assert_close(factor_distance(student * scale, teacher), factor_distance(student, teacher))

    def test_gradcheck(self):
        student = noise(2, 1, 2, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: factor_distance(x, noise(2, 1, 2, 3, seed=1)), student)


class TestFt:
    def test_each_term_teaches_its_own_half(self, tiny_pair):
        ft = tiny_pair.build("ft", taps=(("deep", "deep"),))
        student, teachers = tiny_pair.outputs()
        terms = ft(student, teachers, None, 0)
        paraphraser = [*ft.paraphrasers.parameters(), *ft.decoders.parameters()]
        translator = [*ft.translators.parameters(), student.features["deep"]]
        for term, learners, others in (
            ("factor", translator, paraphraser),
            ("reconstruction", paraphraser, translator),
        ):
            assert all(g is not None for g in torch.autograd.grad(terms[term], learners, retain_graph=True))
            found = torch.autograd.grad(terms[term], others, retain_graph=True, allow_unused=True)
            assert all(g is None for g in found)

    def test_factors_have_the_configured_share_of_channels(self, tiny_pair):
        ft = tiny_pair.build("ft", taps=(("deep", "deep"),), rate=0.25)
        assert ft.paraphrasers[0](torch.zeros(1, 16, 2, 2)).shape[1] == 4

    @pytest.mark.parametrize("rate", [0.0, 1.5])
    def test_an_impossible_rate_is_refused(self, tiny_pair, rate):
        with pytest.raises(TrainingError, match="ft: rate is .*, expected more than 0 and at most 1"):
            tiny_pair.build("ft", taps=(("deep", "deep"),), rate=rate)
