"""What the terminal need not hear from Lightning, and how it hears of a signal."""

import contextlib
import logging
import signal
import sys
import warnings
from collections.abc import Iterator

from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

# The beginnings of advertisements, of what is said at every run and helps nobody, and of what we say ourselves.
_UNWANTED = (
    "\N{ELECTRIC LIGHT BULB} Tip: For seamless cloud",
    "Loading `train_dataloader` to estimate",
    "\nDetected KeyboardInterrupt",
)


def silence_advertisements() -> None:
    """Take the advertisements of Lightning out of its log, and a warning that it causes within torch."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_wanted)
    # Not so with us: videosoft.training.precision.
    warnings.filterwarnings("ignore", message=r".*AMP with fp16 is not supported on CPU")
    # They are logged in the first process, which has counted the videos of all.
    warnings.filterwarnings("ignore", message=r"It is recommended to use `self.log\('test/")
    warnings.filterwarnings("ignore", message=r".*treespec, LeafSpec.* is deprecated")


@contextlib.contextmanager
def end_by_signal_numbers() -> Iterator[None]:
    """Let the exit code tell which signal has ended a run: 128 plus its number.

    Lightning itself cleans up and ends with 1 after Ctrl-C, which is a KeyboardInterrupt again from here on, and with 0
    after a SIGTERM, as if all had been done.
    """
    try:
        yield
    except SIGTERMException:
        if getattr(rank_zero_only, "rank", 0) != 0:
            # Lightning kills all processes as soon as one of those that it started has failed.
            raise SystemExit(0) from None
        print("\nSIGTERM: ended before all was done", file=sys.stderr)
        raise SystemExit(128 + signal.SIGTERM) from None
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        print(file=sys.stderr)  # below the progress bar
        raise KeyboardInterrupt from None


def _is_wanted(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_UNWANTED)
