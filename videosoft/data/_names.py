"""Checks of names and paths that come out of files: they become parts of paths and of printed tables."""

import unicodedata

from videosoft.errors import InputError

_MOST_BYTES = 200  # file systems allow 255 for a name, of which a suffix and a time span take some


def check_name(text: str, where: str) -> str:
    """Return a label, id or file name unchanged.

    Raises:
        InputError: it could leave the root or garble a terminal.
    """
    if text.isascii() and text.isprintable() and 2 < len(text) <= _MOST_BYTES and "/" not in text and "\\" not in text:
        return text  # what nearly all names are, told fast
    problem = None
    if not text:
        problem = "is empty"
    elif text in (".", ".."):
        problem = "is a path of its own"
    elif "/" in text or "\\" in text:
        problem = "has a path separator"
    elif has_control_characters(text):
        problem = "has control characters or bytes that are not UTF-8"
    elif len(text.encode()) > _MOST_BYTES:
        problem = f"is longer than {_MOST_BYTES} bytes"
    if problem:
        raise InputError(f"{where} {problem}: {quote(text)}")
    return text


def check_relative_path(text: str, where: str) -> str:
    """Return a path with ``/`` between its parts unchanged, ``./`` at its start taken off.

    Raises:
        InputError: it is absolute, has a part ``..``, or a part that :func:`check_name` refuses.
    """
    path = text
    while path.startswith("./"):
        path = path[2:]
    if path.startswith("/"):
        raise InputError(f"{where} is absolute: {quote(text)}; give paths relative to the data root")
    for part in path.split("/"):
        if part == "..":
            raise InputError(f"{where} leaves its folder by '..': {quote(text)}")
        check_name(part, f"{where}: part of a path")
    return path


def has_control_characters(text: str) -> bool:
    """Whether a text has control characters or lone surrogates (bytes that were not UTF-8)."""
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def quote(text: str) -> str:
    """A text as it may be printed: escaped, and cut where it is long."""
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return repr(shown)
