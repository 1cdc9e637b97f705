"""How many clips a training step has room for."""

import math

import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def measure_saved_bytes(network: nn.Module, clip_shape: tuple[int, ...], num_clips: int) -> int:
    """Bytes that a forward of ``num_clips`` clips keeps for the backward, without memory or arithmetic.

    ``network`` and all that it computes are on the meta device; its parameters are not counted.
    """
    parameters = {id(parameter) for parameter in network.parameters()}
    kept: dict[tuple[int, ...], int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if id(tensor) not in parameters:
            # Storages on the meta device have no address: what is saved twice is known by its autograd node.
            key = (tensor._cdata,) if tensor.grad_fn is None else (id(tensor.grad_fn), tensor.output_nr)
            kept[key] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(torch.empty(num_clips, *clip_shape, device="meta"))
        loss = F.cross_entropy(logits, torch.zeros(num_clips, dtype=torch.long, device="meta"))
    total = sum(kept.values())
    del loss
    return total


def estimate_largest_batch(network: nn.Module, clip_shape: tuple[int, ...], num_bytes: int) -> int:
    """Clips of a float32 training step that fit into ``num_bytes``: a rough figure, from what the backward keeps.

    Parameters are counted four times (themselves, gradient, two optimiser states), a clip's activations one and a
    half times (the gradients of the larger ones on top).
    """
    fixed = 4 * sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    for_two, for_three = (measure_saved_bytes(network, clip_shape, num_clips) for num_clips in (2, 3))
    return max(0, math.floor((num_bytes - fixed) / (1.5 * max(for_three - for_two, 1))))


def find_available_bytes() -> int:
    """Main memory that is free now."""
    return int(psutil.virtual_memory().available)
