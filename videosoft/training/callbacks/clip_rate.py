"""How fast a training goes, and what it waits for."""

import time
from dataclasses import dataclass, field
from typing import Any

import lightning as L

from videosoft.data import ClipBatch, ResumableLoader
from videosoft.training.log_steps import is_logged


@dataclass
class _Stretch:
    """A part of the training, without the validations in it."""

    seconds_waited_before: float
    started: float = field(default_factory=time.perf_counter)
    num_clips: int = 0


class ClipRate(L.Callback):
    """Log clips per second, and the share of the time spent waiting for data, both since what was logged before.

    Validations do not count.  With several processes the clips are those of all, the waiting is the first one's.
    """

    _epoch: _Stretch
    _logged: _Stretch

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._begin_epoch(trainer)  # an epoch that is resumed in the middle has no start

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._begin_epoch(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            pause = time.perf_counter() - self._paused
            self._epoch.started += pause
            self._logged.started += pause

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: ClipBatch, batch_idx: int
    ) -> None:
        # (B, R, C, T, H, W) where each video brings several clips
        num_repeats = batch["video"].shape[1] if batch["video"].ndim == 6 else 1
        num_clips = len(batch["label"]) * num_repeats * trainer.world_size
        self._epoch.num_clips += num_clips
        self._logged.num_clips += num_clips
        if is_logged(trainer, trainer.global_step):
            pl_module.log_dict(self._measure(trainer, self._logged), batch_size=1)
            self._logged = _Stretch(_count_seconds_waited(trainer))

    def measure_epoch(self, trainer: L.Trainer) -> dict[str, float]:
        """``clips_per_second`` and ``data_wait_percent`` of the running epoch so far."""
        return self._measure(trainer, self._epoch)

    def _begin_epoch(self, trainer: L.Trainer) -> None:
        self._epoch = _Stretch(_count_seconds_waited(trainer))
        self._logged = _Stretch(_count_seconds_waited(trainer))

    def _measure(self, trainer: L.Trainer, stretch: _Stretch) -> dict[str, float]:
        seconds = max(time.perf_counter() - stretch.started, 1e-9)
        rates = {"clips_per_second": stretch.num_clips / seconds}
        if isinstance(trainer.train_dataloader, ResumableLoader):
            waited = _count_seconds_waited(trainer) - stretch.seconds_waited_before
            rates["data_wait_percent"] = 100 * waited / seconds
        return rates


def _count_seconds_waited(trainer: L.Trainer) -> float:
    loader = trainer.train_dataloader
    return loader.seconds_waited if isinstance(loader, ResumableLoader) else 0.0
