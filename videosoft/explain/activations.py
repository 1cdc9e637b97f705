"""One forward pass that also keeps what a layer, found by its dotted name, put out."""

import difflib

import torch
from torch import Tensor, nn

from videosoft.errors import InputError

__all__ = ["find_layer", "run_with_activation"]


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """Return the submodule with the dotted ``name``.

    Raises InputError with the nearest names when there is none.
    """
    layers = dict(network.named_modules())
    if name and name in layers:
        return layers[name]
    nearest = difflib.get_close_matches(name, [key for key in layers if key], n=3, cutoff=0.4)
    hint = f"nearest names: {', '.join(nearest)}" if nearest else "see network.named_modules() for the names"
    raise InputError(f"layer {name!r} is not in {type(network).__name__}; {hint}")


def run_with_activation(network: nn.Module, clips: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """Return (logits (N, K), activation (N, C, t, h, w)): one forward pass, the activation being the layer's output.

    Neither carries gradients. Raises InputError for clips that are not float (N, C, T, H, W), a network in training
    mode (its batch norm would mix the clips of a batch), and a layer that does not put out one 5-D tensor.
    """
    if clips.ndim != 5 or not clips.is_floating_point():
        raise InputError(
            f"clips must be a normalised float tensor (N, C, T, H, W), got {tuple(clips.shape)} of {clips.dtype}; "
            "see videosoft.data.normalize_clip"
        )
    if network.training:
        raise InputError(f"{type(network).__name__} is in training mode; call network.eval() before explaining it")

    captured: list[object] = []

    def keep_output(_module: nn.Module, _inputs: object, output: object) -> None:
        # A copy: a later in-place operation (ReLU(inplace=True)) must not change what the layer put out.
        captured.append(output.detach().clone() if isinstance(output, Tensor) else output)

    handle = find_layer(network, layer).register_forward_hook(keep_output)
    try:
        with torch.no_grad():
            logits = network(clips)
    finally:
        handle.remove()

    if not captured:
        raise InputError(f"layer {layer!r} was not used in the forward pass of {type(network).__name__}")
    activation = captured[-1]
    if not isinstance(activation, Tensor) or activation.ndim != 5:
        found = f"shape {tuple(activation.shape)}" if isinstance(activation, Tensor) else type(activation).__name__
        raise InputError(f"layer {layer!r} must put out one tensor (N, C, t, h, w), got {found}")
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[0] != clips.shape[0]:
        found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"{type(network).__name__} must return logits (N, K) for {clips.shape[0]} clips, got {found}")
    return logits, activation
