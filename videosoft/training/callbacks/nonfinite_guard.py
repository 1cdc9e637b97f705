"""A loss that is NaN or infinite: the training stops before it harms the weights, or leaves that step out."""

import math
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer

from videosoft.atomic_files import replace_when_done, write_json
from videosoft.data import ClipBatch
from videosoft.errors import InputError
from videosoft.training.checkpoints import save_checkpoint
from videosoft.training.classifier import VideoClassifier
from videosoft.training.processes import gather_rows
from videosoft.training.step_loss import restore_buffers

NonFinitePolicy = Literal["stop", "skip"]

FOLDER_NAME = "nonfinite"


class NonFiniteGuard(L.Callback):
    """Look at the loss of a step before its optimiser step is made.

    The loss is that of all processes, so that they all decide alike. Before a stop the run's folder ``nonfinite`` gets
    ``clips.json`` (clips, seeds, losses, learning rates), ``rank<r>.pt`` (the batches) and ``state.ckpt`` (everything
    else, as it was before the step).

    Args:
        policy: ``"stop"``, or ``"skip"``: leave the step out, weights, optimiser and batch norm's statistics unchanged.
        max_skips: steps in a row that may be left out before the training stops all the same.

    Raises:
        InputError: when the training stops.
    """

    def __init__(self, policy: NonFinitePolicy, *, max_skips: int) -> None:
        self._policy = policy
        self._max_skips = max_skips
        self._num_skips = 0
        self._batches: list[ClipBatch] = []
        self._losses: list[Tensor] = []
        self._buffers: list[Tensor] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: ClipBatch, batch_idx: int
    ) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._batches.clear()
            self._losses.clear()
            if self._policy == "skip":
                self._buffers = [buffer.clone() for buffer in _get_network(pl_module).buffers()]
        self._batches.append(batch)

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        assert isinstance(pl_module, VideoClassifier)
        assert pl_module.step_loss is not None
        self._losses.append(pl_module.step_loss)

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        # Here, and not before the backward pass: a GPU has that to do while the loss is fetched from it.
        losses = torch.stack(self._losses).tolist() if self._losses else []
        if all(math.isfinite(loss) for loss in losses):
            self._num_skips = 0
            return
        self._num_skips += 1
        if self._policy == "stop" or self._num_skips > self._max_skips:
            self._stop(trainer, optimizer, losses)
        rank_zero_info(
            f"the loss of step {trainer.global_step} is {_find_nonfinite(losses)}: left out, "
            f"{self._num_skips} in a row of at most {self._max_skips}"
        )
        optimizer.zero_grad(set_to_none=True)  # a parameter without a gradient is left alone, its momentum as well
        restore_buffers(_get_network(pl_module), self._buffers)

    def _stop(self, trainer: L.Trainer, optimizer: Optimizer, losses: list[float]) -> None:
        folder = Path(trainer.log_dir or trainer.default_root_dir) / FOLDER_NAME
        folder.mkdir(parents=True, exist_ok=True)
        with replace_when_done(folder / f"rank{trainer.global_rank}.pt") as temporary_path:
            torch.save([{key: batch[key] for key in ("video", "label")} for batch in self._batches], temporary_path)
        clips = [
            {key: sample[key] for key in ("video_id", "path", "label_name", "seed")}
            for batch in self._batches
            for sample in batch["samples"]
        ]
        clips = gather_rows(trainer, clips)
        save_checkpoint(trainer, folder / "state.ckpt")
        if not trainer.is_global_zero:
            raise SystemExit(0)
        content: dict[str, Any] = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "losses": [str(loss) for loss in losses],
            "learning_rates": [group["lr"] for group in optimizer.param_groups],
            "clips": clips,
        }
        write_json(folder / "clips.json", content)
        named = ", ".join(str(clip["video_id"]) for clip in clips[:8]) + (" ..." if len(clips) > 8 else "")
        rate = ", ".join(f"{rate:g}" for rate in content["learning_rates"])
        raise InputError(
            f"the loss of step {trainer.global_step} is {_find_nonfinite(losses)} "
            f"(learning rate {rate}; clips {named}). "
            f"{folder} has the batch and the state before the step. The weights of the last checkpoint are untouched: "
            "go on from there with a lower learning rate, warmup, gradient clipping (trainer.gradient_clip_val) or "
            "precision 32-true; --run.nonfinite skip leaves single steps out."
        )


def _find_nonfinite(losses: list[float]) -> float:
    return next(loss for loss in losses if not math.isfinite(loss))


def _get_network(pl_module: L.LightningModule) -> torch.nn.Module:
    assert isinstance(pl_module, VideoClassifier)
    assert pl_module.network is not None
    return pl_module.network
