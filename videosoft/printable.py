"""Texts from files and file names, fit for a terminal."""


def make_printable(text: str) -> str:
    """The text on one line; no escape sequence, and no byte that is not UTF-8, reaches the terminal from it."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
