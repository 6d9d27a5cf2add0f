# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from road_kd_seg.errors import FrameError, RoadKdError
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.segmenter import Segmenter


@pytest.fixture(scope="module")
def segmenter(tiny_bundle):
    return Segmenter.from_bundle(tiny_bundle, device="cpu")


def noise(height, width, depth=True):
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 255, (height, width, 3), np.uint8)
    return RgbdFrame(
        rgb, generator.uniform(1, 9, (height, width)).astype(np.float32) if depth else None, None, 7, "cam"
    )


class TestSegmenter:
    @pytest.mark.parametrize("size", [(72, 128), (61, 47), (576, 1024)])
    def test_predicts_at_the_cameras_resolution(self, segmenter, size):
        result = segmenter(noise(*size))
        assert result.label.shape == result.confidence.shape == size
        assert (result.label.dtype, result.confidence.dtype) == (np.uint8, np.float32)
        assert result.label.max() < 5
        assert result.confidence.min() >= 0.2 - 1e-6  # the winner of five classes has at least a fifth
        assert result.confidence.max() <= 1 + 1e-6

    def test_stamp_and_frame_id_travel_along(self, segmenter):
        result = segmenter(noise(32, 48))
        assert (result.stamp_ns, result.frame_id) == (7, "cam")

    def test_the_same_frame_gives_the_same_prediction(self, segmenter):
        first, second = segmenter(noise(72, 128)), segmenter(noise(72, 128))
        assert (first.label == second.label).all()
        assert (first.confidence == second.confidence).all()

    def test_views_and_read_only_images_are_taken(self, segmenter):
        frame = noise(72, 128)
        flipped = RgbdFrame(frame.rgb[:, ::-1], frame.depth_m[:, ::-1])
        flipped.rgb.setflags(write=False)
        copied = RgbdFrame(flipped.rgb.copy(), flipped.depth_m.copy())
        assert (segmenter(flipped).label == segmenter(copied).label).all()

    def test_an_rgbd_model_refuses_a_frame_without_depth(self, segmenter):
        assert segmenter.needs_depth
        with pytest.raises(FrameError, match="model 'tiny' requires depth and the frame has none"):
            segmenter(noise(72, 128, depth=False))

    def test_depth_of_zeros_is_not_missing_depth(self, segmenter):
        frame = noise(72, 128)
        assert segmenter(RgbdFrame(frame.rgb, np.zeros((72, 128), np.float32))).label.shape == (72, 128)

    def test_warm_up_runs(self, segmenter):
        segmenter.warm_up(72, 128)

    def test_bf16_agrees_with_fp32(self, tiny_bundle, segmenter):
        low = Segmenter.from_bundle(tiny_bundle, device="cpu", precision="bf16")(noise(72, 128))
        full = segmenter(noise(72, 128))
        assert np.abs(low.confidence - full.confidence).max() < 0.05

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"device": "tpu"}, "device 'tpu'"),
            ({"device": "cuda:99"}, "CUDA devices: use auto or cpu"),
            ({"device": "cpu", "precision": "int4"}, "use one of auto, fp32, fp16, bf16"),
            ({"device": "cpu", "precision": "fp16"}, "use fp32 or bf16 on a CPU"),
            ({"backend": "tensorrt"}, "backend 'tensorrt' is unknown"),
        ],
    )
    def test_what_the_machine_cannot_do_is_said(self, tiny_bundle, options, message):
        with pytest.raises(RoadKdError, match=message):
            Segmenter.from_bundle(tiny_bundle, **options)


class TestProbabilities:
    def test_the_winner_is_the_label_and_its_probability_the_confidence(self, segmenter):
        frame = noise(61, 47)
        probabilities, result = segmenter.probabilities(frame), segmenter(frame)
        assert probabilities.shape == (5, 61, 47)
        assert probabilities.dtype == np.float32
        np.testing.assert_array_equal(probabilities.argmax(0), result.label)
        np.testing.assert_allclose(probabilities.max(0), result.confidence, rtol=1e-6)
        np.testing.assert_allclose(probabilities.sum(0), 1, rtol=1e-5)

    def test_an_rgbd_model_refuses_a_frame_without_depth(self, segmenter):
        with pytest.raises(FrameError, match="model 'tiny' requires depth and the frame has none"):
            segmenter.probabilities(noise(72, 128, depth=False))
