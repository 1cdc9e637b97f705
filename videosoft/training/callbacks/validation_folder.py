"""What callbacks keep of the last validation: the folder ``validation`` of the run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
from lightning.pytorch.utilities import rank_zero_info

from videosoft.errors import InputError


def find_validation_folder(trainer: L.Trainer) -> Path | None:
    """The folder, which need not be there; None where the run has none.  All processes must ask together."""
    log_dir = trainer.log_dir  # the first one's, which Lightning hands round
    return None if log_dir is None else Path(log_dir, "validation")


def describe_moment(trainer: L.Trainer) -> str:
    """When in a fit the validation is: " after step 12 (epoch 3)"; nothing outside of a fit."""
    return f" after step {trainer.global_step} (epoch {trainer.current_epoch})" if trainer.global_step else ""


def get_log_step(trainer: L.Trainer) -> int:
    """The step that Lightning logs this validation's metrics by."""
    return max(0, trainer.global_step - 1)


@contextmanager
def warn_if_full(folder: Path) -> Iterator[None]:
    """While files are written there: where that fails, on a full disk, the training goes on with a warning."""
    try:
        yield
    except (OSError, InputError) as error:
        rank_zero_info(f"warning: {folder} lacks something of this validation: {error}")
