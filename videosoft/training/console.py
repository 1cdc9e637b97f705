"""What the terminal need not hear from Lightning."""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator

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
def let_interrupts_through() -> Iterator[None]:
    """Make a Ctrl-C in Lightning's hands a KeyboardInterrupt again: it cleans up, and ends with exit code 1."""
    try:
        yield
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        print(file=sys.stderr)  # below the progress bar
        raise KeyboardInterrupt from None


def _is_wanted(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_UNWANTED)
