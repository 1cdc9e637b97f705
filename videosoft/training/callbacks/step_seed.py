"""What a network draws at random in training, as a function of the seed and the step."""

import os
from typing import Any

import lightning as L
import torch

from videosoft.data.samplers import mix_seeds


class StepSeed(L.Callback):
    """Seed torch's generators anew before every step, from the run's seed, the epoch, the batch and the process.

    So dropout needs no state in a checkpoint: a training that goes on draws what it would have drawn, and the
    processes of a run draw differently.
    """

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Lightning hands the seed of seed_everything on to the processes of a distributed run by this variable.
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        seed = mix_seeds(seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        # Not torch.manual_seed, which formats a stack trace for each kind of device that the machine does not have.
        torch.default_generator.manual_seed(seed)
        device = pl_module.device
        if device.type != "cpu":
            torch.get_device_module(device).manual_seed(seed)
