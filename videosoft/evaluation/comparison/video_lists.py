"""The lists that other frameworks test by: their results name no videos, but come in the list's order."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from videosoft.errors import InputError
from videosoft.video_suffixes import ANY_VIDEO_SUFFIXES


@dataclass(frozen=True)
class VideoList:
    """Ids and labels (N,) in the order of the list."""

    path: str
    video_ids: list[str]
    labels: npt.NDArray[np.int64]


def read_video_list(path: str | Path) -> VideoList:
    """Read lines of ``path label`` (SlowFast, MMAction2) or ``folder num_frames label`` (MMAction2's rawframes).

    A comma may stand for the last spaces, and paths may have spaces.  A video's id is its file's name without suffix.

    Raises:
        InputError: the file cannot be read, or a line does not end in a label.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list {path}: {error}") from None
    video_ids, labels = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        video, _, label = line.strip().replace(",", " ").rpartition(" ")
        if not video or not label.isdecimal():
            raise InputError(f"{path}:{number}: expected `path label` with a number for a label, got {line[:80]!r}")
        video = video.strip()
        folder, _, num_frames = video.rpartition(" ")
        if folder and num_frames.isdecimal() and not video.lower().endswith(ANY_VIDEO_SUFFIXES):
            video = folder.strip()
        video_ids.append(find_video_id(video))
        labels.append(int(label))
    if not video_ids:
        raise InputError(f"the list {path} has no video")
    return VideoList(str(path), video_ids, np.array(labels, dtype=np.int64))


def find_video_id(path: str) -> str:
    """``val/archery/abc_000001_000011.mp4`` -> ``abc_000001_000011``; a name without a video's suffix stays whole."""
    name = PurePosixPath(path).name
    return PurePosixPath(name).stem if name.lower().endswith(ANY_VIDEO_SUFFIXES) else name
