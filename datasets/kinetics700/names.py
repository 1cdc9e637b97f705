"""Names from lists and archives of strangers, checked before they become parts of paths; and video files in folders."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from videosoft.video_suffixes import VIDEO_SUFFIXES

_MAX_NAME_BYTES = 200  # file systems take 255, and unfinished files have longer names


def find_name_problem(name: str) -> str | None:
    """Why a name must not become a part of a path; None if it may."""
    if not name or name in (".", ".."):
        return "is empty or a path of its own"
    if "/" in name or "\\" in name:
        return "has a path separator"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "has control characters or bytes that are not UTF-8"
    if len(name.encode()) > _MAX_NAME_BYTES:
        return f"is longer than {_MAX_NAME_BYTES} bytes"
    return None


def is_video_name(name: str) -> bool:
    """Whether a file is a video by its name; macOS's ``._name.mp4`` and other hidden files are not."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES  # noqa: PTH122


def list_videos(root: Path) -> Iterator[Path]:
    """Paths, relative to the root, of all videos below it, sorted folder by folder; hidden folders are left out."""
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            if is_video_name(name):
                yield Path(folder, name).relative_to(root)
