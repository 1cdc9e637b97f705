"""The annotated seconds out of full-length videos, cut and re-encoded in one go."""

import csv
from dataclasses import dataclass
from pathlib import Path

from encode import EncodeSettings, EncodeTask, describe_summary, run_encode_tasks
from names import find_name_problem, list_videos
from reports import write_report
from shards import Shard, select_shard

from videosoft.errors import InputError

_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")


@dataclass(frozen=True)
class Segment:
    """A line of a Kinetics CSV: seconds of a video, and where they go below the output."""

    youtube_id: str
    start: float
    end: float
    relative_path: Path


def read_segments(path: Path) -> list[Segment]:
    """Read ``label,youtube_id,time_start,time_end,split``, in any order; further columns are ignored.

    A clip goes to ``<split>/<label>/<youtube_id>_<start:06d>_<end:06d>.mp4``.

    Raises:
        InputError: the file cannot be read, a column is missing, a line is wrong (named by its number), or a clip comes
            twice.
    """
    segments: dict[Path, Segment] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            header = rows.fieldnames or []
            if missing := [name for name in _COLUMNS if name not in header]:
                raise InputError(f"{path}: no column {', '.join(missing)}; the header is {','.join(header)[:80]!r}")
            for row in rows:
                segment = _read_segment(row, f"{path}:{rows.line_num}")
                if segment.relative_path in segments:
                    raise InputError(f"{path}:{rows.line_num}: {segment.relative_path} comes a second time")
                segments[segment.relative_path] = segment
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"annotations {path} cannot be read: {error}") from None
    if not segments:
        raise InputError(f"annotations {path} have no line below the header")
    return list(segments.values())


def _read_segment(row: dict[str, str], where: str) -> Segment:
    names = {}
    for column in ("label", "youtube_id", "split"):
        names[column] = (row[column] or "").strip()
        if problem := find_name_problem(names[column]):
            raise InputError(f"{where}: {column} {problem}: {names[column]!r}")
    try:
        times = [float(row["time_start"]), float(row["time_end"])]
        start, end = map(int, times)
    except (TypeError, ValueError, OverflowError):
        times, start, end = [], 0, 0
    if not 0 <= start < end < 1_000_000 or times != [start, end]:
        found = f"{row['time_start']!r} to {row['time_end']!r}"
        raise InputError(f"{where}: expected whole seconds 0 <= time_start < time_end < 1000000, got {found}")
    name = f"{names['youtube_id']}_{start:06d}_{end:06d}.mp4"
    return Segment(names["youtube_id"], start, end, Path(names["split"], names["label"], name))


def run_trim(
    source: Path,
    annotations: list[Path],
    output: Path,
    settings: EncodeSettings,
    *,
    shard: Shard,
    num_workers: int,
    time_limit_seconds: float,
) -> str:
    """Cut the annotated clips out of ``<source>/**/<youtube_id>.<mp4|mkv|webm|avi>``; returns a line on what was done.

    Raises:
        InputError: wrong annotations, no source video at all, or an output that cannot be written to.
    """
    if not source.is_dir():
        raise InputError(f"--input {source} is not a folder; give the one with the full-length videos")
    segments = [segment for path in annotations for segment in read_segments(path)]
    videos = {path.stem: source / path for path in list_videos(source)}
    tasks = []
    missing = []
    for segment in select_shard(segments, shard):
        if segment.youtube_id in videos:
            target = output / segment.relative_path
            tasks.append(EncodeTask(videos[segment.youtube_id], target, segment.start, segment.end))
        else:
            missing.append((str(segment.relative_path), "no source video of this youtube_id"))
    if not tasks:
        raise InputError(
            f"none of the {len(missing)} clips has a video in {source}; expected <youtube_id>.mp4 (or .mkv, ...)"
        )
    summary = run_encode_tasks(
        tasks, output, settings, num_workers=num_workers, time_limit_seconds=time_limit_seconds, description="trim"
    )
    report = output / f"trim_report{shard.suffix}.csv"
    write_report(report, ("source or clip", "reason"), summary.failures + missing)
    return f"{describe_summary(summary, output, report)}; {len(missing)} have no source video"
