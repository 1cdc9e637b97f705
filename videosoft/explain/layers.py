"""Layers by their dotted names, and what each of them puts out."""

import difflib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from videosoft.errors import InputError

__all__ = ["LayerOutput", "find_layer", "find_linear_head", "get_feature_layer", "list_layers"]


@dataclass(frozen=True)
class LayerOutput:
    """A layer by its dotted ``name``, its class, and the shape (C, t, h, w) of what it puts out for one clip."""

    name: str
    class_name: str
    shape: tuple[int, int, int, int]


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """Return the submodule with the dotted ``name``.

    Raises InputError with the nearest names when there is none.
    """
    if name:
        with suppress(AttributeError):
            return network.get_submodule(name)
    nearest = find_nearest_names(name, (key for key, _ in network.named_modules() if key))
    hint = f"nearest names: {', '.join(nearest)}" if nearest else "list_layers(network, clip) has the names"
    raise InputError(f"layer {name!r} is not in {type(network).__name__}; {hint}")


def get_feature_layer(network: nn.Module) -> str:
    """Return ``network.feature_layer``, the name of the layer whose output feeds the global average pool.

    Raises InputError when the network does not tell.
    """
    name = getattr(network, "feature_layer", None)
    if not isinstance(name, str):
        raise InputError(
            f"{type(network).__name__} has no attribute 'feature_layer' (the dotted name of a layer): name the layer "
            "to look at, or set the attribute; networks from videosoft.models.create_model have it"
        )
    return name


def find_linear_head(network: nn.Module, *, num_classes: int) -> nn.Linear | None:
    """Return the layer ``network.classifier_layer`` if it is linear with an output a class."""
    name = getattr(network, "classifier_layer", None)
    layer = None
    if isinstance(name, str):
        with suppress(AttributeError):
            layer = network.get_submodule(name)
    return layer if isinstance(layer, nn.Linear) and layer.out_features == num_classes else None


def list_layers(network: nn.Module, clip: Tensor) -> list[LayerOutput]:
    """Return the layers that put out one 5-D tensor for ``clip`` (1, C, T, H, W), in the order of ``named_modules``.

    A layer that is used several times has the shape of its last use. The network runs once.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def note_shape(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 5:
                shapes[name] = tuple(output.shape[1:])
            else:
                shapes.pop(name, None)

        return hook

    handles = [module.register_forward_hook(note_shape(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            network(clip)
    finally:
        for handle in handles:
            handle.remove()
    return [
        LayerOutput(name, type(module).__name__, shapes[name])  # type: ignore[arg-type]
        for name, module in network.named_modules()
        if name in shapes
    ]


def find_nearest_names(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three names that ``name`` may have been meant to be."""
    return difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
