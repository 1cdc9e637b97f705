"""What a run reports besides its metrics: its rate, its broken videos, its predictions."""

import csv
import time
from collections import Counter
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from videosoft.data import ClipBatch, ResumableLoader
from videosoft.data.coverage import guard_cell
from videosoft.errors import InputError
from videosoft.evaluation import (
    compute_metrics,
    format_metrics,
    read_predictions,
    write_metrics,
    write_predictions,
)
from videosoft.training.classifier import VideoClassifier
from videosoft.training.datamodule import KineticsDataModule


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


class PredictionWriter(L.Callback):
    """Collect one row a video over a test or predict run; write predictions.parquet, and metrics.json after a test.

    Args:
        output_dir: where to; the run's own folder when not given.
        checkpoint_hash: sha256 of the checkpoint that is evaluated; empty for weights that no file holds.
        command: the command line, kept in metrics.json.
    """

    def __init__(self, output_dir: Path | None, *, checkpoint_hash: str, command: str) -> None:
        self._output_dir = output_dir
        self._checkpoint_hash = checkpoint_hash
        self._command = command
        self._rows: list[dict[str, Any]] = []

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage in ("test", "predict") and trainer.world_size > 1:
            raise InputError(
                f"testing on {trainer.world_size} devices at once is not supported yet: pass --trainer.devices 1."
            )

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._rows = []

    def on_predict_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._rows = []

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: ClipBatch, *args: Any
    ) -> None:
        self._rows.extend(outputs["rows"])

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: ClipBatch, *args: Any
    ) -> None:
        self._rows.extend(outputs["rows"])

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        path = self._write_predictions(trainer, pl_module)
        metrics = compute_metrics(read_predictions(path), command=self._command)
        metrics_path = path.with_name("metrics.json")
        write_metrics(metrics_path, metrics)
        for name in ("top1", "top5", "mean_class_accuracy"):
            if metrics[name] is not None:
                pl_module.log(f"test/{metrics['protocol']}_{name}", float(metrics[name]))
        print(f"\n{format_metrics(metrics)}\n\n{metrics_path}\n{path}")
        if not metrics["num_evaluated"]:
            raise InputError(f"none of the {metrics['num_videos']} videos could be evaluated; {path} lists them.")

    def on_predict_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        path = self._write_predictions(trainer, pl_module)
        class_names = pl_module.class_names if isinstance(pl_module, VideoClassifier) else ()
        for row in self._rows:
            print(_format_top_classes(row, class_names))
        print(path)

    def _write_predictions(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Path:
        data = getattr(trainer, "datamodule", None)
        assert isinstance(data, KineticsDataModule)
        assert isinstance(pl_module, VideoClassifier)
        num_clips, num_crops = data.test_views
        output_dir = self._output_dir or Path(trainer.log_dir or trainer.default_root_dir)
        try:
            output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"output folder {output_dir} cannot be made: {error.strerror or error}") from error
        path = output_dir / "predictions.parquet"
        write_predictions(
            path,
            self._rows,
            class_names=pl_module.class_names,
            checkpoint_hash=self._checkpoint_hash,
            protocol="windows" if num_clips == "windows" else f"{num_clips}x{num_crops}",
        )
        return path


def _format_top_classes(row: dict[str, Any], class_names: tuple[str, ...], num_classes: int = 5) -> str:
    if row["probabilities"] is None:
        return f"{row['path']}: {row['status']}"
    ranked = sorted(zip(row["probabilities"], class_names, strict=True), reverse=True)[:num_classes]
    return f"{row['path']}: " + ", ".join(f"{name} {probability:.3f}" for probability, name in ranked)
