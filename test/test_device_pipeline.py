# SPDX-License-Identifier: Apache-2.0
"""The CUDA path, on a CPU: one graph, no synchronization, few operators, and every label belongs to its frame."""

import itertools
from functools import lru_cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from road_kd_seg.backends import TorchBackend
from road_kd_seg.bundle import Bundle
from road_kd_seg.device_pipeline import MAX_SIZES, NUM_SLOTS, DevicePipeline, FrameNetwork
from road_kd_seg.frame import RgbdFrame
from road_kd_seg.networks import build_network
from road_kd_seg.preprocess import encodings, resize, road_plane, tensors
from road_kd_seg.preprocess.input_spec import DepthEncoding, DepthKind, InputSpec
from road_kd_seg.preprocess.tensors import meters, preprocess
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

KINDS = get_args(DepthKind)
OTHER_KINDS = [kind for kind in KINDS if kind != "relative_height"]
SIZE = (90, 160)
MAX_AROUND = 150
"""Operators around the network that launch something on a device: about a tenth of a millisecond in a CUDA graph."""

_SYNCHRONIZING = {"_local_scalar_dense", "nonzero", "item", "masked_select", "is_nonzero", "equal", "unique"}
_VIEWS = {
    *("view", "permute", "slice", "select", "unsqueeze", "expand", "t", "transpose", "detach", "alias", "unbind"),
    *("_unsafe_view", "as_strided", "squeeze", "lift_fresh", "split", "split_with_sizes", "_reshape_alias"),
}


def spec(kind, crop=(0.0, 0.0, 1.0, 1.0)):
    depth = None if kind is None else DepthEncoding(kind, 0.0, 10.0 if kind in ("metric", "jet_depth") else 0.3)
    return InputSpec((64, 96), depth, crop)


@lru_cache
def backend(kind):
    """Untrained, but every class wins somewhere."""
    torch.manual_seed(0)
    channels = 0 if kind is None else spec(kind).depth.channels
    network = build_network("roadlite", len(DEFAULT_TAXONOMY), size="s", depth_channels=channels).eval()
    with torch.no_grad():
        rgb, depth_m = (torch.from_numpy(image)[None] for image in (frame(7).rgb, frame(7).depth_m))
        std, mean = torch.std_mean(network(*preprocess(rgb, depth_m, spec(kind))).logits, dim=(0, 2, 3))
        network.head.weight /= std[:, None, None, None]
        network.head.bias.copy_((network.head.bias - mean) / std)
    return TorchBackend(network, "cpu")


def segmenter(kind, crop=(0.0, 0.0, 1.0, 1.0)):
    return Segmenter(Bundle(Path(), "tiny", "roadlite", {}, DEFAULT_TAXONOMY, spec(kind, crop), ""), backend(kind))


def pipeline(of):
    return DevicePipeline(of.backend, of.bundle.input, 0)


def frame(seed, size=SIZE, *, millimeters=True, holes=0.2):
    """A road with noise and holes."""
    random = np.random.default_rng(seed)
    depth_mm = (1000 / np.linspace(0.15, 0.9, size[0]))[:, None] * random.uniform(0.97, 1.03, size)
    depth_mm = (depth_mm * (random.random(size) >= holes)).astype(np.uint16)
    depth_m = np.divide(depth_mm, np.float32(1000), dtype=np.float32)
    rgb = random.integers(0, 256, (*size, 3), np.uint8)
    return RgbdFrame(rgb, depth_m, None, seed, "cam", depth_mm if millimeters else None)


@torch.inference_mode()
def poison(of):
    """Fill every buffer with something else than zeros."""
    for slots in of._sizes.values():
        for slot in slots:
            for buffer in (*slot.staged, *slot.inputs, slot.label):
                if buffer is not None:
                    buffer.fill_(101)


class Operators(TorchDispatchMode):
    """Names of the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket._qualified_op_name.split("::")[1])
        return func(*args, **(kwargs or {}))


def forget_tables():
    for module in (encodings, resize, road_plane, tensors):
        for function in vars(module).values():
            if hasattr(function, "cache_clear"):
                function.cache_clear()


def operators(call):
    forget_tables()  # those of other tests may be tensors of inference mode, on which other operators run
    with torch.no_grad():  # inference_mode would show composite operators whole
        call()  # tables that are kept
        with Operators() as seen:
            call()
    return seen.names


def images(of, source):
    tensors = torch.from_numpy(source.rgb)[None], torch.from_numpy(source.depth_mm.view(np.int16))[None]
    return tensors if of.needs_depth else tensors[:1]


class TestOneDefinition:
    @pytest.mark.parametrize("kind", [None, *KINDS])
    @given(
        size=st.tuples(st.integers(70, 150), st.integers(100, 200)),
        crop=st.sampled_from([(0.0, 0.0, 1.0, 1.0), (0.25, 0.1, 1.0, 0.9)]),
        millimeters=st.booleans(),
        holes=st.floats(0, 0.9),
    )
    @settings(max_examples=4, deadline=None)
    def test_the_label_is_the_cpus_for_every_depth_encoding(self, kind, size, crop, millimeters, holes):
        cpu = segmenter(kind, crop)
        source = frame(1, size, millimeters=millimeters, holes=holes)
        rgb, depth_m = (torch.from_numpy(image)[None] for image in (source.rgb, source.depth_m))
        pending = pipeline(cpu).start(source)
        defined = cpu.backend.infer(*preprocess(rgb, depth_m, cpu.bundle.input))
        torch.testing.assert_close(pending.logits, defined, atol=1e-4, rtol=1e-4)
        expected, label = cpu(RgbdFrame(source.rgb, source.depth_m)).label, pending.label()
        top, left, bottom, right = spec(kind, crop).crop_box(*size)
        outside = np.ones(size, bool)
        outside[top:bottom, left:right] = False
        assert (label[outside] == 0).all()
        # The CPU resizes color in 8 bits, half a gray level off, and an untrained network is unsure everywhere.
        assert (label == expected).mean() > 0.98

    def test_all_16_bits_of_a_millimeter_count(self):
        millimeters = np.array([[0, 1, 32767, 32768, 65535]], np.uint16)
        expected = np.divide(millimeters, np.float32(1000), dtype=np.float32)
        np.testing.assert_array_equal(meters(torch.from_numpy(millimeters.view(np.int16))).numpy(), expected)
        assert meters(torch.ones(1)).item() == 1


class TestGraph:
    @pytest.mark.parametrize(
        "kind", [None, "relative_height", *(pytest.param(kind, marks=pytest.mark.slow) for kind in OTHER_KINDS)]
    )
    def test_images_to_label_export_as_one_graph(self, kind):
        of = segmenter(kind)
        whole = FrameNetwork(of.backend.network, torch.float32, of.bundle.input, 0).eval()
        inputs = images(of, frame(0))
        with torch.no_grad():
            expected = whole(*inputs)
            exported = torch.export.export(whole, inputs, strict=False).module()
            for source in (inputs, images(of, frame(1, holes=0.7))):
                label, logits = exported(*source)
                assert torch.equal(label, whole(*source)[0])
                torch.testing.assert_close(logits, whole(*source)[1])
        assert expected[0].shape == (1, *SIZE)
        assert expected[0].dtype == torch.uint8

    @pytest.mark.parametrize("kind", [None, *KINDS])
    def test_nothing_synchronizes_and_operators_stay_few(self, kind):
        of = segmenter(kind)
        whole = FrameNetwork(of.backend.network, torch.float32, of.bundle.input, 0)
        inputs = images(of, frame(0))
        names = operators(lambda: whole(*inputs))
        assert not _SYNCHRONIZING & set(names)
        channels = 0 if of.bundle.input.depth is None else of.bundle.input.depth.channels
        color, encoded = torch.zeros(1, 3, 64, 96), torch.zeros(1, channels, 64, 96) if channels else None
        bare = operators(lambda: of.backend.network(color, encoded))
        launched = [sum(name not in _VIEWS for name in each) for each in (names, bare)]
        assert launched[0] - launched[1] <= MAX_AROUND


class TestSlots:
    @pytest.mark.parametrize("kind", [None, "relative_height"])
    def test_a_label_belongs_to_its_frame_whatever_lies_in_the_buffers(self, kind):
        of = segmenter(kind)
        frames = [frame(seed) for seed in range(6)]
        expected = [pipeline(of).start(one).label() for one in frames]
        assert all((a != b).mean() > 0.1 for a, b in itertools.pairwise(expected))
        shared = pipeline(of)
        for one, wanted in zip(frames, expected, strict=True):
            np.testing.assert_array_equal(shared.start(one).label(), wanted)
            poison(shared)

    def test_as_many_frames_as_slots_are_under_way_and_none_is_lost(self):
        of = segmenter("relative_height")
        frames = [frame(seed) for seed in range(3 * NUM_SLOTS)]
        expected = [pipeline(of).start(one).label() for one in frames]
        shared = pipeline(of)
        pending = [shared.start(one) for one in frames]  # the oldest are fetched when their slot is needed
        for one, wanted in zip(reversed(pending), reversed(expected), strict=True):
            np.testing.assert_array_equal(one.label(), wanted)
            np.testing.assert_array_equal(one.label(), wanted)

    def test_labels_and_logits_have_memory_of_their_own(self):
        of = segmenter("relative_height")
        shared = pipeline(of)
        first = shared.start(frame(0))
        label, logits = first.label(), first.logits
        kept = label.copy(), logits.clone()
        for seed in range(1, 2 + NUM_SLOTS):
            shared.start(frame(seed)).label()
            poison(shared)
        np.testing.assert_array_equal(label, kept[0])
        assert torch.equal(logits, kept[1])

    def test_sizes_alternate_without_mixing_and_do_not_pile_up(self):
        of = segmenter("relative_height")
        shared = pipeline(of)
        for seed, size in enumerate([(90, 160), (72, 128), (90, 160), (61, 97), (72, 128)]):
            for millimeters in (True, False):
                one = frame(seed, size, millimeters=millimeters)
                np.testing.assert_array_equal(shared.start(one).label(), pipeline(of).start(one).label())
        assert len(shared._sizes) == MAX_SIZES


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
class TestCuda:
    """Run by hand where there is a device: pytest -m cuda."""

    def segmenters(self, kind="relative_height"):
        cpu = segmenter(kind)
        network = build_network("roadlite", len(DEFAULT_TAXONOMY), size="s", depth_channels=1)
        network.load_state_dict(cpu.backend.network.state_dict())
        return cpu, Segmenter(cpu.bundle, TorchBackend(network, "cuda"))

    def test_graphs_give_the_label_of_every_frame(self):
        cpu, cuda = self.segmenters()
        assert cuda.backend.precision == "fp16"
        frames = [frame(seed, (576, 1024)) for seed in range(12)]
        eager = [DevicePipeline(cuda.backend, cuda.bundle.input, 0).start(one).label() for one in frames]
        for one, wanted in zip(frames, eager, strict=True):  # captured from the third on
            label = cuda._pipeline.start(one).label()
            assert (label == wanted).mean() > 0.999
            assert (label == cpu(one).label).mean() > 0.97  # untrained: many near ties
        slots = next(iter(cuda._pipeline._sizes.values()))
        assert all(slot._replay is not None for slot in slots)

    def test_poisoned_buffers_and_two_frames_under_way_change_nothing(self):
        _, cuda = self.segmenters()
        shared = cuda._pipeline
        frames = [frame(seed, (576, 1024)) for seed in range(8)]
        expected = [shared.start(one).label() for one in frames]
        for one, wanted in zip(frames, expected, strict=True):
            poison(shared)
            np.testing.assert_array_equal(shared.start(one).label(), wanted)
        pending = [shared.start(one) for one in frames]
        for one, wanted in zip(pending, expected, strict=True):
            np.testing.assert_array_equal(one.label(), wanted)

    def test_confidence_belongs_to_its_frame(self):
        _, cuda = self.segmenters()
        frames = [frame(seed, (576, 1024)) for seed in range(6)]
        alone = [cuda(one).confidence for one in frames]
        later = [cuda(one) for one in frames]
        for result, wanted in zip(later, alone, strict=True):
            np.testing.assert_allclose(result.confidence, wanted, atol=1e-3)

    def test_no_frame_synchronizes_but_for_its_label(self):
        _, cuda = self.segmenters()
        cuda.warm_up(576, 1024)
        torch.cuda.set_sync_debug_mode("error")
        try:
            pending = cuda._pipeline.start(frame(0, (576, 1024)))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert pending.label().shape == (576, 1024)
