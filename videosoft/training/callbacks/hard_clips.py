"""After each validation, the clips that the network got most wrong."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from PIL import Image

from videosoft.atomic_files import replace_when_done
from videosoft.data import ClipBatch
from videosoft.printable import make_printable
from videosoft.spreadsheets import guard_cell
from videosoft.training.callbacks.hardest_clips import HardClip, HardestClips
from videosoft.training.callbacks.validation_folder import (
    describe_moment,
    find_validation_folder,
    get_log_step,
    warn_if_full,
)
from videosoft.training.classifier import VideoClassifier
from videosoft.training.loggers import TolerantLogger
from videosoft.training.processes import gather_rows

COLUMNS = ("video_id", "label_name", "prediction_name", "probability", "label_probability", "loss", "path")


class HardClips(L.Callback):
    """Keep the clips of the largest loss of the last validation as ``validation/hard_clips.csv`` and ``.png``.

    Loggers get each validation's.

    Args:
        num_clips: how many, at least one.
    """

    def __init__(self, num_clips: int) -> None:
        self._num_clips = num_clips
        self._hardest = HardestClips(num_clips)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._hardest = HardestClips(self._num_clips)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: ClipBatch, *args: Any
    ) -> None:
        if outputs is not None and not trainer.sanity_checking:
            self._hardest.add(outputs, batch["label"], batch["video"].squeeze(1), batch["samples"])

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        assert isinstance(pl_module, VideoClassifier)
        folder = find_validation_folder(trainer)
        rows = gather_rows(trainer, [{"clip": clip} for clip in self._hardest.list()])
        clips = _choose_hardest([row["clip"] for row in rows], self._num_clips)
        if not clips:
            return
        # Here, not at the top: a training need not wait at its start for what draws.
        from videosoft.training.callbacks.hard_clip_sheet import draw_hard_clips

        title = f"the {len(clips)} hardest clips of the validation{describe_moment(trainer)}"
        sheet = draw_hard_clips(clips, pl_module.class_names, title)
        if folder is not None:
            table = [_create_row(clip, pl_module.class_names) for clip in clips]
            with warn_if_full(folder):
                _write_files(folder, table, Image.fromarray(sheet))
        captions = [_describe_clip(clip, pl_module.class_names) for clip in clips]
        for logger in trainer.loggers:
            if isinstance(logger, TolerantLogger):
                stills = [clip.still for clip in clips]
                logger.log_stills("val/hard_clips", stills, captions, sheet, get_log_step(trainer))


def _choose_hardest(clips: Sequence[HardClip], num_clips: int) -> list[HardClip]:
    """Of those of all processes; NaN is the largest loss."""
    ordered = sorted(clips, key=lambda clip: math.inf if math.isnan(clip.loss) else clip.loss, reverse=True)
    return ordered[:num_clips]


def _create_row(clip: HardClip, class_names: Sequence[str]) -> tuple[str | float, ...]:
    names = (make_printable(name) for name in (clip.video_id, clip.label_name, class_names[clip.prediction]))
    return (*names, clip.probability, clip.label_probability, clip.loss, make_printable(clip.path))


def _describe_clip(clip: HardClip, class_names: Sequence[str]) -> str:
    return make_printable(
        f"{clip.video_id}: {clip.label_name} ({clip.label_probability:.2f}), taken for "
        f"{class_names[clip.prediction]} ({clip.probability:.2f}), loss {clip.loss:.3g}"
    )


def _write_files(folder: Path, table: Sequence[Sequence[str | float]], sheet: Image.Image) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with replace_when_done(folder / "hard_clips.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in table:
            writer.writerow([guard_cell(value) if isinstance(value, str) else f"{value:.6g}" for value in row])
    with replace_when_done(folder / "hard_clips.png") as path:
        sheet.save(path, format="PNG")
