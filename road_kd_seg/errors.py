"""The package's exceptions. A tool prints the message and exits 1; a traceback is a bug."""

from collections.abc import Callable, Sequence


class RoadKdError(Exception):
    """Base of everything this package raises on purpose: what is wrong, where, what was expected, the fix."""


class BundleError(RoadKdError):
    """A model on disk that is missing, damaged or written for something else."""


class FrameError(RoadKdError):
    """A frame (or a ROS message) that cannot be segmented; the next one may well be fine."""


class BagError(RoadKdError):
    """A bag that cannot be read, or that lacks the topics it was asked for."""


class ShapeMismatch(RoadKdError):
    """Two tensors that had to agree and do not."""

    def __init__(self, where: str, got: Sequence[int], expected: Sequence[int], *, hint: str) -> None:
        super().__init__(f"{where}: got shape {tuple(got)}, expected {tuple(expected)}: {hint}.")


_PROVIDERS = {
    "rclpy": "source a ROS 2 environment, or: pip install 'road_kd_seg[ros]'",
    **dict.fromkeys(("rosbags", "rich", "jinja2", "matplotlib"), "pip install 'road_kd_seg[replay]'"),
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "pip install 'road_kd_seg[onnx]'"),
}
"""What brings the packages that only some of the tools need."""


def run_tool(main: Callable[[], int | None]) -> int:
    """Run a console script's body and return its exit code.

    A RoadKdError, and a package that only this tool needs and that is not installed, are one line on stderr.
    """
    import sys

    try:
        return main() or 0
    except RoadKdError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PROVIDERS:
            raise
        print(f"error: {package} is not installed: {_PROVIDERS[package]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
