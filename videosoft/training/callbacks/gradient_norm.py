"""How large the gradients are."""

from typing import Any

import lightning as L
from torch.nn.utils import get_total_norm

from videosoft.training.log_steps import is_logged


class GradientNorm(L.Callback):
    """Log the 2-norm of all gradients together, before they are clipped, at the steps that are logged.

    In float16 they are those of the loss, not of the scaled loss.
    """

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        if not is_logged(trainer, trainer.global_step + 1):
            return
        gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
        norm = get_total_norm(gradients)
        # With FSDP each process has a part of the gradients.
        pl_module.log("train/gradient_norm", norm.full_tensor() if hasattr(norm, "full_tensor") else norm, batch_size=1)
