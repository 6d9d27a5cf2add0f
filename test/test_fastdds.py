# SPDX-License-Identifier: Apache-2.0
import fcntl
import os
import time
from pathlib import Path

import pytest

from road_kd_seg.errors import RoadKdError
from road_kd_seg.fastdds import PROFILE_VARIABLES, check_profile, remove_orphaned_segments, use_shared_memory_profile
from road_kd_seg.share import share_file


@pytest.fixture
def no_profile(monkeypatch):
    for name in (*PROFILE_VARIABLES, "RMW_IMPLEMENTATION"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


class TestProfile:
    def test_ours_is_set_for_both_generations_of_fast_dds_and_is_large_enough(self, no_profile):
        assert use_shared_memory_profile() is None
        profiles = {os.environ.get(name) for name in PROFILE_VARIABLES}
        assert {Path(profile).name for profile in profiles} == {"fastdds_shm.xml"}

    def test_the_users_own_is_left_alone_and_judged(self, no_profile, tmp_path):
        own = tmp_path / "own.xml"
        own.write_text("<profiles><segment_size>524288</segment_size></profiles>")
        no_profile.setenv(PROFILE_VARIABLES[0], str(own))
        assert "a shared-memory segment of 524288 bytes" in use_shared_memory_profile()
        assert os.environ.get(PROFILE_VARIABLES[0]) == str(own)

    def test_another_middleware_needs_none(self, no_profile):
        no_profile.setenv("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")
        assert use_shared_memory_profile() is None
        assert os.environ.get(PROFILE_VARIABLES[0]) is None

    @pytest.mark.parametrize(
        ("text", "reason"),
        [("<profiles/>", "no shared-memory segment_size"), ("<profiles>", "cannot be read"), (None, "cannot be read")],
        ids=["default", "broken", "missing"],
    )
    def test_a_profile_that_loses_images_is_named(self, tmp_path, text, reason):
        profile = tmp_path / "profile.xml"
        if text is not None:
            profile.write_text(text)
        assert reason in check_profile(profile)


def test_a_file_that_is_nowhere_is_named_with_every_place():
    with pytest.raises(
        RoadKdError,
        match=r"config/none.xml is missing, searched .*/config/none.xml, .*/road_kd_seg/shared/config/none.xml",
    ):
        share_file("config/none.xml")


class TestOrphanedSegments:
    @staticmethod
    def segment(folder: Path, name: str, age_s: float = 60) -> Path:
        file, lock = folder / name, folder / f"{name}_el"
        for path in (file, lock):
            path.touch()
            os.utime(path, (time.time() - age_s,) * 2)
        return file

    def test_a_segment_that_nobody_holds_is_removed_with_its_lock(self, tmp_path):
        self.segment(tmp_path, "fastrtps_0123456789abcdef")
        assert remove_orphaned_segments(tmp_path) == 1
        assert list(tmp_path.iterdir()) == []

    def test_what_is_held_or_just_made_or_of_others_stays(self, tmp_path):
        held = self.segment(tmp_path, "fastrtps_00000000000000aa")
        kept = [
            held,
            self.segment(tmp_path, "fastrtps_00000000000000bb", age_s=0),
            self.segment(tmp_path, "fastrtps_port7411"),
            self.segment(tmp_path, "psm_12345678"),
        ]
        with held.with_name(f"{held.name}_el").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert remove_orphaned_segments(tmp_path) == 0
        assert all(file.exists() for file in kept)

    def test_a_missing_folder_is_no_error(self, tmp_path):
        assert remove_orphaned_segments(tmp_path / "none") == 0
