"""A split packed into LitData chunks, so that training can read it from object storage.

The videos are cut into parts; each part becomes some chunks and a note that it is done.  When the last part is there,
the chunks of all of them become one LitData set: index.json, and videos.parquet, which says what is where.
"""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from shards import Shard, select_shard
from tqdm import tqdm
from workers import FatalError, run_tasks

from videosoft.atomic_files import UNFINISHED_PREFIX, check_output_folder, replace_when_done, write_json
from videosoft.data.annotations import VideoRecord, read_annotations
from videosoft.data.litdata_source import LITDATA_FORMAT_VERSION, TABLE_NAME
from videosoft.data.records import describe_replacement
from videosoft.errors import InputError

VIDEOS_PER_PART = 1000


@dataclass(frozen=True)
class Part:
    """Some of the videos: (record, size in bytes), and a hash over what they are."""

    number: int
    videos: tuple[tuple[VideoRecord, int], ...]
    content_hash: str

    @property
    def note_name(self) -> str:
        return f"part-{self.number:05d}.json"


def create_parts(records: list[VideoRecord], root: Path) -> list[Part]:
    """Cut the videos that have a file into parts, in an order that mixes the classes and is always the same."""
    present = [(record, record.path.stat().st_size) for record in records if record.status == "ok"]
    present.sort(key=lambda video: hashlib.sha256(video[0].video_id.encode()).digest())
    parts = []
    for number, start in enumerate(range(0, len(present), VIDEOS_PER_PART)):
        videos = tuple(present[start : start + VIDEOS_PER_PART])
        lines = [[str(record.path.relative_to(root)), record.label_name, size] for record, size in videos]
        parts.append(Part(number, videos, hashlib.sha256(json.dumps(lines).encode()).hexdigest()))
    return parts


def _write_part(part: Part, *, root: Path, output: Path, chunk_megabytes: int) -> int:
    """Write one part in a worker; returns its number of videos.  The note comes last: without it nothing is there."""
    # LitData names chunks by it; the chunks of all parts lie in one folder in the end.
    os.environ["DATA_OPTIMIZER_GLOBAL_RANK"] = str(part.number)
    from litdata.streaming import Cache

    try:
        workplace = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED_PREFIX}{part.number:05d}-", dir=output))
        try:
            cache = Cache(str(workplace), chunk_bytes=chunk_megabytes << 20)
            items: list[str] = []
            failures: dict[str, str] = {}
            passing: list[str] = []
            for record, _ in part.videos:
                try:
                    content = record.path.read_bytes()
                except OSError as error:
                    failures[record.video_id] = error.strerror or str(error)
                    passing.append(record.video_id)
                    continue
                if reason := describe_replacement(record.num_bytes, len(content)):
                    failures[record.video_id] = reason
                    continue
                if not content:
                    failures[record.video_id] = "empty file (0 bytes)"
                    continue
                values = (
                    content,
                    record.video_id,
                    record.label_name,
                    record.group_id,
                    str(record.path.relative_to(root)),
                )
                # A tuple, not a dict: LitData writes dicts as Arrow tables, of which it cannot fetch single rows.
                cache[len(items)] = values
                items.append(record.video_id)
            index: dict[str, Any] = {"chunks": [], "config": None}
            if items:
                cache.done()
                index = json.loads((workplace / f"{part.number}.index.json").read_text(encoding="utf-8"))
            for chunk in index["chunks"]:
                (workplace / chunk["filename"]).replace(output / chunk["filename"])
            note = {
                "content_hash": part.content_hash,
                "items": items,
                "failures": failures,
                "passing": passing,  # of the failures those that may be over by the next time
                "index": index,
            }
            write_json(output / part.note_name, note)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
    except (OSError, InputError) as error:
        raise FatalError(f"cannot write {output}: {error}") from None
    return len(items)


def _check_split(output: Path, split: str) -> None:
    """What was packed of one split is not replaced by another."""
    path = output / TABLE_NAME
    if not path.exists():
        return
    try:
        found = (pq.read_schema(path).metadata or {}).get(b"split", b"").decode()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read: {error}; remove the folder, or choose another --output") from None
    if found != split:
        raise InputError(f"{output} holds the split {found!r}, not {split!r}; choose another --output")


def _read_note(output: Path, part: Part) -> dict[str, Any] | None:
    """The note of a part that is done and whole; None if it has to be done (again)."""
    try:
        note: dict[str, Any] = json.loads((output / part.note_name).read_text(encoding="utf-8"))
        if note["content_hash"] != part.content_hash:
            return None
        for chunk in note["index"]["chunks"]:
            if (output / chunk["filename"]).stat().st_size != chunk["chunk_bytes"]:
                return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note


def run_optimize(
    root: Path,
    split: str,
    output: Path,
    *,
    annotations: Path | None,
    chunk_megabytes: int,
    shard: Shard,
    num_workers: int,
) -> str:
    """Pack the videos of a split; returns a line on what was done.

    Raises:
        InputError: litdata is missing, the lists are wrong, or the output cannot be written to, is full, or holds
            something else.
    """
    try:
        import litdata  # noqa: F401
    except ImportError as error:
        raise InputError(f"optimize needs the package litdata ({error}); pip install litdata") from None
    if chunk_megabytes > 2000:
        raise InputError(f"--chunk_megabytes is {chunk_megabytes}; LitData's chunks hold 2000 at most")
    root = root.absolute()
    listed = read_annotations(root, split, annotations=annotations)
    check_output_folder(output)
    output.mkdir(parents=True, exist_ok=True)
    _check_split(output, split)
    parts = create_parts(listed.records, root)
    mine = select_shard(parts, shard)
    todo = [part for part in mine if (note := _read_note(output, part)) is None or note.get("passing")]
    if todo:
        # What stands there is of other videos from now on.
        for name in ("index.json", TABLE_NAME):
            (output / name).unlink(missing_ok=True)
    job = partial(_write_part, root=root, output=output, chunk_megabytes=chunk_megabytes)
    num_videos = sum(len(part.videos) for part in mine)
    progress = tqdm(
        total=num_videos,
        initial=num_videos - sum(len(part.videos) for part in todo),
        unit="video",
        desc="optimize",
        mininterval=0.5,
    )
    try:
        with progress:
            for outcome in run_tasks(job, todo, num_workers=num_workers):
                if outcome.result is None:
                    raise InputError(f"part {outcome.task.number}: {outcome.reason}; the same command tries it again")
                progress.update(len(outcome.task.videos))
    except FatalError as error:
        raise InputError(f"{error}; finished parts stay and are not done again") from None
    notes = [_read_note(output, part) for part in parts]
    num_done = sum(note is not None for note in notes)
    if num_done < len(parts):
        return f"{output}: {num_done} of {len(parts)} parts are there; the shard that does the last one joins them"
    done = [note for note in notes if note is not None]
    num_items = _join_parts(output, split, listed, done, root)
    num_passing = sum(len(note.get("passing", ())) for note in done)
    again = f"; {num_passing} could not be read: the same command tries them again" if num_passing else ""
    return f"{output}: {num_items} of {len(listed.records)} videos in {len(parts)} parts, joined{again}"


def _join_parts(output: Path, split: str, listed: Any, notes: list[dict[str, Any]], root: Path) -> int:
    """Write index.json and videos.parquet; any number of shards may do so, they write the same."""
    configs = [note["index"]["config"] for note in notes if note["items"]]
    if any(config != configs[0] for config in configs):
        raise InputError(f"the parts in {output} were written by different versions or sizes; empty it and begin anew")
    items = {video_id: number for number, video_id in enumerate(id for note in notes for id in note["items"])}
    failures = {video_id: reason for note in notes for video_id, reason in note["failures"].items()}
    rows = [
        {
            "video_id": record.video_id,
            "path": str(record.path.relative_to(root)),
            "label_name": record.label_name,
            "label": record.label,
            "group_id": record.group_id,
            "status": "unreadable" if record.video_id in failures else record.status,
            "reason": failures.get(record.video_id, record.reason),
            "item": items.get(record.video_id, -1),
        }
        for record in listed.records
    ]
    metadata = {
        "format_version": str(LITDATA_FORMAT_VERSION),
        "split": split,
        "class_names": json.dumps(listed.class_names),
        "manifest_hash": listed.manifest_hash,
    }
    with replace_when_done(output / TABLE_NAME) as temporary_path:
        pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(metadata), temporary_path)
    chunks = [chunk for note in notes for chunk in note["index"]["chunks"]]
    write_json(output / "index.json", {"chunks": chunks, "config": configs[0] if configs else None, "updated_at": "0"})
    return len(items)
