# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest
import torch

from road_kd_seg.errors import ShapeMismatch
from road_kd_training.distillers.intra_kd import (
    IntraKd,
    IntraKdConfig,
    affinity_graph,
    affinity_loss,
    aoi_masks,
    attention_loss,
    attention_map,
    moment_pool,
)
from road_kd_training.errors import TrainingError


def activations(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def labels_of(*shape, num_classes=4, seed=0):
    return torch.randint(0, num_classes, shape, generator=torch.Generator().manual_seed(seed))


def blocky_labels(batch, height, width, num_classes, seed=0):
    """Patches of 8 pixels, so that areas of interest differ from one another."""
    coarse = labels_of(batch, -(-height // 8), -(-width // 8), num_classes=num_classes, seed=seed)
    return coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :height, :width]


def moments_by_loop(features, aoi):
    """Mean, variance and skewness of every class of every sample, one after the other."""
    mu = features.new_zeros(3, aoi.shape[0], aoi.shape[1], features.shape[1])
    for b in range(aoi.shape[0]):
        for k in range(aoi.shape[1]):
            values = features[b][:, aoi[b, k]]
            if values.shape[1]:
                mean = values.mean(1, keepdim=True)
                variance = (values - mean).square().mean(1)
                mu[0, b, k] = mean[:, 0]
                mu[1, b, k] = variance
                mu[2, b, k] = (values - mean).pow(3).mean(1) / (variance + 1e-6) ** 1.5
    return mu


def equation_two(features, mask):
    """Eq. 2 as printed, for one sample (C, N) and one class (N); the 1e-6 is ours."""
    area = mask.sum()
    mu1 = (mask * features).sum(1) / area
    deviation = mask * features - mu1[:, None]
    mu2 = deviation.square().sum(1) / area
    return mu1, mu2, (deviation / (mu2 + 1e-6)[:, None]).pow(3).sum(1) / area


class TestAoiMasks:
    def test_one_pixel_grows_to_a_five_by_five_square(self):
        labels = torch.zeros(1, 9, 9, dtype=torch.long)
        labels[0, 4, 4] = 1
        expected = torch.zeros(9, 9, dtype=torch.bool)
        expected[2:7, 2:7] = True
        assert torch.equal(aoi_masks(labels, 2)[0, 1], expected)

    def test_it_is_where_the_average_of_the_label_map_is_positive(self):
        labels = labels_of(2, 11, 14, num_classes=40)
        one_hot = torch.nn.functional.one_hot(labels, 40).movedim(-1, 1).float()
        average = torch.nn.functional.avg_pool2d(one_hot, 5, stride=1, padding=2)
        assert torch.equal(aoi_masks(labels, 40), average > 0)

    @pytest.mark.parametrize("size", [(5, 7), (4, 5), (10, 14), (1, 1)])
    @pytest.mark.parametrize("kernel_size", [1, 3, 5, 11])
    def test_a_cell_belongs_to_a_class_where_any_of_its_pixels_does(self, size, kernel_size):
        labels = labels_of(2, 20, 28, num_classes=12)
        full = aoi_masks(labels, 12, kernel_size)
        rows = torch.arange(20) * size[0] // 20
        columns = torch.arange(28) * size[1] // 28
        expected = torch.zeros(2, 12, *size, dtype=torch.bool)
        sample, k, y, x = full.nonzero(as_tuple=True)
        expected[sample, k, rows[y], columns[x]] = True
        assert torch.equal(aoi_masks(labels, 12, kernel_size, size), expected)

    def test_ignored_pixels_belong_to_no_class(self):
        labels = torch.full((1, 6, 6), 255)
        labels[0, 0, 0] = 1
        masks = aoi_masks(labels, 3, kernel_size=1)
        assert masks.sum() == 1
        assert masks[0, 1, 0, 0]

    def test_an_even_kernel_is_refused(self):
        with pytest.raises(TrainingError, match="kernel_size is 4, expected an odd number"):
            aoi_masks(labels_of(1, 4, 4), 4, kernel_size=4)


class TestMomentPool:
    def test_three_pixels_by_hand(self):
        features = torch.tensor([0.0, 0.0, 3.0, 99.0], dtype=torch.float64).view(1, 1, 1, 4)
        aoi = torch.tensor([True, True, True, False]).view(1, 1, 1, 4)
        mu1, mu2, mu3, present = moment_pool(features, aoi)
        # deviations -1, -1, 2: variance 6/3, third central moment 6/3
        assert (mu1.item(), mu2.item(), present.item()) == (1.0, pytest.approx(2.0), True)
        assert mu3.item() == pytest.approx(2 / 2**1.5, rel=1e-6)  # the epsilon is 1e-6 of the variance

    def test_it_equals_the_loop_over_samples_and_classes(self):
        labels = blocky_labels(8, 61, 122, 37)
        features = activations(8, 128, 61, 122, dtype=torch.float32).relu() * 2 + labels[:, None] / 10
        aoi = aoi_masks(labels, 37)
        pooled = torch.stack(moment_pool(features, aoi)[:3])
        torch.testing.assert_close(pooled, moments_by_loop(features.double(), aoi).float(), rtol=1e-5, atol=1e-5)

    def test_literal_is_equation_two_as_printed(self):
        features, aoi = activations(1, 6, 5, 7), aoi_masks(labels_of(1, 5, 7, num_classes=20), 20)
        pooled = moment_pool(features, aoi, as_published=True)
        for k in pooled.present[0].nonzero()[:, 0]:
            expected = equation_two(features[0].flatten(1), aoi[0, k].flatten().double())
            for mine, theirs in zip(pooled[:3], expected, strict=True):
                torch.testing.assert_close(mine[0, k], theirs)

    def test_literal_adds_the_squared_mean_of_every_masked_out_pixel_to_the_variance(self):
        features, aoi = activations(2, 6, 5, 7), aoi_masks(labels_of(2, 5, 7, num_classes=20), 20)
        masked, as_published = moment_pool(features, aoi), moment_pool(features, aoi, as_published=True)
        area = aoi.flatten(2).sum(2)[..., None]
        predicted = ((35 - area) / area.clamp(min=1)) * masked.mu1.square()
        torch.testing.assert_close(as_published.mu2 - masked.mu2, predicted)

    def test_an_absent_class_has_zero_moments_and_is_marked(self):
        features = activations(2, 3, 4, 4).requires_grad_()
        labels = torch.zeros(2, 4, 4, dtype=torch.long)
        labels[1] = 1
        pooled = moment_pool(features, aoi_masks(labels, 3))
        assert pooled.present.tolist() == [[True, False, False], [False, True, False]]
        assert all((mu[~pooled.present] == 0).all() for mu in pooled[:3])
        sum(mu.sum() for mu in pooled[:3]).backward()
        assert torch.isfinite(features.grad).all()

    def test_a_dead_channel_has_no_variance_and_finite_gradients(self):
        features = activations(1, 2, 4, 4)
        features[:, 0] = 7.0
        pooled = moment_pool(features.requires_grad_(), aoi_masks(labels_of(1, 4, 4), 4))
        assert pooled.mu2[..., 0].abs().max() < 1e-12
        assert pooled.mu3[..., 0].abs().max() < 1e-3
        sum(mu.sum() for mu in pooled[:3]).backward()
        assert torch.isfinite(features.grad).all()

    @pytest.mark.parametrize("as_published", [False, True])
    def test_gradcheck(self, as_published):
        aoi = aoi_masks(labels_of(2, 3, 4), 4, kernel_size=3)
        features = activations(2, 2, 3, 4).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: moment_pool(x, aoi, as_published=as_published)[:3], features)

    def test_areas_of_another_size_are_named(self):
        with pytest.raises(ShapeMismatch, match=r"moment_pool.*got shape \(1, 2, 2\), expected \(1, 4, 4\): call aoi"):
            moment_pool(torch.zeros(1, 3, 2, 2), torch.ones(1, 5, 4, 4, dtype=torch.bool))


class TestAffinityGraph:
    def test_two_classes_at_sixty_degrees(self):
        moments = torch.tensor([[1.0, 0.0], [1.0, 3.0**0.5]], dtype=torch.float64)
        expected = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
        torch.testing.assert_close(affinity_graph(moments), expected)

    def test_a_class_is_wholly_like_itself(self):
        graph = affinity_graph(activations(2, 3, 5, 8))
        torch.testing.assert_close(graph.diagonal(dim1=-2, dim2=-1), torch.ones(2, 3, 5, dtype=torch.float64))

    def test_scale_changes_nothing(self):
        moments = activations(2, 5, 8)
        torch.testing.assert_close(affinity_graph(1e4 * moments), affinity_graph(moments))

    def test_a_rotation_of_the_channels_changes_nothing(self):
        rotation, _ = torch.linalg.qr(activations(8, 8, seed=1))
        moments = activations(2, 5, 8)
        torch.testing.assert_close(affinity_graph(moments @ rotation), affinity_graph(moments))

    def test_a_class_without_moments_is_like_nothing(self):
        moments = activations(3, 8)
        moments[1] = 0
        assert affinity_graph(moments)[1].tolist() == [0, 0, 0]

    def test_gradcheck(self):
        assert torch.autograd.gradcheck(affinity_graph, activations(2, 3, 4).requires_grad_())


class TestAffinityLoss:
    PRESENT = torch.ones(1, 2, dtype=torch.bool)

    def test_two_classes_by_hand(self):
        student = torch.tensor([[1.0, 0.5], [0.5, 1.0]]).view(1, 1, 2, 2)
        teacher = torch.tensor([[1.0, -0.5], [-0.5, 1.0]]).view(1, 1, 2, 2)
        assert affinity_loss(student, teacher, self.PRESENT) == 2 / 4  # two of n² = 4 pairs differ by 1

    def test_pairs_with_an_absent_class_add_nothing(self):
        student, teacher = activations(1, 3, 2, 2), activations(1, 3, 2, 2, seed=1)
        alone = torch.tensor([[True, False]])
        expected = (student - teacher)[..., 0, 0].square().mean() / 4
        torch.testing.assert_close(affinity_loss(student, teacher, alone), expected)
        poisoned = student.clone()
        poisoned[..., 1, :] = torch.nan
        torch.testing.assert_close(affinity_loss(poisoned, teacher, alone), expected)

    def test_no_gradient_reaches_the_teacher(self):
        student, teacher = activations(1, 3, 2, 2).requires_grad_(), activations(1, 3, 2, 2, seed=1).requires_grad_()
        affinity_loss(student, teacher, self.PRESENT).backward()
        assert teacher.grad is None

    def test_graphs_of_different_shapes_are_named(self):
        with pytest.raises(ShapeMismatch, match=r"affinity_loss: got shape \(1, 3, 2, 2\), expected \(1, 1, 2, 2\)"):
            affinity_loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 1, 2, 2), self.PRESENT)

    def test_gradcheck(self):
        teacher = activations(2, 1, 3, 3, seed=1)
        present = torch.tensor([[True, True, False], [True, True, True]])
        assert torch.autograd.gradcheck(
            lambda s: affinity_loss(s, teacher, present), activations(2, 1, 3, 3).requires_grad_()
        )


class TestAttention:
    def test_two_pixels_by_hand(self):
        # energies 9 and 16 over a norm of √337
        features = torch.tensor([[[[3.0, 0.0]], [[0.0, 4.0]]]], dtype=torch.float64)
        expected = torch.tensor([[[9.0, 16.0]]], dtype=torch.float64) / 337**0.5
        torch.testing.assert_close(attention_map(features), expected)

    def test_scale_and_sign_change_nothing(self):
        features = activations(2, 3, 4, 5)
        torch.testing.assert_close(attention_map(-1e4 * features), attention_map(features))

    def test_two_single_pixels_apart_cost_two(self):
        student, teacher = torch.zeros(1, 2, 3, 3), torch.zeros(1, 5, 3, 3)
        student[:, :, 0, 0] = teacher[:, :, 2, 2] = 1
        torch.testing.assert_close(attention_loss(student, teacher), torch.tensor(2.0))

    def test_equal_features_cost_nothing(self):
        features = activations(2, 3, 4, 5)
        assert attention_loss(features, features) == 0

    def test_a_flat_student_of_another_size_matches_a_flat_teacher(self):
        assert attention_loss(torch.ones(1, 2, 3, 4), torch.ones(1, 5, 6, 8)) < 1e-12

    def test_an_all_zero_map_is_finite(self):
        features = torch.zeros(1, 2, 3, 4, requires_grad=True)
        attention_loss(features, torch.ones(1, 5, 6, 8)).backward()
        assert torch.isfinite(features.grad).all()

    def test_no_gradient_reaches_the_teacher(self):
        teacher = activations(1, 2, 3, 4).requires_grad_()
        attention_loss(activations(1, 2, 3, 4, seed=1).requires_grad_(), teacher).backward()
        assert teacher.grad is None

    def test_gradcheck(self):
        teacher = activations(2, 4, 4, 6, seed=1)
        assert torch.autograd.gradcheck(lambda s: attention_loss(s, teacher), activations(2, 3, 2, 3).requires_grad_())


class TestIntraKd:
    TAPS = (("mid", "mid"), ("deep", "deep"))

    def test_one_class_is_refused(self, make_tiny_pair):
        with pytest.raises(TrainingError, match="the student has 1 classes, expected at least 2"):
            make_tiny_pair(num_classes=1).build("intra_kd", taps=self.TAPS)

    def test_a_student_that_is_the_teacher_costs_nothing(self, tiny_pair):
        distiller = tiny_pair.build("intra_kd", taps=(("mid", "mid"),))
        student, _ = tiny_pair.outputs()
        terms = distiller(student, [student], tiny_pair.target(), 0)
        assert terms["affinity"] == 0
        assert terms["attention"] == 0

    def test_permuting_the_channels_changes_nothing(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        distiller = tiny_pair.build("intra_kd", taps=self.TAPS)
        flipped = student._replace(features={name: x.flip(1) for name, x in student.features.items()})
        before = distiller(student, teachers, tiny_pair.target(), 0)
        after = distiller(flipped, teachers, tiny_pair.target(), 0)
        for name in before:
            torch.testing.assert_close(after[name], before[name])

    def test_duplicating_the_batch_changes_nothing(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        distiller = tiny_pair.build("intra_kd", taps=self.TAPS)

        def twice(output):
            features = {name: torch.cat([x, x]) for name, x in output.features.items()}
            return output._replace(logits=torch.cat([output.logits, output.logits]), features=features)

        target = tiny_pair.target()
        before = distiller(student, teachers, target, 0)
        after = distiller(twice(student), [twice(teachers[0])], torch.cat([target, target]), 0)
        for name in before:
            torch.testing.assert_close(after[name], before[name])

    @pytest.mark.parametrize("moments", [(1,), (2,), (3,), (1, 2), (1, 2, 3)])
    def test_the_affinity_of_several_moments_is_their_mean(self, tiny_pair, moments):
        student, teachers = tiny_pair.outputs()
        target = tiny_pair.target()

        def affinity(orders):
            return tiny_pair.build("intra_kd", taps=self.TAPS, moments=orders)(student, teachers, target, 0)["affinity"]

        expected = torch.stack([affinity((order,)) for order in moments]).mean()
        torch.testing.assert_close(affinity(moments), expected)

    def test_literal_differs(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        losses = [
            tiny_pair.build("intra_kd", taps=self.TAPS, as_published=as_published)(
                student, teachers, tiny_pair.target(), 0
            )
            for as_published in (False, True)
        ]
        assert losses[0]["affinity"] != losses[1]["affinity"]
        assert losses[0]["attention"] == losses[1]["attention"]

    @pytest.mark.parametrize("moments", [(), (1, 1), (0, 1), (4,)])
    def test_moments_other_than_a_subset_are_refused(self, tiny_pair, moments):
        config = dataclasses.replace(IntraKdConfig(), taps=self.TAPS, moments=moments)
        with pytest.raises(TrainingError, match=r"expected a subset of \(1, 2, 3\), each once"):
            IntraKd(config, tiny_pair.student, [tiny_pair.teacher])

    def test_missing_labels_are_refused(self, tiny_pair):
        student, teachers = tiny_pair.outputs()
        with pytest.raises(TrainingError, match="needs labels, but the batch has none"):
            tiny_pair.build("intra_kd", taps=self.TAPS)(student, teachers, None, 0)
