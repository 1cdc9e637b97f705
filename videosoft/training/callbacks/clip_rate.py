"""How fast a training goes, and what it waits for."""

import time
from typing import Any

import lightning as L

from videosoft.data import ClipBatch, ResumableLoader


class ClipRate(L.Callback):
    """Show clips per second of the running epoch, and the share of its time that was spent waiting for data."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._begin(trainer)  # an epoch that is resumed in the middle has no start

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._begin(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: ClipBatch, batch_idx: int
    ) -> None:
        size = len(batch["label"])
        self._num_clips += size
        seconds = time.perf_counter() - self._started
        rates = {"clips_per_second": self._num_clips * trainer.world_size / seconds}
        if isinstance(trainer.train_dataloader, ResumableLoader):
            rates["data_wait_percent"] = 100 * (trainer.train_dataloader.seconds_waited - self._waited_before) / seconds
        pl_module.log_dict(rates, prog_bar=True, batch_size=max(size, 1))

    def _begin(self, trainer: L.Trainer) -> None:
        self._started = time.perf_counter()
        self._num_clips = 0
        loader = trainer.train_dataloader
        self._waited_before = loader.seconds_waited if isinstance(loader, ResumableLoader) else 0.0
