# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from noise import noise
from road_kd_seg.errors import ShapeMismatch
from road_kd_training.distillers.bifpn import neighbors
from road_kd_training.distillers.dks import Dks, DksConfig, synergy_loss
from road_kd_training.distillers.intra_kd import attention_loss
from road_kd_training.distillers.irg import edges, vertex_transform
from road_kd_training.distillers.pair_wise import affinity, pair_wise_loss
from road_kd_training.distillers.psn import flow_loss, flow_matrix
from road_kd_training.distillers.sad import Sad, SadConfig, self_attention_loss, softmax_attention
from road_kd_training.distillers.soft_targets import soft_target_kl
from road_kd_training.errors import TrainingError

TAPS = (("mid", "mid"), ("deep", "deep"))


def pixel(*logits):
    """Logits of one image of one pixel."""
    return torch.tensor(logits, dtype=torch.float64).view(1, -1, 1, 1)


def twice(x):
    return torch.cat([x, x])


def one_dimension(*values):
    """A batch of samples with one number each."""
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1)


class TestKd:
    @pytest.mark.parametrize("temperature", [1.0, 4.0])
    def test_two_classes_equal_the_bernoulli_divergence(self, temperature):
        p, q = 1 / (1 + math.exp(-2 / temperature)), 1 / (1 + math.exp(1 / temperature))
        expected = temperature**2 * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))
        assert soft_target_kl(pixel(-1, 0), pixel(2, 0), temperature).item() == pytest.approx(expected)

    def test_equal_logits_cost_nothing_whatever_is_added_to_a_pixel(self):
        logits = noise(2, 3, 4, 5)
        assert soft_target_kl(logits + noise(2, 1, 4, 5, seed=1), logits).abs() < 1e-12

    def test_ignored_pixels_are_inert(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        valid = torch.ones(2, 4, 5, dtype=torch.bool)
        valid[:, :2] = False
        expected = soft_target_kl(student[:, :, 2:], teacher[:, :, 2:])
        student[:, :, :2] = 1e4
        torch.testing.assert_close(soft_target_kl(student, teacher, valid=valid), expected)

    def test_duplicating_the_batch_changes_nothing(self):
        student, teacher = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        torch.testing.assert_close(soft_target_kl(twice(student), twice(teacher)), soft_target_kl(student, teacher))

    def test_gradcheck(self):
        teacher = noise(1, 3, 2, 2, seed=1)
        assert torch.autograd.gradcheck(lambda s: soft_target_kl(s, teacher, 2.0), noise(1, 3, 2, 2).requires_grad_())

    def test_no_gradient_reaches_the_teacher(self):
        teacher = noise(1, 3, 2, 2, seed=1).requires_grad_()
        soft_target_kl(noise(1, 3, 2, 2).requires_grad_(), teacher).backward()
        assert teacher.grad is None

    def test_unequal_shapes_are_named(self):
        with pytest.raises(
            ShapeMismatch, match=r"^soft_target_kl: got shape \(1, 2, 1, 1\), expected \(1, 3, 1, 1\): feed"
        ):
            soft_target_kl(pixel(0, 0), pixel(0, 0, 0))

    def test_a_temperature_of_zero_is_refused(self, tiny_pair):
        with pytest.raises(TrainingError, match="temperature is 0"):
            tiny_pair.build("kd", temperature=0)


class TestSkd:
    def test_three_nodes_by_hand(self):
        features = torch.tensor([[[[1.0, 0.0, 1.0]], [[0.0, 2.0, 1.0]]]], dtype=torch.float64)
        half = 0.5**0.5
        expected = torch.tensor([[[1.0, 0.0, half], [0.0, 1.0, half], [half, half, 1.0]]], dtype=torch.float64)
        torch.testing.assert_close(affinity(features), expected)

    def test_a_rotation_and_a_gain_of_the_channels_change_nothing(self):
        rotation, _ = torch.linalg.qr(noise(3, 3, seed=2))
        student, teacher = noise(2, 3, 4, 6), noise(2, 5, 4, 6, seed=1)
        rotated = 7 * torch.einsum("bchw,cd->bdhw", student, rotation)
        torch.testing.assert_close(pair_wise_loss(rotated, teacher), pair_wise_loss(student, teacher))

    def test_equal_features_of_unequal_channels_cost_nothing(self):
        features = noise(2, 3, 4, 6)
        assert pair_wise_loss(features, features.repeat(1, 2, 1, 1)) < 1e-12

    def test_a_node_averages_its_pixels(self):
        coarse = noise(2, 3, 2, 3)
        fine = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
        teacher = noise(2, 5, 2, 3, seed=1)
        torch.testing.assert_close(
            pair_wise_loss(fine, teacher.repeat_interleave(2, 2).repeat_interleave(2, 3), 2),
            pair_wise_loss(coarse, teacher, 1),
        )

    def test_maps_of_unequal_size_share_the_grid_of_the_smaller(self):
        assert pair_wise_loss(torch.ones(1, 3, 4, 6), torch.ones(1, 5, 8, 12)) < 1e-12

    def test_duplicating_the_batch_changes_nothing(self):
        student, teacher = noise(2, 3, 4, 6), noise(2, 5, 4, 6, seed=1)
        torch.testing.assert_close(pair_wise_loss(twice(student), twice(teacher)), pair_wise_loss(student, teacher))

    def test_gradcheck(self):
        teacher = noise(1, 3, 4, 4, seed=1)
        assert torch.autograd.gradcheck(lambda s: pair_wise_loss(s, teacher, 1), noise(1, 2, 2, 2).requires_grad_())

    def test_a_node_of_nothing_is_refused(self, tiny_pair):
        with pytest.raises(TrainingError, match="node_size is 0"):
            tiny_pair.build("skd", taps=TAPS, node_size=0)


class TestPsn:
    def test_two_pixels_by_hand(self):
        earlier = torch.tensor([[[[1.0, 2.0]]]])
        later = torch.tensor([[[[3.0, 4.0]], [[5.0, 6.0]]]])
        assert flow_matrix(earlier, later).tolist() == [[[(3 + 8) / 2, (5 + 12) / 2]]]

    def test_permuting_the_pixels_of_both_layers_changes_nothing(self):
        earlier, later = noise(2, 3, 4, 5), noise(2, 6, 4, 5, seed=1)
        torch.testing.assert_close(flow_matrix(earlier.flip(2), later.flip(2)), flow_matrix(earlier, later))

    def test_the_larger_layer_is_max_pooled(self):
        earlier, later = noise(2, 3, 4, 6), noise(2, 6, 2, 3, seed=1)
        pooled = torch.nn.functional.max_pool2d(earlier, 2)
        torch.testing.assert_close(flow_matrix(earlier, later), flow_matrix(pooled, later))

    def test_equal_flows_cost_nothing_and_duplicates_change_nothing(self):
        ours, theirs = noise(2, 3, 4), noise(2, 3, 4, seed=1)
        assert flow_loss(ours, ours) == 0
        torch.testing.assert_close(flow_loss(twice(ours), twice(theirs)), flow_loss(ours, theirs))

    def test_gradcheck(self):
        assert torch.autograd.gradcheck(
            flow_matrix, (noise(1, 2, 4, 4).requires_grad_(), noise(1, 3, 2, 2, seed=1).requires_grad_())
        )

    def test_unequal_channels_are_named(self):
        with pytest.raises(ShapeMismatch, match=r"flow_loss: got shape \(1, 2, 3\), expected \(1, 2, 4\)"):
            flow_loss(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4))


class TestIrg:
    def test_three_samples_on_a_line(self):
        expected = torch.tensor([[0.0, 1, 9], [1, 0, 4], [9, 4, 0]], dtype=torch.float64) / 9
        torch.testing.assert_close(edges(one_dimension(0, 1, 3)), expected)

    def test_a_shift_a_gain_and_a_rotation_change_nothing(self):
        rotation, _ = torch.linalg.qr(noise(6, 6, seed=1))
        features = noise(4, 6)
        torch.testing.assert_close(edges(3 * (features @ rotation) + 5), edges(features))

    def test_the_farthest_move_is_one(self):
        moves = vertex_transform(one_dimension(0, 0, 0), one_dimension(1, 2, 4))
        assert moves.tolist() == [1 / 16, 4 / 16, 1]

    def test_channels_and_pixels_are_averaged_to_the_smaller_layer(self):
        earlier = noise(3, 2, 4, 4)
        later = noise(3, 4, 2, 2, seed=1)
        pooled = torch.nn.functional.avg_pool2d(earlier, 2)
        halved = later.unflatten(1, (2, 2)).mean(2)
        torch.testing.assert_close(vertex_transform(earlier, later), vertex_transform(pooled, halved))

    def test_equal_samples_are_finite(self):
        features = torch.ones(3, 2, 2, 2, requires_grad=True)
        edges(features).sum().backward()
        assert torch.isfinite(features.grad).all()

    def test_gradcheck(self):
        assert torch.autograd.gradcheck(edges, noise(3, 2, 2, 2).requires_grad_())
        assert torch.autograd.gradcheck(
            vertex_transform, (noise(3, 2, 4, 4).requires_grad_(), noise(3, 4, 2, 2, seed=1).requires_grad_())
        )

    def test_duplicating_the_batch_leaves_the_means_unchanged(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        distiller = tiny_pair.build("irg", taps=TAPS)

        def doubled(output):
            return output._replace(
                logits=twice(output.logits), features={name: twice(x) for name, x in output.features.items()}
            )

        before = distiller(student, teachers, None, 0)
        after = distiller(doubled(student), [doubled(teachers[0])], None, 0)
        for name in before:
            torch.testing.assert_close(after[name], before[name])

    def test_a_batch_of_one_is_refused(self, tiny_pair):
        student, teachers = tiny_pair.outputs(batch=1)
        with pytest.raises(TrainingError, match="got a batch of 1, expected 2 or more"):
            tiny_pair.build("irg", taps=TAPS)(student, teachers, None, 0)


class TestBifpn:
    def test_each_tap_meets_itself_and_its_neighbors(self):
        assert neighbors(3) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2)]

    def test_the_term_is_the_mean_over_them(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        ours = [student.features[name] for name in ("mid", "deep")]
        theirs = [teachers[0].features[name] for name in ("mid", "deep")]
        expected = torch.stack([attention_loss(s, t) for s in ours for t in theirs]).mean()
        term = tiny_pair.build("bifpn", taps=TAPS)(student, teachers, None, 0)["attention"]
        torch.testing.assert_close(term, expected)


@pytest.mark.parametrize("method", ["psn", "irg", "bifpn"])
def test_methods_of_neighboring_layers_refuse_a_single_tap(tiny_pair, method):
    with pytest.raises(TrainingError, match="expected 2 or more"):
        tiny_pair.build(method, taps=TAPS[:1])


class TestSad:
    def test_two_pixels_by_hand(self):
        features = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]]], dtype=torch.float64)  # energies 2 and 0
        p = 1 / (1 + math.exp(-2))
        expected = torch.tensor([[[p, 1 - p]]], dtype=torch.float64)
        torch.testing.assert_close(softmax_attention(features, (1, 2)), expected)

    def test_attention_sums_to_one_at_any_size(self):
        attention = softmax_attention(noise(2, 3, 4, 5), (8, 7))
        torch.testing.assert_close(attention.sum((1, 2)), torch.ones(2, dtype=torch.float64))

    def test_the_deeper_block_only_teaches(self):
        shallow, deep = noise(2, 3, 4, 6).requires_grad_(), noise(2, 5, 2, 3, seed=1).requires_grad_()
        self_attention_loss(shallow, deep).backward()
        assert shallow.grad.abs().sum() > 0
        assert deep.grad is None

    def test_gradcheck(self):
        deep = noise(1, 3, 2, 2, seed=1)
        assert torch.autograd.gradcheck(lambda s: self_attention_loss(s, deep), noise(1, 2, 4, 4).requires_grad_())

    def test_a_single_tap_is_refused(self, tiny_pair):
        with pytest.raises(TrainingError, match="expected two or more: each learns from the next"):
            Sad(SadConfig(taps=("mid",)), tiny_pair.student, [])


class TestDks:
    def test_two_classifiers_by_hand(self):
        left, right = pixel(math.log(3), 0), pixel(0, 0)
        # CE(p_right, q_left) + CE(p_left, q_right)
        expected = -0.5 * math.log(3 / 4) - 0.5 * math.log(1 / 4) + math.log(2)
        assert synergy_loss([left, right]).item() == pytest.approx(expected)

    def test_targets_carry_no_gradient(self):
        left, right = noise(1, 3, 2, 2).requires_grad_(), noise(1, 3, 2, 2, seed=1)
        synergy_loss([left, right]).backward()
        alone = left.detach().clone().requires_grad_()
        torch.nn.functional.cross_entropy(alone, right.softmax(1)).backward()
        torch.testing.assert_close(left.grad, alone.grad)

    def test_ignored_pixels_are_inert(self):
        left, right = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
        valid = torch.ones(2, 4, 5, dtype=torch.bool)
        valid[:, :2] = False
        expected = synergy_loss([left[:, :, 2:], right[:, :, 2:]])
        left[:, :, :2] = 1e4
        torch.testing.assert_close(synergy_loss([left, right], valid), expected)

    def test_the_classifiers_learn(self, tiny_pair):
        student, _ = tiny_pair.outputs()
        distiller = Dks(DksConfig(taps=("mid", "deep")), tiny_pair.student, [])
        sum(distiller(student, [], tiny_pair.target(), 0).values()).backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in distiller.parameters())

    def test_without_labels_or_taps_it_refuses(self, tiny_pair):
        student, _ = tiny_pair.outputs()
        with pytest.raises(TrainingError, match="target is None, expected labels"):
            Dks(DksConfig(taps=("mid",)), tiny_pair.student, [])(student, [], None, 0)
        with pytest.raises(TrainingError, match="no taps are configured"):
            Dks(DksConfig(taps=()), tiny_pair.student, [])
