# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest
import torch

from road_kd_training.distillers.cpkd import VARIANTS, CpkdConfig, channel_loss, position_loss, position_map
from road_kd_training.errors import TrainingError


def activations(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestPositionMap:
    def test_two_pixels_become_minus_one_and_one(self):
        # channel means 1 and 3: center 2, standard deviation 1
        features = torch.tensor([[[[0.0, 2.0]], [[2.0, 4.0]]]], dtype=torch.float64)
        expected = torch.tensor([[[[-1.0, 1.0]]]], dtype=torch.float64)
        # the epsilon of 1e-5 under the root takes off half of that
        torch.testing.assert_close(position_map(features), expected, rtol=1e-5, atol=0)

    def test_it_is_standardized_over_batch_and_image_as_a_fresh_batch_norm_does(self):
        features = activations(2, 3, 4, 5)
        fresh = torch.nn.BatchNorm2d(1, affine=False, track_running_stats=False).double()
        torch.testing.assert_close(position_map(features), fresh(features.mean(1, keepdim=True)))

    def test_a_positive_gain_and_an_offset_change_nothing(self):
        features = activations(2, 3, 4, 5) * 100
        # the epsilon weighs 1e-5 against a variance of thousands
        torch.testing.assert_close(position_map(3 * features + 7), position_map(features), rtol=1e-7, atol=1e-7)

    def test_a_constant_map_gives_zeros(self):
        assert position_map(torch.full((2, 3, 4, 5), 2.0)).abs().max() == 0

    def test_gradcheck(self):
        assert torch.autograd.gradcheck(position_map, activations(2, 3, 2, 3).requires_grad_())


class TestPositionLoss:
    def test_equal_networks_with_different_samples_cost_nothing(self):
        features = activations(4, 3, 4, 5)
        assert position_loss(features, features) == 0

    def test_the_literal_loss_compares_different_samples(self):
        features = activations(4, 3, 4, 5)
        assert position_loss(features, features, as_published=True) > 1

    def test_literal_equals_the_mean_over_all_pairs_of_samples(self):
        student, teacher = activations(2, 3, 4, 5), activations(2, 6, 4, 5, seed=1)
        ours, theirs = position_map(student), position_map(teacher)
        pairs = [(ours[i] - theirs[j]).square().mean() for i, j in itertools.product(range(2), repeat=2)]
        torch.testing.assert_close(position_loss(student, teacher, as_published=True), torch.stack(pairs).mean())

    def test_literal_and_not_agree_for_one_sample(self):
        student, teacher = activations(1, 3, 4, 5), activations(1, 6, 4, 5, seed=1)
        torch.testing.assert_close(position_loss(student, teacher, as_published=True), position_loss(student, teacher))

    def test_opposite_maps_cost_four(self):
        features = activations(2, 3, 4, 5) * 100
        torch.testing.assert_close(position_loss(-features, features), torch.tensor(4.0, dtype=torch.float64))

    def test_a_smaller_student_is_resized_by_nearest_neighbor(self):
        student = activations(2, 64, 4, 5)
        teacher = student.repeat(1, 4, 1, 1).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        assert position_loss(student, teacher) < 1e-12

    def test_duplicating_the_batch_changes_nothing(self):
        student, teacher = activations(2, 3, 4, 5), activations(2, 6, 8, 10, seed=1)
        torch.testing.assert_close(
            position_loss(student.repeat(2, 1, 1, 1), teacher.repeat(2, 1, 1, 1)), position_loss(student, teacher)
        )

    def test_gradcheck(self):
        teacher = activations(2, 4, 4, 6, seed=1)
        assert torch.autograd.gradcheck(lambda s: position_loss(s, teacher), activations(2, 3, 2, 3).requires_grad_())

    def test_no_gradient_reaches_the_teacher(self):
        teacher = activations(2, 4, 4, 6, seed=1).requires_grad_()
        position_loss(activations(2, 3, 2, 3).requires_grad_(), teacher).backward()
        assert teacher.grad is None


class TestChannelLoss:
    def test_one_student_channel_against_two(self):
        student = torch.tensor([[[[1.0, 3.0]]]])  # mean 2
        teacher = torch.tensor([[[[1.0, 1.0]], [[4.0, 6.0]]]])  # means 1 and 5
        assert channel_loss(student, teacher) == ((2 - 1) ** 2 + (2 - 5) ** 2) / 2

    def test_a_student_whose_channels_the_teacher_repeats_costs_nothing(self):
        student = activations(2, 64, 4, 5)
        assert channel_loss(student, student.repeat_interleave(4, dim=1)) == 0

    def test_permuting_the_pixels_changes_nothing(self):
        student, teacher = activations(2, 3, 4, 5), activations(2, 6, 8, 10, seed=1)
        torch.testing.assert_close(channel_loss(student.flip(2), teacher.flip(3)), channel_loss(student, teacher))

    def test_gradcheck(self):
        teacher = activations(2, 7, 4, 6, seed=1)
        assert torch.autograd.gradcheck(lambda s: channel_loss(s, teacher), activations(2, 3, 2, 3).requires_grad_())

    def test_no_gradient_reaches_the_teacher(self):
        teacher = activations(2, 4, 4, 6, seed=1).requires_grad_()
        channel_loss(activations(2, 3, 2, 3).requires_grad_(), teacher).backward()
        assert teacher.grad is None


class TestCpkd:
    TAPS = (("mid", "mid"), ("deep", "deep"))

    def test_the_terms_are_the_sums_over_the_taps(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        terms = tiny_pair.build("cpkd", taps=self.TAPS)(student, teachers, None, 0)
        alone = [tiny_pair.build("cpkd", taps=(tap,))(student, teachers, None, 0) for tap in self.TAPS]
        for name in ("position", "channel"):
            torch.testing.assert_close(terms[name], alone[0][name] + alone[1][name])

    def test_the_labels_are_the_teachers_not_the_ground_truth(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        distiller = tiny_pair.build("cpkd", taps=self.TAPS)
        with_target = distiller(student, teachers, tiny_pair.target(), 0)["teacher_label_ce"]
        assert with_target == distiller(student, teachers, None, 0)["teacher_label_ce"]
        log_p = student.logits.log_softmax(1).gather(1, teachers[0].logits.argmax(1, keepdim=True))
        torch.testing.assert_close(with_target, -log_p.mean())

    def test_one_tap_listed_twice_is_refused(self, tiny_pair):
        with pytest.raises(TrainingError, match="name a pair twice"):
            tiny_pair.build("cpkd", taps=(self.TAPS[0], self.TAPS[0]))

    def test_the_variants_of_table_two_grow_from_either_end(self):
        assert CpkdConfig().taps == tuple((name, name) for name in VARIANTS["E"])
        assert [len(VARIANTS[v]) for v in "ABCDE"] == [len(VARIANTS[v]) for v in "FGHIE"] == [1, 2, 3, 4, 5]
        for chain in ("ABCDE", "FGHIE"):
            assert all(set(VARIANTS[a]) < set(VARIANTS[b]) for a, b in itertools.pairwise(chain))
