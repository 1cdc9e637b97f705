"""The one error type for wrong input, and how a command line shows it."""

import os
import signal
import sys
from collections.abc import Callable

from videosoft.printable import make_printable


class InputError(ValueError):
    """Something the user gave is wrong: a parameter, a file, a row of a file.

    The message names the culprit (file and line for data), says what is allowed and what to do.
    """


def first_line(error: BaseException) -> str:
    """What another's error says, without the lines that follow; its kind where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def run_command(main: Callable[[], None]) -> int:
    """Run a command line and return its exit code: wrong input ends in one clear message, never in a traceback.

    Set ``VIDEOSOFT_TRACEBACK=1`` to see the traceback of an :class:`InputError` all the same. A reader of the output
    that has enough, as in ``... | head``, ends the command without a word, with the exit code of SIGPIPE.
    """
    try:
        try:
            return _run(main)
        finally:
            # What is still in the buffer would find no reader either, outside of our reach.
            sys.stdout.flush()
    except BrokenPipeError:
        if _has_reader():
            raise
        # The interpreter flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _run(main: Callable[[], None]) -> int:
    try:
        main()
    except InputError as error:
        if os.environ.get("VIDEOSOFT_TRACEBACK") == "1":
            raise
        print(f"error: {_format_message(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _has_reader() -> bool:
    """Whether standard output still goes somewhere: the broken pipe may have been another one."""
    try:
        print(flush=True)
    except BrokenPipeError:
        return False
    return True


def _format_message(error: Exception) -> str:
    """What an error says, without what names from files and folders could do to a terminal; lines stay lines."""
    return "\n".join(make_printable(line) for line in str(error).split("\n"))
