"""Words and numbers of reports."""


def make_printable(text: str) -> str:
    """Names come from data: no escape sequence of theirs reaches the terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def shorten(text: str, most_characters: int) -> str:
    """A printable text, cut where it is long: ``playing a very lo...``."""
    text = make_printable(text)
    return text if len(text) <= most_characters else f"{text[: most_characters - 3]}..."
