"""A small network whose norm does not depend on the batch, and a callback that spoils a loss."""

import resource
from typing import Any

import lightning as L
import torch
from torch import nn

from videosoft.models import list_models, register_model

NAME = "group_norm_probe"


def group_norm_probe(
    *, num_classes: int, pool: str = "max", pool_kernel: int | None = None, width: float = 1.0
) -> nn.Module:
    network = nn.Sequential(
        nn.Conv3d(3, 8, 3, stride=2, padding=1),
        nn.GroupNorm(2, 8),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(8, num_classes),
    )
    network.feature_layer, network.classifier_layer = "2", "5"  # type: ignore[assignment]
    return network


if NAME not in list_models():
    register_model(group_norm_probe)


class SpoilLoss(L.Callback):
    """Multiply the network's last weights by NaN for the steps that are named, in one process."""

    def __init__(self, steps: list[int], rank: int = 0) -> None:
        self.steps, self.rank = steps, rank
        self.hook: Any = None

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step in self.steps and trainer.global_rank == self.rank:
            self.hook = pl_module.network.register_forward_hook(lambda module, inputs, output: output * torch.nan)

    def on_train_batch_end(self, *args: Any) -> None:
        if self.hook is not None:
            self.hook.remove()
            self.hook = None


class FillDisk(L.Callback):
    """Let no file of this process grow beyond a thousand bytes from a step on."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
