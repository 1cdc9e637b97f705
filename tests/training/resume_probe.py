"""Callbacks of the resume tests' runs: what each step trained on, and a sudden end."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import lightning as L


class StepRecorder(L.Callback):
    """Append one JSON line a step: the videos, their seeds, and a hash of the pixels."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        step = {
            "epoch": trainer.current_epoch,
            "batch": batch_idx,
            "videos": [sample["video_id"] for sample in batch["samples"]],
            "pixels": hashlib.sha256(batch["video"].contiguous().numpy().tobytes()).hexdigest(),
        }
        with (self.folder / f"rank{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(step) + "\n")


class SignalAt(L.Callback):
    """Send a signal where ``hook`` is called after a number of steps.

    Args:
        number: of the signal; after SIGKILL nothing can be cleaned up.
        hook: a method of callbacks.
        step: optimiser steps made by then.
        rank: the process that gets it.
        to_group: whether the workers that load get it, too, as from a scheduler.
        times: how often, one right after the other.
    """

    def __init__(
        self, number: int, hook: str, step: int, rank: int = 0, to_group: bool = False, times: int = 1
    ) -> None:
        def send(trainer: L.Trainer, *args: Any) -> None:
            if trainer.global_step == step and trainer.global_rank == rank:
                for _ in range(times):
                    os.killpg(0, number) if to_group else os.kill(os.getpid(), number)

        setattr(self, hook, send)
