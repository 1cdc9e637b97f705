"""What a scoring run has finished, line by line on disk, so that it can be interrupted at any clip and go on there."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from videosoft.atomic_files import replace_when_done
from videosoft.errors import InputError
from videosoft.explain.scores.table import Curve, Score

__all__ = ["ClipRecord", "ProgressFile"]

PROGRESS_FORMAT_VERSION = 1


@dataclass(frozen=True)
class ClipRecord:
    """What became of one video: its scores, or a ``status`` other than ok with a reason."""

    video_id: str
    group_id: str
    label_name: str
    path: str
    status: str
    reason: str
    scores: tuple[Score, ...] = ()
    curves: tuple[Curve, ...] = ()
    grids: dict[str, tuple[int, int, int]] = field(default_factory=dict)


class ProgressFile:
    """JSON lines: first the settings, then one line a video. Written as the videos are finished.

    ``settings`` is all that the scores depend on. ``records`` are the videos with scores that the file already holds:
    those that failed are tried again. Half a last line, as a killed run leaves it, is dropped.

    Raises InputError for a file that is no such file, and one that was begun with other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        # As JSON has them: tuples become lists.
        self._settings = json.loads(json.dumps(settings, allow_nan=False))
        self.records: dict[str, ClipRecord] = {}
        if path.exists():
            self._read()

    def open(self) -> None:
        """Write the settings and what was kept; from here on :meth:`add` appends."""
        lines = [{"format_version": PROGRESS_FORMAT_VERSION, "settings": self._settings}]
        lines += [_to_json(record) for record in self.records.values()]
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        with replace_when_done(self._path) as temporary_path:  # a kill here must not cost the lines that were kept
            temporary_path.write_text(text, encoding="utf-8")

    def add(self, record: ClipRecord) -> None:
        """Append the record of one video; it is on disk when this returns."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_to_json(record), allow_nan=False) + "\n")

    def remove(self) -> None:
        """Remove the file: the run is complete, and its results are elsewhere."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> None:
        hint = "give another --output, or --overwrite to begin anew"
        try:
            lines = self._path.read_text(encoding="utf-8").split("\n")[:-1]  # what follows the last line end is torn
            header = json.loads(lines[0]) if lines else {}
            version = header.get("format_version", PROGRESS_FORMAT_VERSION if not lines else None)
            if version != PROGRESS_FORMAT_VERSION:
                raise InputError(f"{self._path} has format_version {version!r}, not {PROGRESS_FORMAT_VERSION}; {hint}")
            found = header.get("settings", self._settings)
            if found != self._settings:
                differing = [key for key in {**found, **self._settings} if found.get(key) != self._settings.get(key)]
                raise InputError(
                    f"{self._path.parent} holds a run that was begun with other settings (differing: "
                    f"{', '.join(differing)}); {hint}"
                )
            records = [_from_json(json.loads(line)) for line in lines[1:]]
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self._path} is not the progress of a scoring run ({error}); {hint}") from error
        self.records = {record.video_id: record for record in records if record.status == "ok"}


def _to_json(record: ClipRecord) -> dict[str, Any]:
    values = asdict(record)
    for score in values["scores"]:
        score["value"] = None if math.isnan(score["value"]) else score["value"]
    return values


def _from_json(values: dict[str, Any]) -> ClipRecord:
    scores = tuple(
        Score(score["score"], score["map"], score["against"], math.nan if score["value"] is None else score["value"])
        for score in values.pop("scores")
    )
    curves = tuple(
        Curve(curve["score"], curve["map"], curve["against"], tuple(curve["probabilities"]))
        for curve in values.pop("curves")
    )
    return ClipRecord(**values, scores=scores, curves=curves)
