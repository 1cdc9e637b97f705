"""``best.ckpt``: the network that validated best, over all the runs of which one went on with the other."""

import math
import os
import shutil
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info

from videosoft.atomic_files import replace_when_done
from videosoft.errors import InputError
from videosoft.models import read_weight_file
from videosoft.training.checkpoints.atomic_io import save_checkpoint
from videosoft.training.checkpoints.finding import find_damage
from videosoft.training.checkpoints.names import BEST_NAME

_MONITORED = "val/1x1_top1"


class BestCheckpoint(Checkpoint):
    """Write ``best.ckpt`` whenever the validation accuracy is higher than ever before.

    A run that goes on with a checkpoint begins with the ``best.ckpt`` that lies beside it, if that is not of a later
    step. An accuracy that is NaN, since no validation video could be used, counts as the lowest.

    Args:
        folder: of the run's checkpoints.
        resumed: the checkpoint that the run goes on with.
    """

    def __init__(self, folder: Path, *, resumed: Path | None = None) -> None:
        self._path = folder / BEST_NAME
        self._resumed = resumed
        self._score: float | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"score": self._score}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._score = None
        if self._resumed is not None:
            score = self._take_over(self._resumed.with_name(BEST_NAME), trainer) if trainer.is_global_zero else None
            self._score = trainer.strategy.broadcast(score)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if (
            trainer.state.fn != TrainerFn.FITTING
            or trainer.sanity_checking
            or _MONITORED not in trainer.callback_metrics
        ):
            return
        score = float(trainer.callback_metrics[_MONITORED])
        if math.isnan(score):
            score = -math.inf
        # The first process decides: a metric that is the same in all of them may differ in the last bit.
        if trainer.strategy.broadcast(self._score is None or score > self._score):
            self._score = score
            save_checkpoint(trainer, self._path)

    def _take_over(self, earlier: Path, trainer: L.Trainer) -> float | None:
        """Bring an earlier run's file here; its accuracy, or None where there is no file that can count."""
        if not earlier.is_file() or find_damage(earlier) is not None:
            rank_zero_info(f"{earlier} is missing or damaged: the best of the epochs from here on is kept.")
            return None
        try:
            content = read_weight_file(earlier)
            score = content["callbacks"][self.state_key]["score"]
            step = content["global_step"]
        except (InputError, KeyError, TypeError):
            score = step = None
        if not isinstance(score, float) or not isinstance(step, int):
            rank_zero_info(f"{earlier} does not say its accuracy: the best of the epochs from here on is kept.")
            return None
        if step > trainer.global_step:
            return None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replace_when_done(self._path) as temporary_path:
            try:
                os.link(earlier, temporary_path)
            except OSError:  # another disk, or one that has no hard links
                shutil.copyfile(earlier, temporary_path)
        return score
