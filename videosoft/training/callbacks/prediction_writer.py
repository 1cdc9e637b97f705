"""What a test or predict run leaves: predictions.parquet, and after a test its metrics and pictures."""

import contextlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import lightning as L

from videosoft.data import ClipBatch
from videosoft.errors import InputError
from videosoft.evaluation import (
    PredictionTable,
    describe_repeated,
    format_metrics,
    write_evaluation,
    write_predictions,
)
from videosoft.printable import make_printable
from videosoft.training.classifier import VideoClassifier
from videosoft.training.datamodule import KineticsDataModule
from videosoft.training.evaluation_parts import EvaluationParts
from videosoft.training.processes import gather_rows, run_on_first

_NUM_SHOWN_CLASSES = 5


class PredictionWriter(L.Callback):
    """Collect one row a video over a test or predict run; write predictions.parquet and, after a test, its evaluation.

    Args:
        output_dir: where to; the run's own folder when not given.
        checkpoint_hash: sha256 of the checkpoint that is evaluated; empty for weights that no file holds.
        command: the command line, kept in metrics.json.
        parts: where a test keeps what is finished, and finds what an earlier one has kept.
    """

    def __init__(
        self, output_dir: Path | None, *, checkpoint_hash: str, command: str, parts: EvaluationParts | None = None
    ) -> None:
        self._output_dir = output_dir
        self._checkpoint_hash = checkpoint_hash
        self._command = command
        self._parts = parts
        self._rows: list[dict[str, Any]] = []
        self._repeated: list[dict[str, Any]] = []  # the videos whose frames were repeated

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self._parts is None:
            return
        data = _get_data(trainer)
        manifest_hash = data.describe_data()["manifest_hash"]["test"]
        self._parts.read({"manifest_hash": manifest_hash, "device": trainer.strategy.root_device.type})
        num_done = data.leave_out_of_test({row["video_id"]: row["status"] for row in self._parts.rows})
        trainer.strategy.barrier()  # nobody writes before all have read
        self._parts.open(trainer.global_rank)
        if num_done and trainer.is_global_zero:
            num_videos = len(data.get_dataset("test"))
            print(f"going on: {num_done} of {num_videos} videos are evaluated already", file=sys.stderr)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self._parts is None or not trainer.testing:
            return
        with contextlib.suppress(InputError):  # what cannot be written has been said, or is less than a minute's work
            self._parts.write()
        if self._parts.is_kept and trainer.is_global_zero:
            print(
                "\nWhat is evaluated is kept: the same command, without --overwrite, goes on from here.",
                file=sys.stderr,
            )

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._rows, self._repeated = [], []

    def on_predict_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._rows, self._repeated = [], []

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: ClipBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._add(trainer, outputs, batch, batch_idx)

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: ClipBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._add(trainer, outputs, batch, batch_idx)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        output_dir, rows = self._find_output_dir(trainer), self._gather(trainer)
        repeated = {row["video_id"] for row in gather_rows(trainer, self._repeated)}
        if self._parts is not None:
            self._parts.write()  # the table itself may fail, on a full disk
            repeated |= self._parts.repeated

        def write() -> dict[str, Any]:
            path, table = self._write_predictions(trainer, pl_module, output_dir, rows)
            num_listed = len(_get_data(trainer).get_dataset("test"))
            metrics = write_evaluation(
                output_dir, table, command=self._command, num_listed=num_listed, num_repeated=len(repeated)
            )
            if self._parts is not None:
                self._parts.remove()
            print(f"\n{format_metrics(metrics)}\n\n{output_dir / 'metrics.json'}\n{path}")
            if not metrics["num_evaluated"]:
                raise InputError(_explain_no_evaluation(metrics, path))
            return metrics

        metrics = run_on_first(trainer, write)
        if metrics is not None:
            for name in ("top1", "top5", "mean_class_accuracy"):
                pl_module.log(f"test/{metrics['protocol']}_{name}", float(metrics[name]), rank_zero_only=True)

    def on_predict_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        output_dir, rows = self._find_output_dir(trainer), self._gather(trainer)
        num_repeated = len(gather_rows(trainer, self._repeated))

        def write() -> None:
            if rows and all(row["prediction"] is None for row in rows):
                failures = Counter(row["status"] for row in rows)
                counts = ", ".join(f"{count} {status}" for status, count in failures.items())
                raise InputError(f"none of the {len(rows)} videos could be predicted ({counts}); no table is written.")
            path, table = self._write_predictions(trainer, pl_module, output_dir, rows)
            for row in rows:
                print(_format_top_classes(row, table.class_names))
            if num_repeated:
                print(describe_repeated(num_repeated))
            print(path)

        run_on_first(trainer, write)

    def _add(self, trainer: L.Trainer, outputs: Any, batch: ClipBatch, batch_idx: int) -> None:
        if _get_data(trainer).is_counted("test", batch_idx):
            repeated = [sample["video_id"] for sample in batch["samples"] if sample["repeats_frames"]]
            self._rows += outputs["rows"]
            self._repeated += [{"video_id": video_id} for video_id in repeated]
            if self._parts is not None:
                self._parts.add(outputs["rows"], repeated)

    def _gather(self, trainer: L.Trainer) -> list[dict[str, Any]]:
        """The rows of all processes in the order of the list of videos, in the first process."""
        earlier = self._parts.rows if self._parts is not None else []
        # A batch of which a part has only some videos is evaluated as a whole: the newer row counts.
        rows = {row["video_id"]: row for row in [*earlier, *gather_rows(trainer, self._rows)]}
        video_ids = _get_data(trainer).get_dataset("test").records.table.column("video_id").to_pylist()
        positions = {video_id: position for position, video_id in enumerate(video_ids)}
        return sorted(rows.values(), key=lambda row: positions[row["video_id"]])

    def _find_output_dir(self, trainer: L.Trainer) -> Path:
        # All processes must ask: the folder's name is the first one's, and Lightning hands it round.
        log_dir = trainer.log_dir or trainer.default_root_dir
        return self._output_dir or Path(log_dir)

    def _write_predictions(
        self, trainer: L.Trainer, pl_module: L.LightningModule, output_dir: Path, rows: list[dict[str, Any]]
    ) -> tuple[Path, PredictionTable]:
        assert isinstance(pl_module, VideoClassifier)
        num_clips, num_crops = _get_data(trainer).test_views
        try:
            output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"output folder {output_dir} cannot be made: {error.strerror or error}") from error
        path = output_dir / "predictions.parquet"
        table = write_predictions(
            path,
            rows,
            class_names=pl_module.class_names,
            checkpoint_hash=self._checkpoint_hash,
            protocol="windows" if num_clips == "windows" else f"{num_clips}x{num_crops}",
        )
        return path, table


def _get_data(trainer: L.Trainer) -> KineticsDataModule:
    data = getattr(trainer, "datamodule", None)
    assert isinstance(data, KineticsDataModule)
    return data


def _explain_no_evaluation(metrics: dict[str, Any], path: Path) -> str:
    failures = {status: count for status, count in metrics["failures"].items() if count}
    counts = ", ".join(f"{count} {status}" for status, count in failures.items())
    text = f"none of the {metrics['num_videos']} videos could be evaluated ({counts}); {path} lists them."
    if "too_short" in failures:
        text += " A clip spans more frames than these have; --short_videos loop (data.short_videos) repeats them."
    return text


def _format_top_classes(row: dict[str, Any], class_names: tuple[str, ...]) -> str:
    if row["probabilities"] is None:
        return make_printable(f"{row['path']}: {row['status']}")
    ranked = sorted(zip(row["probabilities"], class_names, strict=True), reverse=True)[:_NUM_SHOWN_CLASSES]
    return make_printable(f"{row['path']}: " + ", ".join(f"{name} {probability:.3f}" for probability, name in ranked))
