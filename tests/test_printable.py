"""Names from files reach the terminal as what they are: text."""

import pytest

from videosoft.errors import InputError, run_command
from videosoft.printable import make_printable

CASES = [
    ("archery", "archery"),
    ("tai chi \u592a\u6975", "tai chi \u592a\u6975"),
    ("\x1b[31mred", "\\x1b[31mred"),
    ("two\nlines\r", "two\\nlines\\r"),
    ("\u202efdp.exe", "\\u202efdp.exe"),
    ("not \udcff UTF-8", "not \\udcff UTF-8"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_make_printable(text: str, expected: str) -> None:
    assert make_printable(text) == expected


def test_messages_of_errors_keep_their_lines_and_lose_what_a_terminal_would_obey(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main() -> None:
        raise InputError("video 'a\x1b]0;b\x07.mp4' is broken:\nsecond line")

    assert run_command(main) == 2
    assert capsys.readouterr().err == "error: video 'a\\x1b]0;b\\x07.mp4' is broken:\nsecond line\n"
