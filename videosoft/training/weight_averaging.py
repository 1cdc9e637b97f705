"""Averaged weights (EMA, SWA) by Lightning's WeightAveraging: what a training with them may be resumed with.

docs/decisions/0016-which-weights-count.md says which weights are validated and saved where.
"""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging

from videosoft.errors import InputError


def check_weight_averaging(checkpoint: dict[str, Any], trainer: L.Trainer) -> None:
    """See that a training with averaged weights goes on with averaging.

    Without it the average would be taken for the weights that the optimiser was working on.

    Raises:
        InputError: the checkpoint has averaged weights, and the trainer has no callback for them.
    """
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    if "current_model_state" in checkpoint and not any(isinstance(item, WeightAveraging) for item in callbacks):
        raise InputError(
            "the checkpoint is of a training with averaged weights: resume it with the callback that averages them "
            "(trainer.callbacks in config.yaml of its run's folder)."
        )
