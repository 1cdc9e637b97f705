"""``last.ckpt``: where a training goes on that was killed."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from videosoft.training.checkpoints.atomic_io import save_checkpoint
from videosoft.training.checkpoints.names import LAST_NAME


class LastCheckpoint(Checkpoint):
    """Write ``last.ckpt`` at the end of every epoch, before every validation, and after every so many steps.

    What is written before a validation makes the training that goes on with it begin with that validation. Nothing is
    written between the batches of one optimiser step, whose gradients would be lost.

    Args:
        folder: of the run's checkpoints.
        every_n_steps: optimiser steps from one to the next; None: only before validations and at the ends of epochs.
    """

    def __init__(self, folder: Path, *, every_n_steps: int | None = None) -> None:
        self.path = folder / LAST_NAME
        self._every_n_steps = every_n_steps
        self._saved_step = 0
        self._is_before_validation = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._saved_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.is_saved(trainer) or not is_step_complete(trainer, batch_idx):
            return
        is_due = self._every_n_steps is not None and trainer.global_step % self._every_n_steps == 0
        is_end = trainer.global_step == trainer.max_steps
        if is_due or is_end or will_validate(trainer):
            self.save_after_step(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_last_batch:  # an epoch that max_steps cuts short has no end to go on from, only a last step
            self._save(trainer)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._is_before_validation:
            _mark_validation_as_due(checkpoint)

    def is_saved(self, trainer: L.Trainer) -> bool:
        """Whether the file holds the step that was made last."""
        return trainer.global_step == self._saved_step

    def save_after_step(self, trainer: L.Trainer) -> None:
        """Write the file in ``on_train_batch_end``, after all other callbacks have done theirs."""
        self._is_before_validation = will_validate(trainer)
        try:
            self._save(trainer)
        finally:
            self._is_before_validation = False

    def _save(self, trainer: L.Trainer) -> None:
        save_checkpoint(trainer, self.path)
        self._saved_step = trainer.global_step


def is_step_complete(trainer: L.Trainer, batch_idx: int) -> bool:
    """Whether a batch is the last of those whose gradients make one optimiser step."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch


def will_validate(trainer: L.Trainer) -> bool:
    """Whether a validation follows on the batch that was just trained on."""
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def _mark_validation_as_due(checkpoint: dict[str, Any]) -> None:
    """Let the counters of Lightning's loops stand where they do within the first batch of the validation.

    As they are at the end of a batch, Lightning (2.6) would take the validation for done; within the validation they
    are right, but then the weights may be swapped for averaged ones.
    """
    counters = checkpoint["loops"]["fit_loop"]
    for progress in counters["epoch_loop.batch_progress"]["total"], counters["epoch_loop.batch_progress"]["current"]:
        progress["completed"] += 1
    validation = counters["epoch_loop.val_loop.batch_progress"]
    validation["total"]["ready"] += 1
    validation["total"]["started"] += 1
    validation["current"] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    validation["is_last_batch"] = False
