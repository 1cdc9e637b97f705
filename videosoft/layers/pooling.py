"""Building a pooling by its kind, and swapping the poolings of any network."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from videosoft.errors import InputError
from videosoft.layers.softpool import SoftPool1d, SoftPool2d, SoftPool3d
from videosoft.ops._window import create_window

POOL_KINDS = ("soft", "max", "avg")

_MODULES: dict[str, tuple[type[nn.Module], type[nn.Module], type[nn.Module]]] = {
    "soft": (SoftPool1d, SoftPool2d, SoftPool3d),
    "max": (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    "avg": (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
}


@dataclass(frozen=True)
class ReplacedPooling:
    """One swap: the dotted name of the module, and its text before and after."""

    name: str
    before: str
    after: str


def create_pool3d(
    kind: str,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    *,
    ceil_mode: bool = False,
    temperature: float = 1.0,
) -> nn.Module:
    """A pooling of (N, C, T, H, W) by its kind: "soft", "max" or "avg" (which leaves padding out of its count).

    ``temperature`` is that of SoftPool; the other kinds have none.

    Raises :class:`InputError` for an unknown kind, a window that is not allowed, or a temperature where there is none.
    """
    _check_kind(kind)
    if kind != "soft" and temperature != 1:
        raise InputError(f"temperature={temperature!r} belongs to pool='soft': leave it out with pool={kind!r}")
    return _create_pool(3, kind, kernel_size, stride, padding, ceil_mode, temperature=temperature)


def replace_pooling(
    model: nn.Module, to: str = "soft", where: str = "stem", pool_kernel: int | None = None
) -> list[ReplacedPooling]:
    """Swap max, average and soft poolings (1-D, 2-D or 3-D) of ``model`` in place, and say what was swapped.

    ``where`` is "stem" (the first pooling in the order of ``model.named_modules()``), "all", or a regular expression
    that is searched in the dotted names. Kernel, stride, padding and ``ceil_mode`` are kept, and a SoftPool's
    temperature and gradient where it stays one; ``pool_kernel=k`` gives kernel k with padding 0 and keeps the stride:
    with k = 2 the published form, SoftPool(2, 2) for MaxPool(3, 2, 1).
    Adaptive and global poolings are never touched, nor are poolings that a network calls as functions.

    Raises :class:`InputError` for an unknown kind, a pattern that is no regular expression, a pooling whose meaning
    would change (dilation, returned indices, another divisor), and when nothing matches, naming the poolings there are.
    """
    _check_kind(to)
    modules = model.named_modules(remove_duplicate=False)
    poolings = {name: module for name, module in modules if _find_num_dims(module) is not None}
    chosen = _select_names(list(poolings), where)
    if not chosen:
        there_are = ", ".join(f"{name} ({type(module).__name__})" for name, module in poolings.items()) or "none"
        raise InputError(f"where={where!r} matches no pooling module of {type(model).__name__}; there are: {there_are}")
    if "" in chosen:
        raise InputError(f"model is itself a {type(model).__name__}: build the other pooling instead of swapping it")
    swaps = {name: _convert_pool(name, poolings[name], to, pool_kernel) for name in chosen}
    replaced = []
    for name, pool in swaps.items():
        pool.train(poolings[name].training)
        model.set_submodule(name, pool)
        replaced.append(ReplacedPooling(name, before=repr(poolings[name]), after=repr(pool)))
    return replaced


def _create_pool(
    num_dims: int,
    kind: str,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
    ceil_mode: bool,
    **soft_options: Any,
) -> nn.Module:
    """Build a pooling; ``soft_options`` (temperature, gradient) are SoftPool's and do not concern the other kinds."""
    _check_kind(kind)
    create_window(num_dims, kernel_size, stride, padding, ceil_mode)
    build: Callable[..., nn.Module] = _MODULES[kind][num_dims - 1]
    options = {"soft": soft_options, "max": {}, "avg": {"count_include_pad": False}}[kind]
    return build(kernel_size, stride, padding, ceil_mode=ceil_mode, **options)


def _check_kind(kind: str) -> None:
    if kind not in POOL_KINDS:
        raise InputError(f"the kind of a pooling must be one of {', '.join(map(repr, POOL_KINDS))}, got {kind!r}")


def _find_num_dims(module: nn.Module) -> int | None:
    for classes in _MODULES.values():
        for num_dims, cls in enumerate(classes, start=1):
            if isinstance(module, cls):
                return num_dims
    return None


def _select_names(names: list[str], where: str) -> list[str]:
    if where == "stem":
        return names[:1]
    if where == "all":
        return names
    try:
        pattern = re.compile(where)
    except re.error as error:
        raise InputError(
            f"where must be 'stem', 'all' or a regular expression on module names, got {where!r}: {error}"
        ) from None
    return [name for name in names if pattern.search(name)]


def _convert_pool(name: str, pool: nn.Module, to: str, pool_kernel: int | None) -> nn.Module:
    num_dims = _find_num_dims(pool)
    assert num_dims is not None
    for attribute, allowed in (("dilation", 1), ("return_indices", False), ("divisor_override", None)):
        value = getattr(pool, attribute, allowed)
        values = value if isinstance(value, tuple) else (value,)
        if any(entry != allowed for entry in values):
            raise InputError(
                f"{name} is {pool!r} with {attribute}={value!r}, which no other pooling can stand in for;"
                " choose other modules with where"
            )
    kernel_size, padding = (pool.kernel_size, pool.padding) if pool_kernel is None else (pool_kernel, 0)
    is_soft = isinstance(pool, _MODULES["soft"])
    kept = {"temperature": pool.temperature, "gradient": pool.gradient} if is_soft else {}
    return _create_pool(num_dims, to, kernel_size, pool.stride, padding, pool.ceil_mode, **kept)  # type: ignore[arg-type]
