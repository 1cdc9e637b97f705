"""Output files are there as a whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from videosoft.errors import InputError


@contextlib.contextmanager
def replace_when_done(path: Path) -> Iterator[Path]:
    """Give a temporary name in the same folder; what was written there takes the place of ``path`` at the end.

    Raises:
        InputError: the folder is missing or cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
