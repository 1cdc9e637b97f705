"""Which layers a network goes through on the way from a layer to its last feature map, found while it runs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain.activations import check_clips, check_logits, freeze_parameters
from videosoft.explain.layers import find_layer

__all__ = ["LayerCall", "LayerTrace", "trace_layers"]


@dataclass(frozen=True)
class LayerCall:
    """One use of a module in a forward pass: its dotted ``name``, its true ``input`` and its ``output``."""

    name: str
    module: nn.Module
    input: Tensor
    output: Tensor

    @property
    def mixes_channels(self) -> bool:
        """Whether a convolution is at work: norms, activations, poolings and dropout keep each channel to itself."""
        return any(isinstance(module, nn.Conv3d) for module in self.module.modules())


@dataclass(frozen=True)
class LayerTrace:
    """The ``logits`` (N, K) of a forward pass and the ``calls`` that ended after ``origin`` was put out, in that order.

    ``origin`` is the output of the layer that was named; it is where the graph begins, if there is one.
    """

    logits: Tensor
    origin: Tensor
    calls: tuple[LayerCall, ...]

    def find_output(self, name: str) -> Tensor | None:
        """Return what the layer ``name`` put out at its last use after the origin, None if it was not used after it."""
        return next((call.output for call in reversed(self.calls) if call.name == name), None)

    def find_levels(self, tensor: Tensor) -> list[Tensor]:
        """Return the inputs of the modules that lead from the origin to ``tensor``, the last first, then the origin.

        The modules are as fine as they can be: convolutions in a plain network, whole blocks where a shortcut joins in.
        Those that keep channels to themselves make no level. From a tensor that no whole module leads to, the next
        level is the origin itself. Empty when ``tensor`` is the origin.
        """
        levels: list[Tensor] = []
        start = tensor
        while tensor is not self.origin:
            ways = [
                call
                for call in self._list_calls_with_output(tensor)
                if call.input is not tensor and self._is_known(call.input)
            ]
            if not ways:
                return [*levels, self.origin]
            tensor = ways[0].input
            if ways[0].mixes_channels:
                levels.append(tensor)
        # Between the last of them and the origin channels stay what they are.
        return [*levels[:-1], self.origin] if start is not self.origin else []

    def find_convolutions(self, tensor: Tensor) -> list[LayerCall]:
        """Return the convolutions that lead from the origin to ``tensor``, the last one first.

        A shortcut is left aside: of a residual block the convolutions of its main path are taken.

        Raises InputError when there is no such chain.
        """
        convolutions: list[LayerCall] = []
        while tensor is not self.origin:
            call = self._find_next(tensor)
            if call is None:
                followed = f"{convolutions[-1].name!r} and its input" if convolutions else "its last feature map"
                raise InputError(
                    f"no chain of convolutions leads from the layer to look at to the classifier, it was followed back "
                    f"to {followed}: take mode=exact, or a layer in between"
                )
            if isinstance(call.module, nn.Conv3d):
                convolutions.append(call)
            tensor = call.input
        return convolutions

    def name_tensor(self, tensor: Tensor) -> str | None:
        """Return the name of the largest module that put this tensor out and no other; None where there is none."""
        names = [call.name for call in self._list_calls_with_output(tensor)]
        used_once = [name for name in names if sum(call.name == name for call in self.calls) == 1]
        return used_once[-1] if used_once else None

    def _list_calls_with_output(self, tensor: Tensor) -> list[LayerCall]:
        """Return the calls that put out this very tensor: the finest module first, then those that contain it."""
        return [call for call in self.calls if call.output is tensor]

    def _is_known(self, tensor: Tensor) -> bool:
        """Whether the tensor is the origin or what some module put out after it."""
        return tensor is self.origin or any(call.output is tensor for call in self.calls)

    def _find_next(self, tensor: Tensor) -> LayerCall | None:
        for call in self._list_calls_with_output(tensor):
            if call.input is tensor or (isinstance(call.module, nn.Conv3d) and not self._is_known(call.input)):
                continue
            if isinstance(call.module, nn.Conv3d):
                return call
            if not call.mixes_channels and self._is_known(call.input):
                return call
            if call.mixes_channels and (inner := self._find_last_convolution(call)) is not None:
                return inner
        return None

    def _find_last_convolution(self, block: LayerCall) -> LayerCall | None:
        """Return the convolution that made the block's channels, rather one that does not read the block's input."""
        inner = [
            call
            for call in self.calls
            if call.name.startswith(f"{block.name}.")
            and isinstance(call.module, nn.Conv3d)
            and call.output.shape[1] == block.output.shape[1]
            and self._is_known(call.input)
        ]
        main_path = [call for call in inner if call.input is not block.input]
        candidates = main_path or inner
        return candidates[-1] if candidates else None


def trace_layers(network: nn.Module, clips: Tensor, layer: str, *, with_graph: bool) -> LayerTrace:
    """Run the network once and keep all 5-D tensors that pass between modules from the output of ``layer`` on.

    ``with_graph`` records the operations from there on. Raises InputError for what
    :func:`videosoft.explain.activations.run_with_activation` refuses.
    """
    check_clips(network, clips)
    origin: Tensor | None = None
    calls: list[LayerCall] = []
    origin_module = find_layer(network, layer)
    names = {module: name for name, module in network.named_modules()}

    def begin(_module: nn.Module, _inputs: object, output: object) -> Tensor | None:
        nonlocal origin
        if not isinstance(output, Tensor) or output.ndim != 5:
            found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            raise InputError(f"layer {layer!r} must put out one tensor (N, C, t, h, w), got {found}")
        calls.clear()
        # A clone, since a leaf of the graph must not be changed in place by whatever comes next.
        origin = output.detach().requires_grad_(with_graph).clone() if with_graph else output
        return origin

    def keep_call(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if origin is None or not inputs:
            return
        if all(isinstance(value, Tensor) and value.ndim == 5 for value in (inputs[0], output)):
            calls.append(LayerCall(names[module], module, inputs[0], output))  # type: ignore[arg-type]

    with ExitStack() as stack:
        handle = origin_module.register_forward_hook(begin)
        stack.callback(handle.remove)
        for module in network.modules():
            handle = module.register_forward_hook(keep_call)
            stack.callback(handle.remove)
        stack.enter_context(freeze_parameters(network))
        stack.enter_context(_work_out_of_place(network))
        stack.enter_context(torch.set_grad_enabled(with_graph))
        logits = network(clips.detach())

    if origin is None:
        raise InputError(f"layer {layer!r} was not used in the forward pass of {type(network).__name__}")
    check_logits(network, clips, logits)
    return LayerTrace(logits, origin, tuple(calls))


@contextmanager
def _work_out_of_place(network: nn.Module) -> Iterator[None]:
    """Let ReLU(inplace=True) and its like make new tensors inside the block, so that one tensor has one value."""
    changed = [module for module in network.modules() if getattr(module, "inplace", False) is True]
    for module in changed:
        module.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in changed:
            module.inplace = True  # type: ignore[assignment]
