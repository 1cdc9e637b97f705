"""Callbacks of the resume tests' runs: what each step trained on, and a sudden end."""

import hashlib
import json
import os
import signal
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


class KillAt(L.Callback):
    """SIGKILL this process where ``hook`` is called after a number of steps: nothing can be cleaned up."""

    def __init__(self, hook: str, step: int) -> None:
        def kill(trainer: L.Trainer, *args: Any) -> None:
            if trainer.global_step == step:
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(self, hook, kill)
