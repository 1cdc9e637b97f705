"""What the Parquet files of this package say of themselves: a JSON object with the version of their format."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videosoft.errors import InputError

METADATA_KEY = b"videosoft"


def read_table_metadata(
    metadata: Mapping[bytes, bytes] | None, path: Path, *, kind: str, newest_version: int
) -> dict[str, Any]:
    """The object of a file's schema metadata; only its format version has been looked at.

    Args:
        metadata: of the file's schema.
        path: the file, for messages.
        kind: what the file should be, such as "a manifest".
        newest_version: of that format, the newest that can be read.

    Raises:
        InputError: the file is of another origin, or damaged, or of a newer format.
    """
    if METADATA_KEY not in (metadata or {}):
        raise InputError(f"{path} is not {kind} of videosoft (no such metadata in it)")
    assert metadata is not None
    try:
        values = json.loads(metadata[METADATA_KEY])
    except (ValueError, RecursionError):
        raise InputError(f"{path} has damaged metadata (not JSON)") from None
    version = values.get("format_version") if isinstance(values, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{path} has damaged metadata: no valid format_version, got {version!r}")
    if version > newest_version:
        raise InputError(
            f"{path} has format_version {version}, newer than {newest_version}: this videosoft reads up to "
            f"{newest_version}; update videosoft or make the file anew"
        )
    result: dict[str, Any] = values
    return result
