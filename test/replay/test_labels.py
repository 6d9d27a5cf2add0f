# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from road_kd_seg.errors import RoadKdError
from road_kd_seg.replay.labels import LabelStore, read_ground_truth, read_label_folder, save_label_folder
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY

LABEL = np.array([[0, 1, 2], [3, 4, 255]], np.uint8)


class TestLabelStore:
    @given(label=arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6))))
    def test_what_is_put_in_comes_out(self, label):
        store = LabelStore()
        store.put(7, label)
        assert np.array_equal(store.get(7), label)

    def test_a_slice_of_an_array_is_stored_as_it_looks(self):
        store = LabelStore()
        store.put(7, LABEL[:, ::2])
        assert store.get(7).tolist() == [[0, 2], [3, 255]]

    def test_it_knows_its_stamps(self):
        store = LabelStore()
        store.put(9, LABEL)
        store.put(3, LABEL)
        store.put(9, LABEL)
        assert (store.stamps_ns, len(store), 3 in store, 4 in store) == ([9, 3], 2, True, False)


class TestLabelFolder:
    def test_files_are_read_by_stamp(self, tmp_path):
        for stamp_ns in (1000, 900):
            cv2.imwrite(str(tmp_path / f"{stamp_ns}.png"), LABEL)
        (tmp_path / "README.png").write_text("not a label")
        read = list(read_label_folder(tmp_path))
        assert [stamp_ns for stamp_ns, _ in read] == [900, 1000]
        assert np.array_equal(read[0][1], LABEL)

    def test_no_folder(self, tmp_path):
        with pytest.raises(RoadKdError, match="no such folder, expected one PNG of class ids"):
            list(read_label_folder(tmp_path / "nowhere"))

    def test_names_that_are_no_stamps(self, tmp_path):
        cv2.imwrite(str(tmp_path / "frame_1.png"), LABEL)
        with pytest.raises(
            RoadKdError, match=r"none of its 1 PNG files is named by a stamp; .*<header stamp in ns>\.png"
        ):
            list(read_label_folder(tmp_path))

    def test_a_file_that_is_no_image(self, tmp_path):
        (tmp_path / "5.png").write_bytes(b"rubbish")
        with pytest.raises(RoadKdError, match="no JPEG or PNG"):
            list(read_label_folder(tmp_path))


class TestGroundTruth:
    """What is wrong with a folder of labels is said before anything is run."""

    def read(self, folder, frames=(5, 6), size=(2, 3), label_map=None):
        return read_ground_truth(folder, frames, DEFAULT_TAXONOMY, size, label_map)

    def test_labels_of_frames_are_read_and_others_left(self, tmp_path):
        for stamp_ns in (5, 7):
            cv2.imwrite(str(tmp_path / f"{stamp_ns}.png"), LABEL)
        assert self.read(tmp_path).stamps_ns == [5]

    def test_labels_of_another_recording(self, tmp_path):
        cv2.imwrite(str(tmp_path / "9.png"), LABEL)
        with pytest.raises(RoadKdError, match=r"its 1 stamps \(9 …\) are of no frame of this recording \(5 …\)"):
            self.read(tmp_path)

    def test_another_size(self, tmp_path):
        cv2.imwrite(str(tmp_path / "5.png"), LABEL)
        with pytest.raises(RoadKdError, match=r"5\.png: 3x2 pixels, the images have 6x4"):
            self.read(tmp_path, size=(4, 6))

    def test_a_mask_has_to_say_of_what(self, tmp_path):
        cv2.imwrite(str(tmp_path / "5.png"), np.array([[0, 255, 0], [0, 0, 0]], np.uint8))
        with pytest.raises(RoadKdError, match="masks of 0 and 255 only: .*--label-map 255=negative_obstacle"):
            self.read(tmp_path)
        assert self.read(tmp_path, label_map="255=negative_obstacle").get(5).tolist() == [[0, 3, 0], [0, 0, 0]]

    def test_an_export_that_was_not_imported(self, tmp_path):
        (tmp_path / "5.json").write_text('{"shapes": []}')
        with pytest.raises(RoadKdError, match="it holds a labelme export: run 'road-kd import-labels labelme"):
            self.read(tmp_path)


class TestSavedLabels:
    def test_what_is_saved_is_read_again_and_nothing_of_an_earlier_run(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        for stamp_ns in (1, 2):
            save_label_folder(tmp_path, LabelStore.of([(stamp_ns, LABEL)]))
        ((stamp_ns, label),) = read_label_folder(tmp_path)
        assert stamp_ns == 2
        assert np.array_equal(label, LABEL)
        assert (tmp_path / "notes.txt").exists()


class TestHostileLabels:
    @pytest.mark.parametrize("name", ["٣", "²", "1e5", " 5", "-5", "9" * 200, str(2**63)])
    def test_a_name_that_is_no_stamp_is_no_label(self, tmp_path, name):
        cv2.imwrite(str(tmp_path / "7.png"), LABEL)
        (tmp_path / f"{name}.png").write_bytes(b"rubbish")
        assert [stamp_ns for stamp_ns, _ in read_label_folder(tmp_path)] == [7]

    def test_a_link_to_itself_and_a_folder_are_named(self, tmp_path):
        for make in (lambda path: path.symlink_to(path), lambda path: path.mkdir()):
            make(tmp_path / "5.png")
            with pytest.raises(RoadKdError, match=r"5\.png (cannot be read|is no regular file)"):
                list(read_label_folder(tmp_path))
            (tmp_path / "5.png").unlink() if (tmp_path / "5.png").is_symlink() else (tmp_path / "5.png").rmdir()

    def test_a_palette_holds_ids_and_so_do_three_equal_channels(self, tmp_path):
        palette = Image.fromarray(LABEL)
        palette.putpalette(bytes(value * 5 % 256 for value in range(256)))
        palette.save(tmp_path / "1.png")
        cv2.imwrite(str(tmp_path / "2.png"), np.repeat(LABEL[..., None], 3, axis=2))
        for _, label in read_label_folder(tmp_path):
            np.testing.assert_array_equal(label, LABEL)
