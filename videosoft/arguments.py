"""Types of command-line arguments that several tools share."""

import argparse


def parse_positive(text: str) -> int:
    """A whole number of at least 1, as the ``type`` of an argument.

    Raises:
        argparse.ArgumentTypeError: it is something else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)
