"""What the terminal need not hear from Lightning."""

import logging
import warnings

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
    warnings.filterwarnings("ignore", message=r".*treespec, LeafSpec.* is deprecated")


def _is_wanted(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_UNWANTED)
