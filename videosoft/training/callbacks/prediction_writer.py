"""What a test or predict run leaves: predictions.parquet, metrics.json."""

from pathlib import Path
from typing import Any

import lightning as L

from videosoft.data import ClipBatch
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
