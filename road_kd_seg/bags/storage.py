"""Open whatever a recorder left behind, or say what to do about it."""

from __future__ import annotations

from pathlib import Path

from rosbags.rosbag2 import Reader

from road_kd_seg.errors import BagError


def open_storage(path: Path) -> Reader:
    """Open a rosbag2 folder or a single storage file.

    Raises:
        BagError: nothing is there, or it is no rosbag2, or a damaged one.
    """
    if not path.exists():
        raise BagError(f"bag {path}: no such file or folder: pass a rosbag2 folder or an .mcap file")
    if path.suffix == ".bag":
        raise BagError(
            f"bag {path}: a ROS 1 bag, expected a rosbag2:"
            f" convert it with 'rosbags-convert --src {path} --dst {path.stem}'"
        )
    storage = path
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        # A recorder that was killed leaves its file without the metadata beside it.
        found = sorted([*path.glob("*.mcap"), *path.glob("*.db3")])
        if len(found) != 1:
            raise BagError(
                f"bag {path}: no metadata.yaml and {len(found)} storage files, expected a rosbag2 folder: pass one file"
            )
        storage = found[0]
    if storage.is_file() and storage.suffix not in (".mcap", ".db3"):
        raise BagError(f"bag {path}: expected a rosbag2 folder, an .mcap or a .db3 file")
    try:
        reader = Reader(storage)
        reader.open()
    except Exception as error:  # a damaged file makes the parser stumble in any way
        raise damaged(path, error) from error
    return reader


def damaged(path: Path, error: Exception) -> BagError:
    """What to raise when the parser stumbled."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return BagError(
        f"bag {path}: cannot be read: {reason} The recording was cut short or is damaged:"
        " repair it ('mcap recover FILE -o NEW', 'ros2 bag reindex FOLDER') or record it again"
    )
