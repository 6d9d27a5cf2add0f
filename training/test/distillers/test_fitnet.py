# SPDX-License-Identifier: Apache-2.0
import pytest
import torch


class TestFitnet:
    def test_a_known_regression_by_hand(self, tiny_pair):
        """A regressor that returns 0.5 everywhere, against a teacher of 2: 1.5²."""
        fitnet = tiny_pair.build("fitnet", taps=(("deep", "deep"),))
        torch.nn.init.zeros_(fitnet.regressors[0].weight)
        torch.nn.init.constant_(fitnet.regressors[0].bias, 0.5)
        student, teachers = tiny_pair.outputs()
        teacher = teachers[0]._replace(features={**teachers[0].features, "deep": torch.full((3, 16, 8, 12), 2.0)})
        assert fitnet(student, [teacher], None, 0)["hint"].item() == pytest.approx(2.25)

    def test_the_student_is_regressed_even_where_channels_agree(self, tiny_pair):
        fitnet = tiny_pair.build("fitnet", taps=(("mid", "mid"),))
        assert isinstance(fitnet.regressors[0], torch.nn.Conv2d)

    def test_several_taps_add_up(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        both = tiny_pair.build("fitnet", taps=(("mid", "mid"), ("deep", "deep")))
        values = []
        for index, tap in enumerate(("mid", "deep")):
            one = tiny_pair.build("fitnet", taps=((tap, tap),))
            one.regressors[0].load_state_dict(both.regressors[index].state_dict())
            values.append(one(student, teachers, None, 0)["hint"])
        torch.testing.assert_close(both(student, teachers, None, 0)["hint"], sum(values))

    def test_gradcheck(self, tiny_pair):
        fitnet = tiny_pair.build("fitnet", taps=(("mid", "mid"),)).double()
        generator = torch.Generator().manual_seed(0)
        student, teacher = torch.randn((2, 1, 6, 2, 3), generator=generator, dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda x: fitnet.compare(0, x, teacher, None), student.requires_grad_())
