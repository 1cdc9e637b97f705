"""A callback of the tests' runs: the weights after every optimiser step."""

from pathlib import Path
from typing import Any

import lightning as L
import torch


class WeightRecorder(L.Callback):
    """Keep the network's parameters after each step, in ``weights.pt`` of a folder when the training ends."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "weights.pt"
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        self.steps.append({name: value.detach().clone() for name, value in pl_module.named_parameters()})

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        torch.save(self.steps, self.path)
