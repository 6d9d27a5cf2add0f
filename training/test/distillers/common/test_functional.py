# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from road_kd_seg.errors import ShapeMismatch
from road_kd_seg.networks import FeatureInfo, SegOutput
from road_kd_training.distillers import NetworkInfo
from road_kd_training.distillers.common.functional import (
    align_spatial,
    check_tap_pairs,
    full_precision,
    mean_over,
    paired_logits,
    paired_taps,
    resize_labels,
    take_tap,
    valid_pixels,
)
from road_kd_training.errors import TrainingError

STUDENT = NetworkInfo("small", 3, {"a": FeatureInfo(4, 8)})
TEACHER = NetworkInfo("large", 3, {"b": FeatureInfo(6, 4)})


def output_of(name, channels, size, batch=2):
    return SegOutput(torch.randn(batch, 3, 8, 16), {name: torch.randn(batch, channels, *size)})


def test_half_precision_is_widened_and_double_is_kept():
    assert full_precision(torch.ones(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert full_precision(torch.ones(1, dtype=torch.float64)).dtype == torch.float64


def test_a_map_of_the_right_size_is_not_touched():
    x = torch.randn(1, 2, 3, 5)
    assert align_spatial(x, (3, 5)) is x


def test_a_constant_map_stays_constant_when_resized():
    assert torch.allclose(align_spatial(torch.full((1, 2, 3, 5), 7.0), (6, 4)), torch.full((1, 2, 6, 4), 7.0))


def test_labels_are_resized_without_inventing_classes():
    target = torch.tensor([[[0, 0, 255, 255], [0, 0, 255, 255]]])
    assert resize_labels(target, (1, 2)).tolist() == [[[0, 255]]]


def test_mean_over_leaves_out_ignored_pixels_even_if_they_are_not_finite():
    values = torch.tensor([[[1.0, 3.0, torch.nan]]])
    assert mean_over(values, valid_pixels(torch.tensor([[[0, 1, 255]]]))) == 2


def test_mean_over_nothing_is_zero():
    assert mean_over(torch.ones(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool)) == 0


def test_paired_taps_detach_the_teacher_only():
    student, teacher = output_of("a", 4, (2, 4)), output_of("b", 6, (4, 8))
    student.features["a"].requires_grad_()
    teacher.features["b"].requires_grad_()
    (pair,) = paired_taps(student, teacher, STUDENT, TEACHER, [("a", "b")])
    assert pair.student.requires_grad
    assert not pair.teacher.requires_grad
    assert pair.where == "student tap 'a' against teacher tap 'b'"


def test_wrong_channels_are_named_with_tap_and_shapes():
    with pytest.raises(
        ShapeMismatch,
        match=r"tap 'a' of 'small': got shape \(2, 5, 2, 4\), expected \(2, 4, 2, 4\): return \(B, C, h, w\)",
    ):
        take_tap(output_of("a", 5, (2, 4)), STUDENT, "a")


def test_different_batches_are_named_with_taps_and_shapes():
    with pytest.raises(
        ShapeMismatch,
        match=r"student tap 'a' against teacher tap 'b': got shape \(2, 4, 2, 4\), expected \(3, 6, 4, 8\): feed both",
    ):
        paired_taps(output_of("a", 4, (2, 4)), output_of("b", 6, (4, 8), batch=3), STUDENT, TEACHER, [("a", "b")])


def test_a_missing_tap_is_named():
    with pytest.raises(TrainingError, match=r"network 'small' returned no tap 'a', only z"):
        take_tap(output_of("z", 4, (2, 4)), STUDENT, "a")


def test_unknown_taps_are_refused_before_the_first_step():
    with pytest.raises(TrainingError, match=r"network 'large' has no tap 'c': use one of b"):
        check_tap_pairs("method", STUDENT, TEACHER, [("a", "c")])
    with pytest.raises(TrainingError, match="method: no taps are configured"):
        check_tap_pairs("method", STUDENT, TEACHER, [])


def test_logits_of_different_sizes_are_refused_with_both_shapes():
    small, large = output_of("a", 4, (2, 4)), SegOutput(torch.randn(2, 3, 4, 8), {})
    with pytest.raises(
        ShapeMismatch,
        match=r"student logits against teacher logits: got shape \(2, 3, 8, 16\), expected \(2, 3, 4, 8\)",
    ):
        paired_logits(small, large)
