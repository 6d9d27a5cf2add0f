# SPDX-License-Identifier: Apache-2.0
import os
import resource
import stat

import pytest

from road_kd_seg.errors import BundleError, RoadKdError
from road_kd_seg.files import read_file, write_file


class TestWriteFile:
    def test_makes_folders_and_replaces_what_was_there(self, tmp_path):
        for content in (b"first", b"second"):
            write_file(tmp_path / "a" / "b.txt", content)
        assert (tmp_path / "a" / "b.txt").read_bytes() == b"second"
        assert os.listdir(tmp_path / "a") == ["b.txt"]

    def test_a_symlink_is_replaced_and_not_followed(self, tmp_path):
        (tmp_path / "mine").write_text("mine")
        (tmp_path / "link").symlink_to(tmp_path / "mine")
        write_file(tmp_path / "link", b"theirs")
        assert (tmp_path / "mine").read_text() == "mine"
        assert (tmp_path / "link").read_text() == "theirs"

    @pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
    def test_the_umask_decides_who_may_read(self, tmp_path, umask, mode):
        before = os.umask(umask)
        try:
            write_file(tmp_path / "file", b"x")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode

    def test_nothing_stays_behind_when_the_disk_is_full(self, tmp_path):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # Python ignores SIGXFSZ: the write fails
        try:
            with pytest.raises(BundleError, match="cannot be written .*free some space"):
                write_file(tmp_path / "file", bytes(100_000), error=BundleError)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert os.listdir(tmp_path) == []

    def test_a_folder_that_is_a_file_is_named(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(RoadKdError, match="file/x: cannot be written"):
            write_file(tmp_path / "file" / "x", b"")


class TestReadFile:
    def test_reads_through_a_symlink(self, tmp_path):
        (tmp_path / "a").write_bytes(b"abc")
        (tmp_path / "b").symlink_to(tmp_path / "a")
        assert read_file(tmp_path / "b", 3) == b"abc"

    def test_refuses_one_byte_too_many(self, tmp_path):
        (tmp_path / "a").write_bytes(b"abcd")
        with pytest.raises(RoadKdError, match="has 4 bytes, expected at most 3"):
            read_file(tmp_path / "a", 3)

    def test_a_pipe_does_not_make_it_wait(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(RoadKdError, match="no regular file"):
            read_file(tmp_path / "pipe", 100)

    @pytest.mark.parametrize("path", ["/dev/zero", "/", "/nonexistent"])
    def test_neither_do_devices_folders_and_nothing(self, path):
        with pytest.raises(RoadKdError, match=path):
            read_file(path, 100)
