"""The progress bar of a training."""

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar

from videosoft.data import ClipBatch
from videosoft.training.callbacks.clip_rate import ClipRate

_SECONDS_BETWEEN_DRAWINGS = 0.5


class TrainingProgressBar(TQDMProgressBar):
    """Lightning's bar with the loss and the epoch's rate, drawn anew twice a second at most.

    The loss is fetched from the device when it is shown, and only then: that waits for the step, which a GPU should not
    do at each.
    """

    def __init__(self, clip_rate: ClipRate) -> None:
        super().__init__(leave=True)
        self._clip_rate = clip_rate
        self._last_drawn = 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: ClipBatch, batch_idx: int
    ) -> None:
        is_last = batch_idx + 1 == trainer.num_training_batches
        if is_last or time.monotonic() - self._last_drawn >= _SECONDS_BETWEEN_DRAWINGS:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            self._last_drawn = time.monotonic()

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        if trainer.training:
            loss = trainer.callback_metrics.get("train/loss")
            if loss is not None:
                metrics["train/loss"] = float(loss)
            metrics.update(self._clip_rate.measure_epoch(trainer))
        return metrics
