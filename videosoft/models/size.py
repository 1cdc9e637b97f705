"""How large a network is, and what a clip costs it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(network: nn.Module) -> int:
    """Numbers that are learnt; batch norm's running statistics are not among them."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, clip_size: Sequence[int]) -> int:
    """Multiply-adds of the convolutions and linear layers for one clip of ``clip_size`` (T, H, W).

    Half of what torch's own counter calls FLOPs. No arithmetic is done, and the network stays as it is. Batch norm,
    activations and poolings are not counted; published figures that count batch norm, by fvcore, are up to 9 % larger
    (docs/models.md).
    """
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    # Two clips: in training mode batch norm refuses a single one whose last feature map has a single cell.
    clips = torch.empty(2, 3, *clip_size, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(network, shapes, (clips,))
    return counter.get_total_flops() // 2 // len(clips)


@dataclass(frozen=True)
class NetworkSize:
    """``num_parameters``, and ``num_macs`` multiply-adds of one clip of ``clip_size`` (T, H, W)."""

    num_parameters: int
    num_macs: int
    clip_size: tuple[int, int, int]


def measure_size(network: nn.Module, clip_size: tuple[int, int, int]) -> NetworkSize:
    """:func:`count_parameters` and :func:`count_macs` together."""
    return NetworkSize(count_parameters(network), count_macs(network, clip_size), clip_size)
