# SPDX-License-Identifier: Apache-2.0
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from road_kd_seg.errors import BundleError, RoadKdError, printable, run_tool, shown

HOSTILE = ["\x1b]0;title\x07\x1b[31m", "a\nb", "a\0b", "\ud800", "\u202etxt", "x" * 10**6, "é" * 500]


def is_one_printable_line(text, limit):
    text.encode()
    return text.isprintable() and len(text) <= limit


class TestShown:
    @given(st.text() | st.sampled_from(HOSTILE))
    def test_every_text_becomes_one_short_printable_line(self, text):
        assert is_one_printable_line(shown(text), 80)

    @given(st.recursive(st.none() | st.integers() | st.text() | st.binary(), lambda x: st.lists(x) | st.tuples(x, x)))
    def test_so_does_every_other_value(self, value):
        assert is_one_printable_line(shown(value), 80)

    def test_lists_of_lists_of_lists_are_not_spelled_out(self):
        bomb = "x"
        for _ in range(60):
            bomb = [bomb] * 10
        assert is_one_printable_line(shown(bomb), 80)

    def test_a_number_too_long_for_python_to_print_has_a_name(self):
        assert is_one_printable_line(shown(10**100_000), 80)

    def test_a_short_name_is_just_quoted(self):
        assert shown("erfnet") == "'erfnet'"

    def test_a_long_one_keeps_both_ends(self):
        assert shown("a" + "x" * 500 + "z").startswith("'axx")
        assert shown("a" + "x" * 500 + "z").endswith("xxz'")


class TestRoadKdError:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_its_message_can_always_be_printed(self, text):
        assert is_one_printable_line(str(RoadKdError(f"bag {text}: no such file")), 1200)

    def test_a_detail_of_ours_keeps_its_lines(self):
        assert str(RoadKdError("a\nb", "\n  ROOT\n    rgb")) == "a\\nb\n  ROOT\n    rgb"

    def test_it_survives_pickling(self):
        error = pickle.loads(pickle.dumps(BundleError("a\x1bb", "\nc")))
        assert type(error) is BundleError
        assert str(error) == "a\\x1bb\nc"

    def test_ordinary_text_stays_as_it_is(self):
        assert printable("C:\\bags\\Größe: 3 µm") == "C:\\bags\\Größe: 3 µm"


class TestRunTool:
    @pytest.mark.parametrize("problem", [RoadKdError("it is broken"), OSError(28, "No space left on device", "a\x1bb")])
    def test_what_stops_a_tool_is_one_line(self, problem, capsys):
        def body():
            raise problem

        assert run_tool(body) == 1
        printed = capsys.readouterr().err
        assert printed.startswith("error: ")
        assert is_one_printable_line(printed.rstrip("\n"), 200)

    def test_no_name_stops_a_tool_whose_terminal_knows_ascii_only(self):
        script = "from road_kd_seg.errors import run_tool; run_tool(lambda: print('road-ü-\\udcff'))"
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            env={"PYTHONIOENCODING": "ascii:strict", "PATH": "/usr/bin"},
            timeout=60,
        )
        assert done.stdout == b"road-\\xfc-\\udcff\n", done.stderr
