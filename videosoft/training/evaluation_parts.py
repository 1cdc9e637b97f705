"""What an evaluation has finished, in parts on disk, so that it can be interrupted at any video and go on there."""

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videosoft.atomic_files import write_json
from videosoft.errors import InputError
from videosoft.evaluation import read_predictions, write_predictions

FOLDER_NAME = "unfinished"
FORMAT_VERSION = 1
SECONDS_BETWEEN_PARTS = 60.0

_SETTINGS_NAME = "settings.json"


def has_parts(output_dir: Path) -> bool:
    """Whether an interrupted evaluation has left something to go on from."""
    return bool(_list_parts(output_dir / FOLDER_NAME))


class EvaluationParts:
    """Rows of finished videos in ``<output_dir>/unfinished``, until the whole table is there.

    A part is a predictions file, with a JSON file beside it that names the videos whose frames were repeated; it counts
    when the predictions file, which is written last, is there.

    Args:
        output_dir: where the whole table goes.
        settings: what the rows depend on, ``checkpoint_hash`` and ``views`` among it.
        class_names: in the order of the labels.

    Attributes:
        rows: those of the parts that an earlier evaluation left, with exactly the columns of predictions.parquet.
        repeated: ids of the videos among them whose frames were repeated.
        is_kept: whether there is something on disk to go on from.
    """

    def __init__(self, output_dir: Path, settings: Mapping[str, Any], *, class_names: Sequence[str]) -> None:
        self._folder = output_dir / FOLDER_NAME
        self._settings = dict(settings)
        self._class_names = class_names
        self._rank, self._number = 0, 0
        self._new_rows: list[dict[str, Any]] = []
        self._new_repeated: list[str] = []
        self._written_at = time.monotonic()
        self.rows: list[dict[str, Any]] = []
        self.repeated: set[str] = set()
        self.is_kept = False

    def read(self, more_settings: Mapping[str, Any]) -> None:
        """Take up what an earlier evaluation left.

        Args:
            more_settings: what the rows depend on besides, and is known only now.

        Raises:
            InputError: it had other settings, or its files are damaged.
        """
        self._settings |= more_settings
        parts = _list_parts(self._folder)
        if not parts:  # nothing to go on with, hence nothing that other settings could contradict
            return
        hint = "give another --output, or --overwrite to begin anew"
        path = self._folder / _SETTINGS_NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version, found = content["format_version"], content["settings"]
            if version != FORMAT_VERSION:
                raise InputError(f"{path} has format_version {version!r}, not {FORMAT_VERSION}; {hint}")
            if differing := [key for key in {**found, **self._settings} if found.get(key) != self._settings.get(key)]:
                raise InputError(
                    f"{self._folder} holds an evaluation that was begun with other settings (differing: "
                    f"{', '.join(differing)}); {hint}"
                )
            for part in parts:
                self._read_part(part, hint)
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError(f"{self._folder} is not what an evaluation left ({error}); {hint}") from error

    def open(self, rank: int) -> None:
        """Get ready to write parts of process ``rank``; all processes must have read before."""
        self._rank, self.is_kept = rank, bool(self.rows)
        if rank == 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json(self._folder / _SETTINGS_NAME, {"format_version": FORMAT_VERSION, "settings": self._settings})
        self._written_at = time.monotonic()

    def add(self, rows: Sequence[dict[str, Any]], repeated: Sequence[str]) -> None:
        """Keep the rows of a batch, and write a part when the last one is a minute old."""
        self._new_rows += rows
        self._new_repeated += repeated
        if time.monotonic() - self._written_at >= SECONDS_BETWEEN_PARTS:
            self.write()

    def write(self) -> None:
        """Write what no part holds yet."""
        if self._new_rows:
            path = self._folder / f"part_{self._number:06d}_{self._rank}.parquet"
            write_json(path.with_suffix(".json"), {"repeated": self._new_repeated})
            write_predictions(
                path,
                self._new_rows,
                class_names=self._class_names,
                checkpoint_hash=str(self._settings["checkpoint_hash"]),
                protocol=str(self._settings["views"]),
            )
            self._number += 1
            self.is_kept = True
            self._new_rows, self._new_repeated = [], []
        self._written_at = time.monotonic()

    def remove(self) -> None:
        """Remove all parts: the whole table is written, or the evaluation begins anew."""
        for path in [*self._folder.glob("part_*"), self._folder / _SETTINGS_NAME]:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not there, or somebody else's files in it
            self._folder.rmdir()
        self.is_kept = False

    def _read_part(self, path: Path, hint: str) -> None:
        try:
            table = read_predictions(path)
        except InputError as error:
            raise InputError(f"{error}; {hint}") from None
        found = (table.class_names, table.checkpoint_hash, table.protocol)
        if found != (tuple(self._class_names), self._settings["checkpoint_hash"], self._settings["views"]):
            raise InputError(f"{path} is of another evaluation; {hint}")
        # Arrays, not lists: of Python's numbers, some ten times as large, a split of Kinetics has 1.6 GB a process.
        vectors = {name: iter(table.stack_vectors(name)) for name in ("probabilities", "logits")}
        for row in table.rows.drop_columns(list(vectors)).to_pylist():
            is_evaluated = row["status"] == "ok"
            self.rows.append(row | {name: next(values) if is_evaluated else None for name, values in vectors.items()})
        self.repeated.update(json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["repeated"])
        self._number = max(self._number, int(path.stem.split("_")[1]) + 1)


def _list_parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part_*.parquet"))
