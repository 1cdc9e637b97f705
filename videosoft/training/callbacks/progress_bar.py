"""The progress bar of a training."""

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar

from videosoft.data import ClipBatch
from videosoft.training.callbacks.clip_rate import ClipRate
from videosoft.training.classifier import VideoClassifier

_SECONDS_BETWEEN_DRAWINGS = 1.0


class TrainingProgressBar(TQDMProgressBar):
    """Lightning's bar with the loss and the epoch's rate, drawn anew once a second at most.

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
            assert isinstance(pl_module, VideoClassifier)
            if pl_module.step_loss is not None:
                metrics["train/loss"] = float(pl_module.step_loss)
            metrics.update(self._clip_rate.measure_epoch(trainer))
        return metrics
