# SPDX-License-Identifier: Apache-2.0
import os

from road_kd_seg.replay.child_process import ChildProcess


def test_a_module_that_lies_beside_the_bag_is_not_run(tmp_path, monkeypatch):
    for name in ("argparse", "runpy", "numpy", "rclpy", "road_kd_seg"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').close()")
    monkeypatch.chdir(tmp_path)
    with ChildProcess("road_kd_seg.synthetic", ["--help"], tmp_path / "log", os.environ) as child:
        child._process.wait(60)
    assert child.return_code == 0, child.lines()
    assert "usage: " in (tmp_path / "log").read_text()
    assert not (tmp_path / "ran").exists()
