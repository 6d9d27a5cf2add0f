# SPDX-License-Identifier: Apache-2.0
"""One ground truth, as five tools export it."""

import base64
import csv
import json
import os
import tracemalloc

import cv2
import numpy as np
import pytest

from road_kd_seg.bags.writer import write_bag
from road_kd_seg.replay.cli import main as replay_eval
from road_kd_seg.taxonomy import DEFAULT_TAXONOMY
from road_kd_training.cli import main
from road_kd_training.datasets.common.label_folder import LabelFolder
from road_kd_training.datasets.frames import Frames
from road_kd_training.errors import DatasetError
from road_kd_training.label_import.formats import read_export

H, W = 48, 64
ROAD, POTHOLE, CAR = 1, 3, 4
SHAPES = [  # class, corners; later ones lie on top
    (ROAD, [(0, 47), (20, 10), (40, 10), (63, 47)]),
    (POTHOLE, [(20, 30), (34, 30), (34, 40), (20, 40)]),
    (CAR, [(30, 12), (38, 12), (38, 34), (30, 34)]),
]
NAMES = DEFAULT_TAXONOMY.names


def ground_truth(number):
    label = np.zeros((H, W), np.uint8)
    for class_id, corners in moved(number):
        cv2.fillPoly(label, [np.array(corners, np.int32)], class_id)
    return label


def moved(number):
    return [(class_id, [(x + number, y) for x, y in corners]) for class_id, corners in SHAPES]


def write_images(folder, suffix=".png"):
    folder.mkdir(parents=True)
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 256, (H, W, 3), np.uint8)
        cv2.imwrite(str(folder / f"f{number}{suffix}"), image)


def labelme(root):
    write_images(root / "images")
    for number in range(3):
        shapes = [
            {"label": NAMES[class_id], "points": corners, "shape_type": "polygon"}
            for class_id, corners in moved(number)
        ]
        content = {"imagePath": f"..\\images\\f{number}.png", "imageHeight": H, "imageWidth": W, "shapes": shapes}
        (root / f"f{number}.json").write_text("\ufeff" + json.dumps(content), encoding="utf-8")


def coco(root):
    write_images(root / "images")
    annotations = []
    for number in range(3):
        for class_id, corners in moved(number):
            ring = [float(value) for corner in corners for value in corner]
            annotations.append({"image_id": number + 1, "category_id": class_id + 10, "segmentation": [ring]})
    content = {
        "images": [{"id": n + 1, "file_name": f"f{n}.png", "height": H, "width": W} for n in range(3)],
        "categories": [{"id": n + 10, "name": name} for n, name in enumerate(NAMES)],
        "annotations": annotations,
    }
    (root / "instances.json").write_text(json.dumps(content))


def cvat(root):
    write_images(root / "images")
    lines = ["<annotations>"]
    for number in range(3):
        lines.append(f'<image id="{number}" name="set/f{number}.png" width="{W}" height="{H}">')
        for order, (class_id, corners) in reversed(list(enumerate(moved(number)))):
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in corners)
            lines.append(f'<polygon label="{NAMES[class_id]}" points="{points}" z_order="{order}"/>')
        lines.append("</image>")
    (root / "annotations.xml").write_text("\n".join([*lines, "</annotations>"]))


def roboflow(root):
    write_images(root / "train", ".jpg")
    order = sorted(NAMES)
    table = np.array([order.index(name) for name in NAMES], np.uint8)
    for number in range(3):
        cv2.imwrite(str(root / f"train/f{number}_mask.png"), table[ground_truth(number)])
    with (root / "train/_classes.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("Pixel Value", " Class"), *((i, f" {name}") for i, name in enumerate(order))])


def label_studio(root):
    write_images(root / "images")
    for number in range(3):
        for class_id in (ROAD, POTHOLE, CAR):
            name = f"task-{number + 7}-annotation-{number}-by-1-tag-{NAMES[class_id]}-0.png"
            cv2.imwrite(str(root / name), ((ground_truth(number) == class_id) * 255).astype(np.uint8))


EXPORTS = {"labelme": labelme, "coco": coco, "cvat": cvat, "roboflow": roboflow, "label-studio": label_studio}


@pytest.fixture(params=EXPORTS)
def export(request, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    EXPORTS[request.param](source)
    return request.param, source


def test_every_tools_export_gives_the_same_dataset(export, tmp_path):
    kind, source = export
    assert main(["import-labels", kind, str(source), "--out", str(tmp_path / "out")]) == 0
    dataset = Frames(tmp_path / "out")
    assert [sample.id for sample in dataset] == ["f0", "f1", "f2"]
    for number, sample in enumerate(dataset):
        np.testing.assert_array_equal(sample.label, ground_truth(number))
        assert sample.rgb.shape == (H, W, 3)


def test_labels_of_a_recordings_frames_are_scored_by_replay_eval(tmp_path, frames_of, tiny_bundle):
    """From stamped frames through an annotation tool into the report."""
    write_bag(tmp_path / "bag", frames_of(range(3), height=H, width=W, label=False))
    stamps_ns = [frame.stamp_ns for frame, _ in frames_of(range(3))]
    source = tmp_path / "source"
    source.mkdir()
    cvat(source)
    text = (source / "annotations.xml").read_text()
    for number, stamp_ns in enumerate(stamps_ns):
        (source / f"images/f{number}.png").rename(source / f"images/{stamp_ns}.png")
        text = text.replace(f"f{number}.png", f"{stamp_ns}.png")
    (source / "annotations.xml").write_text(text)
    assert main(["import-labels", "cvat", str(source), "--out", str(tmp_path / "data")]) == 0
    arguments = [
        tmp_path / "bag",
        "--model",
        tiny_bundle,
        "--out",
        tmp_path / "out",
        "--labels",
        tmp_path / "data/label",
    ]
    assert replay_eval([str(argument) for argument in arguments]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    labeled = np.bincount(np.concatenate([ground_truth(number).ravel() for number in range(3)]), minlength=len(NAMES))
    assert np.sum(report["metrics"]["confusion_matrix"], axis=1).tolist() == labeled.tolist()


def test_until_it_is_imported_the_error_names_the_tool(export):
    kind, source = export
    folder = source / "train" if kind == "roboflow" else source
    with pytest.raises(DatasetError, match=f"it holds a {kind} export: run 'road-kd import-labels {kind} "):
        LabelFolder(folder)


BOX = {"points": [[2, 2], [9, 9]], "shape_type": "rectangle"}


class TestNames:
    @pytest.fixture
    def imports(self, tmp_path, capsys):
        def run(content, *arguments):
            (tmp_path / "source").mkdir()
            labelme(tmp_path / "source")
            (tmp_path / "source/f1.json").unlink()
            (tmp_path / "source/f2.json").unlink()
            described = {"imagePath": "f0.png", "imageHeight": H, "imageWidth": W, **content}
            (tmp_path / "source/f0.json").write_text(json.dumps(described))
            out = tmp_path / "out"
            code = main(["import-labels", "labelme", str(tmp_path / "source"), *arguments, "--out", str(out)])
            label = cv2.imread(str(out / "label/f0.png"), cv2.IMREAD_UNCHANGED) if code == 0 else None
            return label, capsys.readouterr().err

        return run

    def test_other_names_are_said_and_spelling_does_not_matter(self, imports):
        sky = {"label": "sky", "points": [[20, 2], [30, 9]], "shape_type": "rectangle"}
        label, _ = imports({"shapes": [{"label": "Lane-Marking", **BOX}, sky]}, "sky=ignore")
        assert (label[5, 5], label[5, 25], label[40, 40]) == (2, 255, 0)

    def test_an_unknown_class_is_named_with_the_known_ones(self, imports):
        _, error = imports({"shapes": [{"label": "puddle", **BOX}]})
        assert "class 'puddle' is none of background, road, " in error
        assert "e.g. 'puddle=" in error

    def test_pixels_without_a_shape_may_be_unknown(self, imports):
        label, _ = imports({"shapes": [{"label": "road", **BOX}]}, "--unlabeled", "ignore")
        assert (label[5, 5], label[40, 40]) == (1, 255)

    def test_a_bitmap_lies_where_it_was_drawn(self, imports):
        bitmap = base64.b64encode(cv2.imencode(".png", np.full((3, 4), 255, np.uint8))[1].tobytes()).decode()
        shape = {"label": "road", "points": [[10, 20], [14, 23]], "shape_type": "mask", "mask": bitmap}
        label, _ = imports({"shapes": [shape]})
        assert np.argwhere(label == 1).min(0).tolist() == [20, 10]
        assert (label == 1).sum() == 12

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ({"shapes": [{"label": "road", "points": [[1, 1], [2, 2]], "shape_type": "line"}]}, "has no area"),
            ({"shapes": [{"label": "road", "points": "x"}]}, "f0.json"),
            ({"imageHeight": 9, "shapes": []}, "annotated at (9, 64) (H, W), the image has (48, 64)"),
            ({"imagePath": "gone.png", "shapes": []}, "image 'gone.png' is not below the source"),
            ({}, "KeyError('shapes')"),
        ],
        ids=["line", "points", "size", "image", "no shapes"],
    )
    def test_what_does_not_fit_is_one_line(self, imports, content, reason):
        label, error = imports(content)
        assert label is None
        assert reason in error
        assert error.count("\n") == 1


def test_coco_run_lengths_go_down_the_columns(tmp_path):
    write_images(tmp_path / "source")
    truth = ground_truth(0)
    inside = (truth == POTHOLE).T.reshape(-1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    counts = np.diff(np.concatenate([[0], edges, [inside.size]])).tolist()
    content = {
        "images": [{"id": 1, "file_name": "f0.png", "height": H, "width": W}],
        "categories": [{"id": 1, "name": "negative obstacle"}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": {"counts": counts, "size": [H, W]}}],
    }
    (tmp_path / "source/a.json").write_text(json.dumps(content))
    assert main(["import-labels", "coco", str(tmp_path / "source"), "--out", str(tmp_path / "out")]) == 0
    label = cv2.imread(str(tmp_path / "out/label/f0.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(label == POTHOLE, truth == POTHOLE)


def test_label_studios_json_tells_which_task_is_which_image(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    label_studio(source)
    tasks = [{"id": 7 + n, "data": {"image": f"/data/upload/3/0a1b2c3d-f{2 - n}.png"}} for n in range(3)]
    (source / "export.json").write_text(json.dumps(tasks))
    assert main(["import-labels", "label-studio", str(source), "--out", str(tmp_path / "out")]) == 0
    for number, sample in enumerate(Frames(tmp_path / "out")):
        np.testing.assert_array_equal(sample.label, ground_truth(2 - number))


def test_nothing_of_the_kind_is_an_error(tmp_path, capsys):
    assert main(["import-labels", "cvat", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "no cvat export in it" in capsys.readouterr().err


@pytest.mark.parametrize(("encoding", "reason"), [("utf-8", "it defines entities"), ("utf-16", "no text file (UTF-8)")])
def test_entities_are_not_expanded(tmp_path, capsys, encoding, reason):
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY x "y">]><annotations>&x;</annotations>'
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    assert main(["import-labels", "cvat", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert reason in capsys.readouterr().err


HUGE = 10**9
WRAPS = [1 << 62, 1 << 62, 1 << 62, (1 << 62) + H * W]  # together, in 64 bits: the image's size
COCO = {
    "images": [{"id": 1, "file_name": "f0.png", "height": H, "width": W}],
    "categories": [{"id": 1, "name": "road"}],
    "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}],
}


@pytest.mark.parametrize(
    "content",
    [
        "[" * 200_000,
        '{"images": ' * 200_000,
        COCO | {"images": [{"id": 1, "file_name": "f0.png", "height": 1e999, "width": W}]},
        COCO | {"images": [{"id": [], "file_name": "f0.png", "height": H, "width": W}]},
        COCO | {"annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[1, 1, float("nan"), 1, 9, 9]]}]},
        COCO | {"annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[1e300, 1, 9, 1, 9, 9]]}]},
        COCO | {"annotations": [{"image_id": 1, "category_id": 1, "segmentation": {"counts": [2**70]}}]},
        COCO
        | {
            "images": [{"id": 1, "file_name": "f0.png", "height": HUGE, "width": 8 * HUGE}],
            "annotations": [{"image_id": 1, "category_id": 1, "segmentation": {"counts": "0" * 50}}],
        },
        COCO
        | {
            "images": [{"id": 1, "file_name": "f0.png", "height": HUGE, "width": 10}],
            "annotations": [{"image_id": 1, "category_id": 1, "segmentation": {"counts": [0, HUGE * 10]}}],
        },
        COCO | {"annotations": [{"image_id": 1, "category_id": 1, "segmentation": {"counts": WRAPS}}]},
        COCO | {"annotations": [{"image_id": 1, "category_id": 1, "segmentation": {"counts": [[W * H]]}}]},
        COCO | {"categories": [{"id": 1, "name": "\x1b[31m\n"}]},
        COCO | {"images": [{"id": 1, "file_name": "../../../../etc/passwd", "height": H, "width": W}]},
    ],
    ids=["lists", "maps", "endless", "key", "nan", "far", "run", "text", "pixels", "sum", "list", "escape", "outside"],
)
def test_an_export_that_was_made_to_hurt_is_refused_in_one_line(tmp_path, capsys, content):
    write_images(tmp_path / "source")
    (tmp_path / "source/a.json").write_text(content if isinstance(content, str) else json.dumps(content))
    assert main(["import-labels", "coco", str(tmp_path / "source"), "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()


def test_a_cvat_mask_whose_runs_wrap_around_is_refused_in_one_line(tmp_path, capsys):
    write_images(tmp_path / "source")
    shape = f'<mask label="road" rle="{",".join(map(str, WRAPS))}" left="0" top="0" width="{W}" height="{H}"/>'
    (tmp_path / "source/a.xml").write_text(
        f'<annotations><image name="f0.png" width="{W}" height="{H}">{shape}</image></annotations>'
    )
    assert main(["import-labels", "cvat", str(tmp_path / "source"), "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "the runs cover" in line


def test_masks_take_no_memory_before_they_are_painted(tmp_path):
    """A few characters of run lengths stand for 50 million pixels: 400 of them would be 20 GB."""
    write_images(tmp_path / "images")
    height, width = 5000, 10_000
    runs = {"counts": [0, height * width]}
    content = COCO | {
        "images": [{"id": 1, "file_name": "f0.png", "height": height, "width": width}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": runs}] * 400,
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    tracemalloc.start()
    (annotation,) = read_export("coco", tmp_path, None)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert len(annotation.shapes) == 400


def test_a_mask_with_colors_is_refused_in_one_line(tmp_path, capsys):
    write_images(tmp_path / "source")
    colored = cv2.imencode(".png", np.arange(27, dtype=np.uint8).reshape(3, 3, 3))[1].tobytes()
    shape = {"label": "road", "points": [[1, 2], [4, 5]], "shape_type": "mask"}
    shape["mask"] = base64.b64encode(colored).decode()
    content = {"imagePath": "f0.png", "imageHeight": H, "imageWidth": W, "shapes": [shape]}
    (tmp_path / "source/f0.json").write_text(json.dumps(content))
    assert main(["import-labels", "labelme", str(tmp_path / "source"), "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "a mask of shape (3, 3, 3)" in line


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("labelme", "a.json"),
        ("coco", "a.json"),
        ("label-studio", "a.json"),
        ("cvat", "a.xml"),
        ("roboflow", "_classes.csv"),
    ],
)
@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.write_bytes(b'\0"' + b"x" * 200_000)],
    ids=["pipe", "device", "rubbish"],
)
def test_an_annotation_file_that_is_none_is_refused_in_one_line(tmp_path, capsys, kind, name, make):
    write_images(tmp_path / "source")
    make(tmp_path / "source" / name)
    assert main(["import-labels", kind, str(tmp_path / "source"), "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
