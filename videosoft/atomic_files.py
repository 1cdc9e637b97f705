"""Files that are either complete or absent, and output folders that are known to be usable before the work begins."""

import contextlib
import glob
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from videosoft.errors import InputError

__all__ = [
    "UNFINISHED_PREFIX",
    "check_output_folder",
    "get_unfinished_path",
    "remove_unfinished",
    "replace_when_done",
    "write_json",
]

UNFINISHED_PREFIX = ".unfinished-"
_NUM_ATTEMPTS = 200


def get_unfinished_path(path: Path, process_id: int) -> Path:
    """Where a process writes a file before it has its name; two runs that write one file must not share it."""
    return path.with_name(f"{UNFINISHED_PREFIX}{process_id}-{path.name}")


@contextlib.contextmanager
def replace_when_done(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder to write to; it takes the place of ``path`` when the block ends well.

    After an error or an interruption the temporary file is gone and an older ``path`` is untouched.

    Raises:
        InputError: the folder is missing or cannot be written to, or ``path`` is a folder.
    """
    temporary_path = get_unfinished_path(path, os.getpid())
    try:
        yield temporary_path
        temporary_path.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary_path.unlink()


def remove_unfinished(path: Path) -> None:
    """Remove what runs that were killed while they wrote ``path`` left of it; none must be writing it now."""
    for temporary_path in path.parent.glob(f"{UNFINISHED_PREFIX}*-{glob.escape(path.name)}"):
        if temporary_path.name.removeprefix(UNFINISHED_PREFIX).removesuffix(f"-{path.name}").isdecimal():
            temporary_path.unlink()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a dict as JSON; NaN and infinity, which JSON does not know, are refused by ValueError."""
    with replace_when_done(path) as temporary_path:
        temporary_path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def check_output_folder(path: Path) -> None:
    """See that files can be put in a folder, and leave all as it was: a long run must not fail when it writes results.

    Raises:
        InputError: the folder cannot be made or written to, or is a file.
    """
    for attempt in range(_NUM_ATTEMPTS):
        try:
            _try_folder(path)
            return
        except OSError as error:
            # The processes of a run look at the same moment: what one has made, another may make or remove.
            if isinstance(error, FileExistsError | FileNotFoundError) and attempt + 1 < _NUM_ATTEMPTS:
                continue
            raise InputError(
                f"output folder {path} cannot be used: {error.strerror or error}; name another folder"
            ) from error


def _try_folder(path: Path) -> None:
    made: list[Path] = []
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        # Tried out, not asked for: os.access says yes to root where nothing can be made.
        for folder in reversed(missing):
            folder.mkdir()
            made.append(folder)
        with tempfile.TemporaryFile(dir=path):
            pass
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()
