"""After each validation, what was taken for what."""

from typing import Any

import lightning as L
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from videosoft.data import ClipBatch
from videosoft.evaluation import write_confusion
from videosoft.training.callbacks.validation_folder import (
    describe_moment,
    find_validation_folder,
    get_log_step,
    warn_if_full,
)
from videosoft.training.classifier import VideoClassifier
from videosoft.training.loggers import TolerantLogger


class ConfusionLog(L.Callback):
    """Keep the confusion matrix of the last validation as ``validation/confusion_matrix.csv`` and ``.png``.

    Loggers get each validation's picture.
    """

    def __init__(self) -> None:
        self._counts: Tensor | None = None

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, VideoClassifier)
        num_classes = len(pl_module.class_names)
        self._counts = torch.zeros(num_classes**2, dtype=torch.int64, device=pl_module.device)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: ClipBatch, *args: Any
    ) -> None:
        if outputs is None:
            return
        assert self._counts is not None
        cells = batch["label"] * outputs.shape[1] + outputs.argmax(1)
        # Not bincount, which waits for the device to know how much memory it needs.
        self._counts.scatter_add_(0, cells, torch.ones_like(cells))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        assert isinstance(pl_module, VideoClassifier)
        assert self._counts is not None
        folder = find_validation_folder(trainer)
        counts = trainer.strategy.reduce(self._counts, reduce_op="sum").cpu()
        self._counts = None
        if not trainer.is_global_zero or folder is None or not counts.any():
            return
        num_classes = len(pl_module.class_names)
        confusion = counts.view(num_classes, num_classes).numpy()
        title = f"validation{describe_moment(trainer)}: {confusion.trace()} of {confusion.sum()} clips right"
        with warn_if_full(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_confusion(folder / "confusion_matrix.csv", confusion, pl_module.class_names)
            # Here, not at the top: a training need not wait at its start for what draws.
            from videosoft.evaluation.figures import draw_confusion

            picture_path = folder / "confusion_matrix.png"
            draw_confusion(picture_path, confusion, pl_module.class_names, title=title)
            picture = np.asarray(Image.open(picture_path).convert("RGB"))
            for logger in trainer.loggers:
                if isinstance(logger, TolerantLogger):
                    logger.log_picture("val/confusion_matrix", picture, get_log_step(trainer))
