# SPDX-License-Identifier: Apache-2.0
"""Every parameter, those of tomorrow included, given what it cannot be: by argument, by file and while it runs."""

import math
from dataclasses import fields

import pytest
import rclpy
import yaml
from rcl_interfaces.srv import SetParameters
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from road_kd_seg.errors import RoadKdError
from road_kd_seg.ros import parameters
from road_kd_seg.ros.parameters import Settings

pytestmark = pytest.mark.ros

FLOATS = [math.nan, math.inf, -math.inf, 1e300, -1e300]
INTEGERS = [2**63 - 1, -(2**63), -1]
OTHER_TYPES = {
    float: ["text", True, 3, [1.0]],
    int: ["text", True, 1.5, math.nan, [1]],
    str: [3, 0.5, True],
    bool: [1, "yes"],
}


def limits(item):
    return item.metadata["range"] or (0, 270)  # of rotate, whose list stands in its own check


def nonsense(item):
    """Values that a parameter cannot have, and whether they are of its type."""
    if type(item.default) is float:
        low, high = limits(item)
        yield from ((value, True) for value in (*FLOATS, low - 1, high + 1))
    if type(item.default) is int:
        low, high = limits(item)
        yield from ((value, True) for value in (*INTEGERS, low - 1, high + 1))
    yield from ((value, False) for value in OTHER_TYPES[type(item.default)])


ROWS = [(item, *row) for item in fields(Settings) for row in nonsense(item)]


def names_it(text, item, value, of_its_type):
    """Whether a refusal is one line that says which parameter, its value, and what it may be."""
    if not of_its_type:
        return text.isprintable() and "type" in text
    shown = all(str(part) in text for part in (item.name, value))
    if item.metadata["range"] is None:
        return shown and "expected one of 0, 90, 180, 270" in text
    return shown and text.isprintable() and "Min: {}, Max: {}".format(*limits(item)) in text


def test_a_node_that_runs_refuses_them_all_and_works_on(graph, stamps, tiny_bundle):
    process = graph.start_node(model=tiny_bundle)
    graph.outputs(stamps, label=Image)
    request = SetParameters.Request()
    request.parameters = [Parameter(item.name, value=value).to_parameter_msg() for item, value, _ in ROWS]
    results = graph.call(SetParameters, "/road_seg/set_parameters", request).results
    for (item, value, of_its_type), result in zip(ROWS, results, strict=True):
        assert not result.successful, (item.name, value)
        fixed = "cannot change while the node is configured" in result.reason  # of rotate, before its own check
        assert fixed or names_it(result.reason, item, value, of_its_type), (item.name, value, result.reason)
    assert graph.lifecycle_state() == "active"
    graph.outputs(stamps, label=Image)
    assert process.stop() == 0
    assert "Traceback" not in process.log


def refusals(arguments, wrong):
    """What declaring each of the parameters says, with ROS arguments that set all of them."""
    context = rclpy.Context()
    rclpy.init(args=["seg_node", "--ros-args", *arguments], context=context)
    try:
        node = rclpy.create_node("declares", context=context, start_parameter_services=False)
        for item, value, of_its_type in wrong:
            text = "taken"
            try:
                node.declare_parameter(item.name, item.default, parameters._descriptor(item.default, **item.metadata))
                if item.name == "rotate":
                    parameters._checked(Settings(rotate=node.get_parameter(item.name).value))
            except (InvalidParameterTypeException, InvalidParameterValueException, RoadKdError) as error:
                text = str(error)
            yield item, value, of_its_type, text
    finally:
        rclpy.shutdown(context=context)


def rounds():
    """All the rows, with every parameter at most once in a round."""
    left = list(ROWS)
    while left:
        chosen = {row[0].name: row for row in reversed(left)}
        left = [row for row in left if row not in chosen.values()]
        yield list(chosen.values())


@pytest.mark.parametrize("way", ["arguments", "file"])
def test_a_node_that_starts_refuses_them_by_name(tmp_path, way):
    for wrong in rounds():
        text = {item.name: yaml.safe_dump(value, default_flow_style=True).split("\n")[0] for item, value, _ in wrong}
        if way == "arguments":
            given = [part for name, value in text.items() for part in ("-p", f"{name}:={value}")]
        else:
            lines = [f"    {name}: {value}\n" for name, value in text.items()]
            (tmp_path / "seg.yaml").write_text("/**:\n  ros__parameters:\n" + "".join(lines))
            given = ["--params-file", str(tmp_path / "seg.yaml")]
        for item, value, of_its_type, said in refusals(given, wrong):
            assert item.name in said, (item.name, value, said)
            assert names_it(said, item, value, of_its_type), (item.name, value, said)
