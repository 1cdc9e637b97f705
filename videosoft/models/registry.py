"""Networks by name: a builder function registers itself under its own name."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from videosoft.errors import InputError

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])

_BUILDERS: dict[str, Callable[..., nn.Module]] = {}


def register_model(builder: Builder) -> Builder:
    """Make a builder known to :func:`create_model` under its function name.

    The builder takes keyword arguments only, ``num_classes``, ``pool``, ``pool_kernel`` and ``width`` among them. Its
    network maps a normalised float clip (N, 3, T, H, W) to logits (N, num_classes) and has two attributes:
    ``feature_layer``, the dotted name of the module whose output feeds the global average pool, and
    ``classifier_layer``, that of the linear layer (or 1x1x1 convolution) behind it.
    """
    _BUILDERS[builder.__name__] = builder
    return builder


def list_models() -> list[str]:
    """The names that :func:`create_model` knows, sorted."""
    return sorted(_BUILDERS)


def create_model(name: str, *, num_classes: int, pool: str = "max", width: float = 1.0, **kwargs: Any) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: one of :func:`list_models`.
        num_classes: number of logits.
        pool: the kind of the network's pooling, ``"soft"``, ``"max"`` (every network as published) or ``"avg"``.
        width: factor on every number of channels.
        kwargs: what the builder of that name takes besides (its signature is the documentation).

    Returns:
        A module that maps clips (N, 3, T, H, W) to logits (N, num_classes).

    Raises:
        InputError: on an unknown name or argument (the nearest ones are named) or a value out of range.
    """
    if name not in _BUILDERS:
        nearest = difflib.get_close_matches(name, _BUILDERS, n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
        raise InputError(f"unknown model {name!r}.{hint} Known models: {', '.join(list_models())}.")
    builder = _BUILDERS[name]
    allowed = inspect.signature(builder).parameters
    for argument in kwargs:
        if argument not in allowed:
            nearest = difflib.get_close_matches(argument, allowed, n=1, cutoff=0.4)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise InputError(
                f"model {name!r} takes no argument {argument!r}.{hint} It takes: {', '.join(sorted(allowed))}."
            )
    if num_classes < 1:
        raise InputError(f"num_classes={num_classes}: a classifier needs at least 1 class.")
    if not 0 < width <= 16:
        raise InputError(f"width={width}: the factor on the number of channels must lie in (0, 16].")
    return builder(num_classes=num_classes, pool=pool, width=width, **kwargs)
