"""Which videos a run could not use."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from videosoft.data import ClipBatch
from videosoft.data.coverage import guard_cell
from videosoft.errors import InputError


class FailureLog(L.Callback):
    """List videos that could not be used, each once, in ``failures.csv`` of the run's folder, and count them aloud.

    An epoch without a single usable training video ends the run with an :class:`InputError`.
    """

    def __init__(self) -> None:
        self._failures: dict[str, dict[str, Any]] = {}
        self._num_reported = 0
        self._num_clips = 0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._num_clips = 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: ClipBatch, batch_idx: int
    ) -> None:
        self._add(batch)
        self._num_clips += len(batch["label"])
        if batch_idx + 1 == trainer.num_training_batches and not self._num_clips:
            self._report(trainer)
            raise InputError("no training video of this epoch could be used; failures.csv of the run says why each.")

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: ClipBatch, *args: Any
    ) -> None:
        self._add(batch)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._report(trainer)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._report(trainer)

    def _add(self, batch: ClipBatch) -> None:
        for sample in batch["failures"]:
            self._failures.setdefault(sample["path"], sample)

    @rank_zero_only
    def _report(self, trainer: L.Trainer) -> None:
        if len(self._failures) == self._num_reported:
            return
        self._num_reported = len(self._failures)
        counts = Counter(sample["status"] for sample in self._failures.values())
        summary = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        where = ""
        if trainer.log_dir is not None:
            path = Path(trainer.log_dir) / "failures.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, ["status", "path", "reason"], extrasaction="ignore")
                writer.writeheader()
                for sample in self._failures.values():
                    writer.writerow({key: guard_cell(value) for key, value in sample.items() if isinstance(value, str)})
            where = f"; listed in {path}"
        rank_zero_info(f"videos left out so far: {summary}{where}")
