# SPDX-License-Identifier: Apache-2.0
"""Arguments of every command. Light to import: `--help` and wrong arguments need neither PyTorch nor a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jsonargparse import ArgumentParser, set_parsing_settings

from road_kd_seg.metrics.boundary import TOLERANCE_PX
from road_kd_training.commands.parser import Parser
from road_kd_training.config import TrainConfig

set_parsing_settings(docstring_parse_attribute_docstrings=True)  # `train --help` explains every key

REPRODUCE_DEFAULTS = {"scale": "smoke", "budget": "steps", "out": "out", "data_root": "data"}


def _add_dataset(parser: ArgumentParser) -> None:
    parser.add_argument("dataset", help="one of 'road-kd list datasets'")
    parser.add_argument("options", nargs="*", help="the dataset's options as key=value, e.g. root=DIR split=validation")


def _train_parser() -> ArgumentParser:
    parser = Parser(description="Train a network from a recipe. The same command again resumes.")
    parser.add_argument("--config", action="config", help="a recipe, e.g. training/recipes/road_student.yaml")
    parser.add_class_arguments(TrainConfig)
    return parser


def _evaluate_parser() -> ArgumentParser:
    parser = ArgumentParser(description="Score a bundle on a dataset, at the camera's resolution.")
    _add_dataset(parser)
    parser.add_argument("--model", default="road_student", help="a bundle's folder, or the name of a shipped one")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--boundary-px", type=int, default=TOLERANCE_PX, help="tolerance of the boundary score, in pixels"
    )
    parser.add_argument(
        "--corruption",
        default=None,
        help="under snow, rain, blur, dark, compressed, projector_dots or stereo_noise, drawn for each sample",
    )
    parser.add_argument("--json", default=None, help="also write the score to this file")
    return parser


def _export_parser() -> ArgumentParser:
    parser = ArgumentParser(description="Write the network of a run or a bundle as a bundle for robots.")
    parser.add_argument("source", help="a run's folder, a bundle's folder, or the name of a shipped bundle")
    parser.add_argument("--out", required=True, help="folder of the new bundle")
    parser.add_argument("--name", default=None, help="what reports and diagnostics call it; default: what they do now")
    parser.add_argument(
        "--weights", default="best", choices=["best", "last"], help="of a run: the best validation's or the last step's"
    )
    parser.add_argument(
        "--average",
        metavar="OTHER",
        help="average with the weights that training went on from: a run, a bundle",
    )
    parser.add_argument("--share", type=float, default=0.5, help="of OTHER in that average, 0 to 1")
    parser.add_argument("--onnx", action="store_true", help="also write model.onnx, and compare it with PyTorch")
    parser.add_argument(
        "--int8",
        action="store_true",
        help="also write model.onnx and model.int8.onnx, calibrated on training frames; refused if it loses more than"
        " 0.5 points of mIoU",
    )
    parser.add_argument("--sign", metavar="KEY.pem", help="sign the bundle with this private EC key")
    parser.add_argument("--force", action="store_true", help="replace what is in that folder, its model card included")
    return parser


def _synth_parser() -> ArgumentParser:
    parser = ArgumentParser(description="Render synthetic road scenes into a folder, on all cores.")
    parser.add_argument("out", help="the folder; scenes it has already are kept")
    parser.add_argument("--scenes", type=int, default=100, help="how many")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first; the others follow")
    parser.add_argument(
        "--variety",
        action="store_true",
        help="vary lens, mast, terrain, traffic, hour, weather and the faults of stereo depth, too",
    )
    return parser


def _pack_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Copy a dataset's folder with smaller images, so that it can travel to the machine that trains."
    )
    parser.add_argument("source", help="the dataset's root")
    parser.add_argument("--out", required=True, help="the new folder, with the same tree")
    parser.add_argument("--width", type=int, default=640, help="of the widest image, in pixels")
    return parser


def _dataset_to_bag_parser() -> ArgumentParser:
    parser = ArgumentParser(description="Write a dataset's frames as the MCAP rosbag2 of a RealSense driver.")
    _add_dataset(parser)
    parser.add_argument("--out", required=True, help="folder of the new bag")
    parser.add_argument("--rate-hz", type=float, default=2.0, help="frames per second")
    parser.add_argument("--force", action="store_true", help="replace an existing bag")
    return parser


def _bag_to_dataset_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Write frames of a rosbag as PNG files in the layout of the dataset 'frames':"
        " rgb/STAMP.png, depth/STAMP.png (uint16 mm), label/STAMP.png for frames that have a label."
    )
    parser.add_argument("bag", help="rosbag2 folder, .mcap or .db3 file")
    parser.add_argument(
        "options", nargs="*", help="options of the dataset 'bag' as key=value, e.g. color_topic=/cam/color labels=DIR"
    )
    parser.add_argument("--out", required=True, help="folder; it must be new or empty")
    parser.add_argument("--every", type=int, default=1, help="keep every N-th frame")
    parser.add_argument("--rate-hz", type=float, default=None, help="or so many frames per second of the recording")
    return parser


def _import_labels_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Write an annotation tool's export as a dataset 'frames', by class name: rgb/ID.png, label/ID.png."
    )
    parser.add_argument(
        "kind", choices=["labelme", "coco", "cvat", "roboflow", "label-studio"], help="the tool's format"
    )
    parser.add_argument("source", help="folder or file of the export")
    parser.add_argument(
        "names", nargs="*", help="what other class names stand for, e.g. pothole=negative_obstacle sky=background"
    )
    parser.add_argument("--out", required=True, help="folder; it must be new or empty")
    parser.add_argument("--images", default=None, help="folder of the images; default: below the source")
    parser.add_argument("--unlabeled", default="background", help="class of pixels without a shape, or ignore")
    return parser


def _pseudo_label_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Label the frames of a dataset that have no label, e.g. the rest of a bag: bag root=BAG labels=DIR."
        " Train on them with the dataset option labels=OUT/label part=labeled."
    )
    _add_dataset(parser)
    parser.add_argument("--model", required=True, help="a bundle's folder, or the name of a shipped one")
    parser.add_argument("--out", required=True, help="folder; it must be new or empty")
    parser.add_argument(
        "--min-confidence", type=float, default=0.0, help="pixels less sure than this (0 to 1) are ignored in training"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirror image; twice the time")
    parser.add_argument("--with-frames", action="store_true", help="also write color and depth: OUT is then a dataset")
    parser.add_argument("--sheets", type=int, default=10, help="most pages of the contact sheet")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    return parser


def _adapt_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Adapt a model to your own road: a teacher labels a drive, the model learns from it, and both are"
        " scored before and after on parts of the drive that were held back. What became worse is not shipped. The"
        " same command again resumes."
    )
    parser.add_argument("bag", help="rosbag2 folder, .mcap or .db3 file, longer than two blocks of 10 s")
    parser.add_argument(
        "options", nargs="*", help="options of the dataset 'bag' as key=value, e.g. labels=DIR block_s=5"
    )
    parser.add_argument(
        "--model", default="road_student", help="what is adapted: a bundle, or the name of a shipped one"
    )
    parser.add_argument("--teacher", default="road_student", help="what labels the drive; better a stronger one")
    parser.add_argument("--out", required=True, help="folder of frames, run, report and bundle")
    parser.add_argument("--frames", type=int, default=200, help="frames to learn from, at most")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps")
    parser.add_argument(
        "--min-confidence", type=float, default=0.8, help="less probable pixels of the teacher are ignored"
    )
    parser.add_argument("--rehearsal", type=int, default=200, help="synthetic scenes beside the drive; 0: none")
    parser.add_argument(
        "--scenes", default="out/synthetic", help="folder of those scenes; rendered if they are missing"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    return parser


def _benchmark_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Load and augment training samples as a run would, by number of worker processes, and say whether"
        " a training step would wait for them: benchmark data --config RECIPE, or benchmark data DATASET key=value …"
    )
    parser.add_argument("what", choices=["data"])
    parser.add_argument("dataset", nargs="?", default=None, help="one of 'road-kd list datasets'; or give --config")
    parser.add_argument("options", nargs="*", default=[], help="the dataset's options as key=value, e.g. root=DIR")
    parser.add_argument("--config", default=None, help="a recipe: its datasets, weights, augmentation, size and batch")
    parser.add_argument("--height", type=int, default=None, help="pixels; default: the recipe's, else 576")
    parser.add_argument("--width", type=int, default=None, help="pixels; default: the recipe's, else 1024")
    parser.add_argument("--batch-size", type=int, default=None, help="samples per step; default: the recipe's, else 8")
    parser.add_argument("--step-ms", type=float, default=None, help="duration of a training step; default: none at all")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=None, help="loader processes; default: 0, 1, 2, … cores"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to measure each number of workers")
    parser.add_argument("--samples", type=int, default=50, help="how many samples to time step by step")
    parser.add_argument("--json", default=None, help="also write the results to this file")
    return parser


def _reproduce_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Train and score the rows of a paper's table. Finished runs are kept, so that the same command goes"
        " on after Ctrl-C, a failure, or with more seeds."
    )
    parser.add_argument("experiment", help="paper/table, one of 'road-kd list experiments'")
    parser.add_argument(
        "--scale",
        default=REPRODUCE_DEFAULTS["scale"],
        help="smoke: minutes on two CPU cores, proves that every row runs; reduced: synthetic scenes, small images,"
        " minutes a row on a CPU; small: synthetic scenes, minutes a row on a GPU; full: the paper's data and schedule",
    )
    parser.add_argument(
        "--budget",
        choices=["steps", "cpu", "wall"],
        default=REPRODUCE_DEFAULTS["budget"],
        help="what every row has as much of as its baseline: optimizer steps; or, with the teacher's forward pass"
        " counted, processor or wall-clock time of the training steps, and the baseline also with longer schedules",
    )
    parser.add_argument("--rows", nargs="*", default=[], help="keys of rows, with what they need; default: all")
    parser.add_argument("--seeds", nargs="*", type=int, default=[], help="of the students; default: the scale's")
    parser.add_argument("--out", default=REPRODUCE_DEFAULTS["out"], help="folder of runs, scenes and reports")
    parser.add_argument(
        "--data-root", default=REPRODUCE_DEFAULTS["data_root"], help="holds each dataset in a folder of its name"
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=0,
        metavar="N",
        help="also draw N test images with their ground truth and each row's prediction, as the papers' figures do",
    )
    parser.add_argument("--replace", action="store_true", help="retrain runs that were made by another recipe")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    return parser


def _list_parser() -> ArgumentParser:
    parser = ArgumentParser(description="List what there is.")
    parser.add_argument("what", choices=["networks", "distillers", "datasets", "experiments"])
    data_root = REPRODUCE_DEFAULTS["data_root"]
    parser.add_argument("--data-root", default=data_root, help="of experiments: where their datasets are looked for")
    return parser


@dataclass(frozen=True)
class Command:
    """A command, whose module is imported when it runs."""

    module: str
    """In `road_kd_training.commands`; defines `run(options)`."""
    help: str
    build_parser: Callable[[], ArgumentParser]


COMMANDS: Mapping[str, Command] = {
    "train": Command("train", "train a network from a recipe", _train_parser),
    "distill": Command("distill", "distil a student from a recipe", _train_parser),
    "evaluate": Command("evaluate", "score a bundle on a dataset", _evaluate_parser),
    "export": Command(
        "export", "write the network of a run or a bundle as a bundle for robots, also as ONNX", _export_parser
    ),
    "synth": Command("synth", "render synthetic road scenes", _synth_parser),
    "pack": Command("pack", "copy a dataset's folder with smaller images", _pack_parser),
    "dataset-to-bag": Command("dataset_to_bag", "write a dataset as a rosbag", _dataset_to_bag_parser),
    "bag-to-dataset": Command(
        "bag_to_dataset", "write frames of a rosbag into a folder, for annotation and training", _bag_to_dataset_parser
    ),
    "import-labels": Command(
        "import_labels", "write an annotation tool's export as a dataset, by class name", _import_labels_parser
    ),
    "pseudo-label": Command("pseudo_label", "label frames that have no label with a network", _pseudo_label_parser),
    "adapt": Command("adapt", "adapt a model to a drive that nobody labeled", _adapt_parser),
    "benchmark": Command("benchmark", "measure how fast training samples are loaded", _benchmark_parser),
    "reproduce": Command("reproduce", "run a table of a paper, and print reported and reproduced", _reproduce_parser),
    "list": Command("listing", "list networks, distillers, datasets or experiments", _list_parser),
}
