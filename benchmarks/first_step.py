"""The callback by which bench_train.py learns when the first step was done."""

import time
from pathlib import Path
from typing import Any

import lightning as L


class FirstStepStamp(L.Callback):
    """Write the time of day to a file after the first batch."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.path.write_text(str(time.time()))
