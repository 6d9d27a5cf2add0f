# SPDX-License-Identifier: Apache-2.0
from importlib.util import find_spec

import pytest

from road_kd_seg.bags.writer import write_bag
from road_kd_seg.replay.cli import main
from road_kd_seg.replay.rerun_file import RERUN_FILE


@pytest.fixture
def evaluate(tmp_path, frames_of, tiny_bundle):
    write_bag(tmp_path / "bag", frames_of(range(3), height=48, width=80))

    def run(*options: str) -> int:
        arguments = [tmp_path / "bag", "--model", tiny_bundle, "--out", tmp_path / "out", "--device", "cpu", *options]
        return main([str(argument) for argument in arguments])

    return run


@pytest.mark.skipif(find_spec("rerun") is not None, reason="tells what happens without rerun-sdk")
def test_without_the_extra_it_says_what_to_install_before_the_work(tmp_path, evaluate, capsys):
    assert evaluate("--rerun") == 1
    assert "--rerun needs rerun-sdk: pip install 'road_kd_seg[rerun]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(find_spec("rerun") is None, reason="needs rerun-sdk (pip install rerun-sdk)")
def test_a_recording_lies_beside_the_report_and_is_replaced(tmp_path, evaluate):
    for _ in range(2):
        assert evaluate("--rerun") == 0
        content = (tmp_path / "out" / RERUN_FILE).read_bytes()
        assert content[:3] == b"RRF"
        for entity in (b"camera/color", b"camera/prediction", b"camera/ground_truth", b"latency_ms"):
            assert entity in content
