"""Finding the videos that a user named."""

import os
from collections.abc import Sequence
from pathlib import Path

from videosoft.errors import InputError

__all__ = ["VIDEO_SUFFIXES", "find_videos"]

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg"})


def find_videos(paths: Sequence[Path], *, exclude: Path) -> list[Path]:
    """Return the videos under ``paths``: files as given, folders searched recursively and sorted; each file once.

    The folder ``exclude`` is not searched: an export into a folder among the videos must not explain its own overlays.

    Raises InputError for a path that does not exist and for a folder without videos.
    """
    videos: dict[Path, Path] = {}
    excluded = exclude.resolve()
    for path in paths:
        if path.is_file():
            found = [path]
        elif path.is_dir():
            found = sorted(
                Path(folder, name)
                for folder, _, names in os.walk(path)
                for name in names
                if Path(name).suffix.lower() in VIDEO_SUFFIXES and excluded not in Path(folder, name).resolve().parents
            )
            if not found:
                suffixes = ", ".join(sorted(VIDEO_SUFFIXES))
                raise InputError(f"no video under folder {path} (looked for {suffixes} outside the output folder)")
        else:
            raise InputError(f"video {path} does not exist; give files or folders that hold videos")
        for video in found:
            videos.setdefault(video.resolve(), video)
    return list(videos.values())
