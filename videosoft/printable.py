"""Texts from files and file names, fit for a terminal and for a figure."""

import sys


def make_printable(text: str) -> str:
    """The text on one line; no escape sequence, and no byte that is not UTF-8, reaches the terminal from it."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def replace_unprintable(text: str) -> str:
    """The text on one line, each character that cannot be printed (an undecodable byte, too) replaced by U+FFFD."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def fit_terminal(text: str) -> str:
    """The text as :func:`replace_unprintable` gives it, in the characters that standard output's encoding has."""
    encoding = sys.stdout.encoding or "utf-8"
    return replace_unprintable(text).encode(encoding, "replace").decode(encoding)
