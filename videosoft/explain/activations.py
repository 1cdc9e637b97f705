"""One forward pass that also keeps what a layer put out, with or without the way from there to the logits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain.layers import find_layer

__all__ = ["LayerPass", "check_clips", "check_logits", "freeze_parameters", "run_with_activation"]


@dataclass(frozen=True)
class LayerPass:
    """The ``logits`` (N, K) of some clips and the ``activation`` (N, C, t, h, w) that a layer put out on the way."""

    logits: Tensor
    activation: Tensor

    def compute_gradient(self, scores: Tensor) -> Tensor:
        """Return d scores / d activation, (N, C, t, h, w), by one backward pass from the scores (N,) to the layer.

        Each clip's score must depend on its own activation only, as those of a network in eval mode do. Raises
        InputError when no score depends on the layer.
        """
        gradient = None
        if scores.requires_grad:
            (gradient,) = torch.autograd.grad(scores.sum(), self.activation, allow_unused=True)
        if gradient is None:
            raise InputError("the scores do not depend on the layer: name one that lies on the way to the logits")
        return gradient


def run_with_activation(network: nn.Module, clips: Tensor, layer: str, *, with_graph: bool = False) -> LayerPass:
    """Run the network once and keep the output of ``layer``, at its last use.

    ``with_graph`` records the operations from the layer to the logits, and only those: what lies before the layer
    costs no more than in inference. Without it neither tensor carries gradients.

    Raises InputError for clips that are not float (N, C, T, H, W), a network in training mode (its batch norm would
    mix the clips of a batch), an unknown layer, one that was not used, and one that does not put out one 5-D tensor.
    """
    check_clips(network, clips)
    captured: list[object] = []

    def keep_output(_module: nn.Module, _inputs: object, output: object) -> Tensor | None:
        if not isinstance(output, Tensor):
            captured.append(output)
            return None
        # Of what is kept and what goes on one is a copy: a later in-place operation, such as ReLU(inplace=True), must
        # not change what the layer put out, nor where the graph begins.
        if with_graph and output.is_floating_point():
            kept = output.detach().requires_grad_()
            captured.append(kept)
            return kept.clone()
        captured.append(output.detach().clone())
        return None

    handle = find_layer(network, layer).register_forward_hook(keep_output)
    try:
        with freeze_parameters(network), torch.set_grad_enabled(with_graph):
            logits = network(clips.detach())
    finally:
        handle.remove()

    if not captured:
        raise InputError(f"layer {layer!r} was not used in the forward pass of {type(network).__name__}")
    activation = captured[-1]
    if not isinstance(activation, Tensor) or activation.ndim != 5:
        found = f"shape {tuple(activation.shape)}" if isinstance(activation, Tensor) else type(activation).__name__
        raise InputError(f"layer {layer!r} must put out one tensor (N, C, t, h, w), got {found}")
    check_logits(network, clips, logits)
    return LayerPass(logits, activation)


@contextmanager
def freeze_parameters(network: nn.Module) -> Iterator[None]:
    """Ask for no gradients of weights inside the block, so that nothing is recorded for them."""
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learnt:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_(True)


def check_clips(network: nn.Module, clips: Tensor) -> None:
    """Raise InputError for clips that are not float (N, C, T, H, W), and for a network in training mode."""
    if clips.ndim != 5 or not clips.is_floating_point():
        raise InputError(
            f"clips must be a normalised float tensor (N, C, T, H, W), got {tuple(clips.shape)} of {clips.dtype}; "
            "see videosoft.data.normalize_clip"
        )
    if network.training:
        raise InputError(f"{type(network).__name__} is in training mode; call network.eval() before explaining it")


def check_logits(network: nn.Module, clips: Tensor, logits: object) -> None:
    """Raise InputError unless the network returned logits (N, K) for N clips."""
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[0] != clips.shape[0]:
        found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"{type(network).__name__} must return logits (N, K) for {clips.shape[0]} clips, got {found}")
