"""Words and numbers of reports."""

from videosoft.printable import make_printable


def shorten(text: str, most_characters: int) -> str:
    """A printable text, cut where it is long: ``playing a very lo...``."""
    text = make_printable(text)
    return text if len(text) <= most_characters else f"{text[: most_characters - 3]}..."
