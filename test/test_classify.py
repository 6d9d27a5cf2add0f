# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from road_kd_seg.classify import class_probabilities, classify, label_array
from road_kd_seg.preprocess.input_spec import InputSpec


class TestClassify:
    def test_the_most_probable_class_wins_with_its_probability(self):
        logits = torch.tensor([2.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
        confidence, label = classify(logits, (4, 4), InputSpec((4, 4)), 0)
        assert (label == 0).all()
        torch.testing.assert_close(confidence, torch.full((1, 4, 4), 0.66524096))

    def test_outside_the_crop_is_background_with_no_confidence(self):
        logits = torch.tensor([0.0, 9.0]).view(1, 2, 1, 1).expand(1, 2, 4, 8)
        spec = InputSpec((4, 8), crop=(0.5, 0.25, 1.0, 0.75))
        confidence, label = classify(logits, (16, 32), spec, 0)
        assert (label[:, 8:, 8:24] == 1).all()
        assert label.sum() == 8 * 16
        assert (confidence[:, :8] == 0).all()


class TestClassProbabilities:
    def test_outside_the_crop_background_is_certain(self):
        logits = torch.randn(2, 3, 4, 8, generator=torch.Generator().manual_seed(0))
        spec = InputSpec((4, 8), crop=(0.5, 0.25, 1.0, 0.75))
        probabilities = class_probabilities(logits, (16, 32), spec, 2)
        torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 16, 32))
        assert (probabilities[:, 2, :8] == 1).all()
        confidence, label = classify(logits, (16, 32), spec, 2)
        torch.testing.assert_close(probabilities.argmax(1).to(torch.uint8), label)
        torch.testing.assert_close(probabilities.max(1).values[:, 8:, 8:24], confidence[:, 8:, 8:24])


class TestLabelArray:
    """The shortcut against the definition."""

    @given(
        small=st.tuples(st.integers(1, 24), st.integers(1, 24)),
        size=st.tuples(st.integers(8, 90), st.integers(8, 90)),
        classes=st.integers(2, 6),
        crop=st.sampled_from([(0.0, 0.0, 1.0, 1.0), (0.5, 0.25, 1.0, 0.75)]),
        smoothness=st.integers(1, 8),
        seed=st.integers(0, 1000),
    )
    @settings(max_examples=150, deadline=None)
    def test_same_labels_at_every_scale(self, small, size, classes, crop, smoothness, seed):
        generator = torch.Generator().manual_seed(seed)
        coarse = 4 * torch.randn(1, classes, *(-(-n // smoothness) for n in small), generator=generator)
        logits = torch.nn.functional.interpolate(coarse, small, mode="bilinear")  # blobs, as a network gives
        spec = InputSpec((32, 32), crop=crop)
        expected = classify(logits, size, spec, 0)[1][0].numpy()
        label = label_array(logits[0].numpy(), size, spec, 0)
        winners = class_probabilities(logits, size, spec, 0)[0].topk(2, dim=0).values
        tied = (winners[0] - winners[1] < 1e-5).numpy()  # float32's rounding decides
        assert tied.mean() < 0.05 or smoothness == 1
        np.testing.assert_array_equal(label[~tied], expected[~tied])

    @pytest.mark.parametrize("size", [(36, 64), (72, 128), (144, 256), (61, 47)])
    def test_border_pixels_are_exact(self, size):
        logits = 3 * torch.randn(1, 5, 36, 64, generator=torch.Generator().manual_seed(1))
        spec = InputSpec((36, 64))
        expected = classify(logits, size, spec, 0)[1][0].numpy()
        label = label_array(logits[0].numpy(), size, spec, 0)
        assert (label != expected).sum() <= 1  # a tie, perhaps

    def test_its_memory_is_its_own(self):
        logits = np.random.default_rng(0).standard_normal((3, 4, 4)).astype(np.float32)
        first = label_array(logits, (8, 8), InputSpec((4, 4)), 0)
        kept = first.copy()
        label_array(-logits, (8, 8), InputSpec((4, 4)), 0)
        np.testing.assert_array_equal(first, kept)
