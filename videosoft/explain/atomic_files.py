"""Files that are either complete or absent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["replace_when_done", "write_json"]

_TEMPORARY_PREFIX = ".unfinished-"


@contextmanager
def replace_when_done(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder to write to; it takes the place of ``path`` when the block ends well.

    After an error or an interruption the temporary file is gone and an older ``path`` is untouched.
    """
    temporary_path = path.with_name(_TEMPORARY_PREFIX + path.name)
    try:
        yield temporary_path
        temporary_path.replace(path)
    finally:
        temporary_path.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a dict as JSON; NaN and infinity, which JSON does not know, are refused by ValueError."""
    with replace_when_done(path) as temporary_path:
        temporary_path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
