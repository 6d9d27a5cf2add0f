# SPDX-License-Identifier: Apache-2.0
"""Graphs that were made to hurt: refused before ONNX Runtime sees them, or stopped while it tries them."""

import hashlib
import shutil
import time
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from road_kd_seg.backends import onnx_backend
from road_kd_seg.backends.onnx_graph import check_graph
from road_kd_seg.bundle import MANIFEST, ONNX
from road_kd_seg.errors import BundleError, RoadKdError
from road_kd_seg.segmenter import Segmenter

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError:
    onnx = None

pytestmark = pytest.mark.skipif(onnx is None, reason="the extra onnx is not installed")


@pytest.fixture
def bundle(tiny_onnx_bundle, tmp_path):
    return shutil.copytree(tiny_onnx_bundle, tmp_path / "bundle")


def set_graph(bundle, change):
    model = onnx.load(bundle / ONNX)
    change(model.graph)
    content = model.SerializeToString()
    (bundle / ONNX).write_bytes(content)
    manifest = yaml.safe_load((bundle / MANIFEST).read_text())
    manifest["onnx"]["sha256"] = hashlib.sha256(content).hexdigest()
    (bundle / MANIFEST).write_text(yaml.safe_dump(manifest))


def load(bundle):
    segmenter = Segmenter.from_bundle(bundle, device="cpu", backend="onnx")
    segmenter.warm_up(*segmenter.bundle.input.size)


def refuse(bundle, match):
    with pytest.raises(BundleError, match=match) as caught:
        load(bundle)
    assert str(caught.value).isprintable()


def end_with(graph, operator, **attributes):
    """Put an operator between the last one and the output."""
    output = graph.output[0].name
    last = next(node for node in graph.node if output in node.output)
    last.output[list(last.output).index(output)] = "inner"
    graph.node.append(helper.make_node(operator, ["inner"], [output], **attributes))


def test_what_our_exporter_writes_is_accepted(tiny_onnx_bundle):
    check_graph((tiny_onnx_bundle / ONNX).read_bytes())
    load(tiny_onnx_bundle)


@pytest.mark.parametrize("location", ["/etc/passwd", "../../etc/passwd", "weights.safetensors", "/dev/zero", ""])
def test_other_files_are_not_read(bundle, location):
    def change(graph):
        tensor = graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location

    set_graph(bundle, change)
    refuse(bundle, "keeps tensors in other files")


def test_nor_by_a_tensor_in_an_attribute(bundle):
    def change(graph):
        tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])
        tensor.data_location = TensorProto.EXTERNAL
        graph.node.insert(0, helper.make_node("Constant", [], ["unused"], value=tensor))

    set_graph(bundle, change)
    refuse(bundle, "keeps tensors in other files")


@pytest.mark.parametrize("operator", ["Loop", "Scan", "If", "SequenceMap"])
def test_loops_and_branches_are_not_run(bundle, operator):
    body = helper.make_graph([], "body", [], [])
    set_graph(bundle, lambda graph: graph.node.append(helper.make_node(operator, [], ["unused"], body=body)))
    refuse(bundle, f"operator {operator}: loops and branches")


@pytest.mark.parametrize("operator", ["BeamSearch", "Relu"])
def test_nor_whatever_else_holds_a_graph(bundle, operator):
    attribute = helper.make_attribute("decoder", helper.make_graph([], "decoder", [], []))
    node = helper.make_node(operator, [], ["unused"], domain="com.microsoft")
    node.attribute.append(attribute)
    set_graph(bundle, lambda graph: graph.node.append(node))
    refuse(bundle, "an operator holds a graph of its own")


def test_functions_that_call_each_other_are_not_unfolded():
    """Ten calls in each of eight functions: a hundred million operators in a kilobyte."""
    functions = [
        helper.make_function(
            "com.microsoft",
            f"F{i}",
            ["x"],
            ["y"],
            [helper.make_node(f"F{i + 1}", ["x"], ["y"], domain="com.microsoft")] * 10,
            [helper.make_opsetid("", 17)],
        )
        for i in range(8)
    ]
    model = helper.make_model(helper.make_graph([], "graph", [], []), functions=functions)
    with pytest.raises(RoadKdError, match="it defines functions"):
        check_graph(model.SerializeToString())


def test_sparse_tensors_are_not_made_dense(bundle):
    """A value and its place stand for 32 GB of zeros."""
    sparse = onnx.SparseTensorProto(dims=[1 << 33])
    sparse.values.CopyFrom(helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0]))
    sparse.indices.CopyFrom(helper.make_tensor("places", TensorProto.INT64, [1], [7]))
    set_graph(bundle, lambda graph: graph.sparse_initializer.append(sparse))
    refuse(bundle, "it holds sparse tensors")


def test_the_compiled_model_of_another_file_is_not_opened(bundle):
    node = helper.make_node("EPContext", [], ["unused"], domain="com.microsoft", ep_cache_context="/etc/passwd")
    set_graph(bundle, lambda graph: graph.node.append(node))
    refuse(bundle, "operator EPContext: it opens another file")


def test_nor_operators_of_a_strangers_library(bundle):
    node = {"domain": "evil\x1b[31m"}
    set_graph(bundle, lambda graph: graph.node.append(helper.make_node("Relu", ["rgb"], ["unused"], **node)))
    refuse(bundle, r"an operator of domain 'evil\\x1b\[31m', expected ONNX's own")


@pytest.mark.parametrize("kind", ["DOUBLE", "FLOAT16", "INT64"])
def test_logits_of_another_type_never_land_in_memory_for_floats(bundle, kind):
    def change(graph):
        end_with(graph, "Cast", to=TensorProto.DataType.Value(kind))
        graph.output[0].type.tensor_type.elem_type = TensorProto.DataType.Value(kind)

    set_graph(bundle, change)
    refuse(bundle, "expected float32 throughout|cannot be opened")


def test_logits_that_are_not_finite_are_refused_at_warm_up(bundle):
    def change(graph):
        graph.initializer.append(numpy_helper.from_array(np.full((1,), np.inf, np.float32), "huge"))
        end_with(graph, "Mul")
        graph.node[-1].input.append("huge")

    set_graph(bundle, change)
    refuse(bundle, "not finite")


@pytest.mark.parametrize("times", [2, 50])
def test_more_logits_than_the_graph_declares_never_leave_the_memory_that_is_there_for_them(bundle, times):
    def change(graph):
        end_with(graph, "Concat", axis=1)
        graph.node[-1].input.extend(["inner"] * (times - 1))

    set_graph(bundle, change)
    refuse(bundle, "cannot be opened|cannot be run|model.yaml needs")


def test_a_graph_without_end_is_stopped(bundle, monkeypatch):
    monkeypatch.setattr(onnx_backend, "_TRIAL_S", 0.3)

    def change(graph):
        graph.initializer.append(numpy_helper.from_array(np.zeros((96, 96), np.float32), "zeros"))
        names = ["rgb", *(f"power{i}" for i in range(20_000))]
        chain = [helper.make_node("MatMul", [a, "zeros"], [b]) for a, b in pairwise(names)]
        graph.node.extend(chain)
        graph.node.append(helper.make_node("ReduceSum", [names[-1]], ["sum"], keepdims=0))
        end_with(graph, "Add")
        graph.node[-1].input.append("sum")

    set_graph(bundle, change)
    begun = time.monotonic()
    refuse(bundle, "model.onnx cannot be run: .*[Tt]erminate")
    assert time.monotonic() - begun < 60


@given(st.binary(max_size=200))
def test_noise_is_no_graph_and_takes_no_time(noise):
    with suppress(RoadKdError):
        check_graph(noise)
