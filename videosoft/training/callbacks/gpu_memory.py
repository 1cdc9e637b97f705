"""How much of a GPU's memory a training takes."""

from typing import Any

import lightning as L
import torch

from videosoft.training.log_steps import is_logged


class GpuMemory(L.Callback):
    """Log the most memory that tensors have had on the GPU since the start, in GiB; nothing on other devices.

    With several processes it is the first one's GPU.
    """

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        if pl_module.device.type == "cuda" and is_logged(trainer, trainer.global_step):
            peak = torch.cuda.max_memory_allocated(pl_module.device)
            pl_module.log("gpu_memory_peak_gib", peak / 2**30, batch_size=1)
