"""Make the demo data set: short rendered videos whose class only motion tells, in Kinetics layout, with true boxes."""

import argparse
import csv
import json
import multiprocessing
import os
import platform
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from encoding import write_mp4
from rendering import Boxes, render_scene
from scenes import FPS, FRAME_SIZE, NUM_FRAMES, draw_scene, get_labels
from tqdm import tqdm

from videosoft.errors import InputError, run_command

DATASET_NAME = "videosoft demo"
FORMAT_VERSION = 1
# Goes up whenever the same seed gives other pixels than before.
RENDERER_VERSION = 2
CSV_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
_CLIP_SECONDS = NUM_FRAMES // FPS


@dataclass(frozen=True)
class Settings:
    """Everything that decides what is in the set."""

    seed: int
    num_train: int
    num_val: int
    control: bool
    renderer_version: int = RENDERER_VERSION


@dataclass(frozen=True)
class VideoPlan:
    """One video to be made: where it comes in the random streams and where it goes in the folder."""

    split: str
    index: int
    label: str
    youtube_id: str

    @property
    def video_id(self) -> str:
        """The file stem, by which predictions and boxes are joined."""
        return f"{self.youtube_id}_{0:06d}_{_CLIP_SECONDS:06d}"

    @property
    def relative_path(self) -> Path:
        return Path(self.split, self.label, f"{self.video_id}.mp4")


def list_videos(settings: Settings) -> list[VideoPlan]:
    """All videos of the set, training first; classes take turns, ids are unique over both splits."""
    labels = get_labels(settings.control)
    prefix = "control" if settings.control else "demo"
    return [
        VideoPlan(split, index, labels[index % len(labels)], f"{prefix}-{split}-{index:05d}")
        for split, count in (("train", settings.num_train), ("val", settings.num_val))
        for index in range(count)
    ]


def make_video(plan: VideoPlan, *, root: Path, settings: Settings) -> Boxes:
    """Render and write one video; its pixels depend on the seed, the split and its number alone. Returns the boxes."""
    scene = draw_scene(settings.seed, plan.split, plan.index, control=settings.control)
    frames, boxes = render_scene(scene)
    write_mp4(root / plan.relative_path, frames, FPS)
    return boxes


def _ignore_interrupt() -> None:
    """In workers: Ctrl-C is for the parent, which ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _make_videos(root: Path, plans: list[VideoPlan], settings: Settings, num_workers: int) -> Iterator[Boxes]:
    """Make all videos, in order, in this process or in several."""
    make = partial(make_video, root=root, settings=settings)
    if num_workers <= 1:
        yield from map(make, plans)
        return
    # Spawned, so that it is the same on every platform and no thread of this process is copied in mid-work.
    with multiprocessing.get_context("spawn").Pool(num_workers, _ignore_interrupt) as pool:
        yield from pool.imap(make, plans, chunksize=4)


def _write_boxes(path: Path, plans: list[VideoPlan], boxes: list[Boxes]) -> None:
    rows = np.concatenate(boxes)
    columns = {
        "video_id": np.repeat([plan.video_id for plan in plans], NUM_FRAMES),
        "frame": np.tile(np.arange(NUM_FRAMES, dtype=np.int32), len(plans)),
        **{name: rows[:, i] for i, name in enumerate(("x0", "y0", "x1", "y1"))},
    }
    metadata = {"format_version": str(FORMAT_VERSION), "unit": "pixels", "frame_size": str(FRAME_SIZE)}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def _write_set(root: Path, settings: Settings, num_workers: int) -> None:
    """Fill an empty folder with the whole set."""
    plans = list_videos(settings)
    for folder in sorted({plan.relative_path.parent for plan in plans}):
        (root / folder).mkdir(parents=True)
    progress = tqdm(_make_videos(root, plans, settings, num_workers), total=len(plans), unit="video", mininterval=0.5)
    _write_boxes(root / "boxes.parquet", plans, list(progress))
    for split in ("train", "val"):
        with (root / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(CSV_COLUMNS)
            writer.writerows(
                (plan.label, plan.youtube_id, 0, _CLIP_SECONDS, split) for plan in plans if plan.split == split
            )
    info = {
        "format_version": FORMAT_VERSION,
        "name": DATASET_NAME,
        "settings": asdict(settings),
        "classes": get_labels(settings.control),
        "command": shlex.join(["python", *sys.argv]),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "av": av.__version__,
            "ffmpeg": av.ffmpeg_version_info,
        },
    }
    (root / "info.json").write_text(json.dumps(info, indent=2) + "\n")


def read_settings(root: Path) -> dict[str, Any] | None:
    """The settings a folder was made with, or None when it is not a demo set."""
    try:
        info = json.loads((root / "info.json").read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(info, dict) or info.get("name") != DATASET_NAME or not isinstance(info.get("settings"), dict):
        return None
    return info["settings"]


def _count_missing(root: Path, settings: Settings) -> int:
    files = [plan.relative_path for plan in list_videos(settings)]
    files += [Path("boxes.parquet"), Path("train.csv"), Path("val.csv")]
    return sum(not (root / file).is_file() for file in files)


def is_complete(output: Path, settings: Settings, *, overwrite: bool) -> bool:
    """Whether the very set asked for is already there; an output that must not be replaced is refused.

    Raises:
        InputError: the output is not a folder, holds something else than a demo set, or holds another or a damaged
            demo set and ``overwrite`` is false.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"--output {output} is a file; give a folder that is empty or does not exist yet")
    if not output.exists() or not any(output.iterdir()):
        return False
    found = read_settings(output)
    if found is None:
        raise InputError(
            f"--output {output} is not empty and is not a demo set made by this command, so it is never overwritten; "
            "choose another folder"
        )
    num_missing = _count_missing(output, settings) if found == asdict(settings) else 0
    if found == asdict(settings) and not num_missing:
        return True
    if not overwrite:
        what = f"lacks {num_missing} of its files" if num_missing else f"was made with other settings ({found})"
        raise InputError(f"the demo set in {output} {what}; make it anew with --overwrite or choose another --output")
    return False


@contextmanager
def _replace_when_done(output: Path) -> Iterator[Path]:
    """A folder beside the output that takes its place once the body is through; without traces if it fails."""
    output.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{output.name}-unfinished-", dir=output.parent))
    try:
        unfinished = workplace / "new"
        unfinished.mkdir()
        yield unfinished
        if output.exists():
            output.rename(workplace / "old")
        try:
            unfinished.rename(output)
        except OSError:
            if (workplace / "old").exists():
                (workplace / "old").rename(output)
            raise
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def prepare_set(output: Path, settings: Settings, *, num_workers: int = 2, overwrite: bool = False) -> bool:
    """Make the demo set in ``output``, whole or not at all; False when it was there already.

    Raises:
        InputError: a count or the seed is out of range, or the output may not be written (see :func:`is_complete`).
    """
    num_classes = len(get_labels(settings.control))
    for name in ("num_train", "num_val"):
        if getattr(settings, name) < num_classes:
            raise InputError(
                f"--{name} is {getattr(settings, name)}; at least {num_classes} are needed, one video a class"
            )
    if settings.seed < 0:
        raise InputError(f"--seed is {settings.seed}; give a whole number from 0 on")
    if num_workers < 0:
        raise InputError(f"--num_workers is {num_workers}; give a whole number from 0 on (0: no extra process)")
    output = Path(os.path.realpath(output))
    try:
        if is_complete(output, settings, overwrite=overwrite):
            return False
        with _replace_when_done(output) as root:
            _write_set(root, settings, num_workers)
    except OSError as error:
        raise InputError(f"cannot write the demo set to --output {output}: {error}") from error
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="ROOT", help="folder to make")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same pixels")
    parser.add_argument("--num_train", type=int, default=1280, metavar="N", help="training videos")
    parser.add_argument("--num_val", type=int, default=256, metavar="N", help="validation videos")
    parser.add_argument("--num_workers", type=int, default=2, metavar="N", help="processes; no influence on pixels")
    parser.add_argument("--control", action="store_true", help="make the control set: classes that one frame tells")
    parser.add_argument("--overwrite", action="store_true", help="replace a demo set made with other settings")
    args = parser.parse_args()
    settings = Settings(seed=args.seed, num_train=args.num_train, num_val=args.num_val, control=args.control)
    made = prepare_set(args.output, settings, num_workers=args.num_workers, overwrite=args.overwrite)
    state = "made" if made else "already there, with the same settings; nothing to do"
    print(
        f"{args.output}: {settings.num_train} training and {settings.num_val} validation videos, "
        f"{len(get_labels(settings.control))} classes, seed {settings.seed}: {state}"
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
