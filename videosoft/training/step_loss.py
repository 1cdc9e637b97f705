"""The loss of a step: the mean over the usable clips of all processes, however they are spread."""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
import torch
import torch.distributed
from torch import Tensor, nn


def average_over_processes(trainer: L.Trainer, losses: Tensor, num_clips: int) -> tuple[Tensor, Tensor]:
    """What to differentiate in this process, and the step's loss, which all processes agree on.

    Gradients are averaged over the W processes, so that each brings ``sum_i(l_i) W / N``, with N the clips of all of
    them: the gradient is that of one process with all N clips, also where some have fewer than others.

    Args:
        trainer: knows the processes.
        losses: of this process's clips, (n,).
        num_clips: n; 0 where the losses are those of stand-ins and count for nothing.
    """
    if trainer.world_size == 1:
        mean = losses.mean()
        return mean, mean.detach()
    own = losses.sum() if num_clips else 0 * losses.sum()
    totals = torch.stack([own.detach().float(), torch.full_like(own, num_clips, dtype=torch.float32)])
    torch.distributed.all_reduce(totals)
    num_total = totals[1].clamp(min=1)
    return own * trainer.world_size / num_total, totals[0] / num_total


@contextmanager
def keep_buffers(network: nn.Module) -> Iterator[None]:
    """Let copies of a network's buffers, batch norm's running statistics among them, take their place in the block.

    A backward pass may come later: setting the buffers back instead would change what autograd has kept of them.
    """
    own = [(layer, name, buffer) for layer in network.modules() for name, buffer in layer.named_buffers(recurse=False)]
    try:
        for layer, name, buffer in own:
            setattr(layer, name, buffer.clone())
        yield
    finally:
        for layer, name, buffer in own:
            setattr(layer, name, buffer)


def restore_buffers(network: nn.Module, values: list[Tensor]) -> None:
    """Set a network's buffers, in their own order."""
    with torch.no_grad():
        for buffer, value in zip(network.buffers(), values, strict=True):
            buffer.copy_(value)
