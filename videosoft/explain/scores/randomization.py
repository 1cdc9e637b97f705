"""Does the map depend on what was learned? The same network with fresh weights (sanity check of saliency maps)."""

import copy
from collections.abc import Iterable

import torch
from torch import nn

from videosoft.errors import InputError

__all__ = ["list_cascade", "randomize_weights"]


def list_cascade(network: nn.Module) -> list[str]:
    """Return the names of the network's main parts with weights, from the output down to the input.

    They are its direct children; where a single child holds all weights (pytorchvideo's ``blocks``), that one's. The
    order is the reverse of the one they are registered in, which for feed-forward networks is that of the forward pass.
    """
    prefix, parent = "", network
    while True:
        parts = [(name, part) for name, part in parent.named_children() if _has_parameters(part)]
        if len(parts) != 1 or not any(_has_parameters(part) for part in parts[0][1].children()):
            return [prefix + name for name, _ in reversed(parts)]
        name, parent = parts[0]
        prefix = f"{prefix}{name}."


def randomize_weights(network: nn.Module, seed: int, layers: Iterable[str] | None = None) -> nn.Module:
    """Return a copy of the network in which the weights of ``layers`` (dotted names; None: all) are drawn anew.

    Each module draws by its own ``reset_parameters`` (batch norms forget their statistics too); parameters of a module
    without one are drawn from a normal distribution with the mean and the standard deviation that they have. The draws
    depend on ``seed`` alone, on every device, and the program's random state stays as it is.

    A map that shows what the network has learned must change: see how much by :func:`compute_rank_correlation`. One
    that stays alike shows the edges of the input, or where the frame has its middle.

    Raises InputError for a layer that the network does not have.

    Source: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018: the whole network, or cascading from the
    output down (the first 1, 2, 3, ... names of :func:`list_cascade`).
    """
    first = next(network.parameters(), None)
    randomized = copy.deepcopy(network).cpu()  # drawn on the CPU, so that every device gets the same weights
    modules = dict(randomized.named_modules())
    names = [""] if layers is None else list(layers)
    for name in names:
        if name not in modules:
            raise InputError(f"layer {name!r} is not in {type(network).__name__}, so it cannot be randomised")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for name in names:
            for module in modules[name].modules():
                _draw_anew(module)
    return randomized if first is None else randomized.to(first.device)


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _draw_anew(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    for parameter in module.parameters(recurse=False):
        spread = float(parameter.std()) if parameter.numel() > 1 else float(parameter.abs())
        parameter.normal_(float(parameter.mean()), spread)
