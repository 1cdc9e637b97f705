"""Which videos of a run could not be used, and why; and of how many the frames had to be repeated."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_info

from videosoft.atomic_files import replace_when_done
from videosoft.data import ClipBatch
from videosoft.errors import InputError
from videosoft.spreadsheets import guard_cell
from videosoft.training.processes import gather_rows


class FailureLog(L.Callback):
    """List videos that could not be used, each once, in ``failures.csv`` of the run's folder, and count them aloud.

    Videos of which a clip repeats frames are counted aloud as well.
    An epoch without a single usable training video, in any process, ends the run with an :class:`InputError`.
    """

    def __init__(self) -> None:
        self._failures: dict[str, dict[str, Any]] = {}  # in the first process those of all, by path
        self._unreported: dict[str, dict[str, Any]] = {}
        self._repeated: set[str] = set()  # paths, likewise
        self._unreported_repeated: set[str] = set()
        self._num_clips = 0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._num_clips = 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: ClipBatch, batch_idx: int
    ) -> None:
        self._add(batch)
        self._num_clips += len(batch["label"])
        if batch_idx + 1 == trainer.num_training_batches and not self._count_clips(trainer):
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
            if sample["path"] not in self._failures:
                self._unreported[sample["path"]] = sample
        for sample in batch["samples"]:
            if sample["repeats_frames"] and sample["path"] not in self._repeated:
                self._unreported_repeated.add(sample["path"])

    def _count_clips(self, trainer: L.Trainer) -> int:
        counted = torch.tensor(self._num_clips, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(counted, reduce_op="sum"))

    def _report(self, trainer: L.Trainer) -> None:
        """All processes take part: each brings its own failures, and Lightning hands the folder's name round."""
        self._report_repeated(trainer)
        log_dir = trainer.log_dir
        found = gather_rows(trainer, list(self._unreported.values()))
        self._failures.update(self._unreported)
        self._unreported = {}
        if not found:
            return
        self._failures.update((sample["path"], sample) for sample in found)
        counts = Counter(sample["status"] for sample in self._failures.values())
        summary = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        where = ""
        if log_dir is not None:
            path = Path(log_dir) / "failures.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with (
                replace_when_done(path) as temporary_path,
                temporary_path.open("w", newline="", encoding="utf-8") as file,
            ):
                writer = csv.DictWriter(file, ["status", "path", "reason"], extrasaction="ignore")
                writer.writeheader()
                for sample in self._failures.values():
                    writer.writerow({key: guard_cell(value) for key, value in sample.items() if isinstance(value, str)})
            where = f"; listed in {path}"
        rank_zero_info(f"videos left out so far: {summary}{where}")

    def _report_repeated(self, trainer: L.Trainer) -> None:
        found = gather_rows(trainer, [{"path": path} for path in self._unreported_repeated])
        self._repeated |= self._unreported_repeated
        self._unreported_repeated = set()
        if found:
            self._repeated.update(row["path"] for row in found)
            rank_zero_info(
                f"{len(self._repeated)} videos so far had frames repeated (shorter than a clip, or of a lower rate)"
            )
