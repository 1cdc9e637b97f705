"""The geometry of a pooling window: what a caller may ask for, and the size of what comes out."""

import math
import operator
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from videosoft.errors import InputError

FLOATING_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
GRADIENTS = ("exact", "paper")
MAX_CELLS = 2**24


class Window(NamedTuple):
    """A checked pooling window, one entry a spatial dimension."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil_mode: bool

    @property
    def num_dims(self) -> int:
        return len(self.kernel_size)

    @property
    def num_cells(self) -> int:
        return math.prod(self.kernel_size)


def create_window(
    num_dims: int,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
    ceil_mode: bool,
) -> Window:
    """Check the arguments of a pooling, one entry a dimension; ``stride=None`` means the kernel size."""
    kernel = _expand("kernel_size", kernel_size, num_dims, minimum=1)
    steps = kernel if stride is None else _expand("stride", stride, num_dims, minimum=1)
    pads = _expand("padding", padding, num_dims, minimum=0)
    for size, pad in zip(kernel, pads, strict=True):
        if 2 * pad > size:
            raise InputError(
                f"padding must be at most half of kernel_size, got padding={padding!r} with kernel_size={kernel_size!r}"
                f" (at most {tuple(size // 2 for size in kernel)})"
            )
    if math.prod(kernel) > MAX_CELLS:
        raise InputError(
            f"kernel_size must cover at most {MAX_CELLS} cells, got {kernel_size!r} which covers {math.prod(kernel)}"
        )
    return Window(kernel, steps, pads, bool(ceil_mode))


def check_temperature(temperature: float) -> float:
    """The temperature as a float; it must be finite and not negative."""
    allowed = "a finite number >= 0 (0 is average pooling, large values approach max pooling)"
    if isinstance(temperature, torch.Tensor) or not isinstance(temperature, (int, float)):
        raise InputError(f"temperature must be {allowed}, got {temperature!r}")
    if not 0 <= temperature <= sys.float_info.max:
        raise InputError(f"temperature must be {allowed}, got {temperature!r}")
    return float(temperature)


def check_gradient(gradient: str) -> bool:
    """True for the exact gradient, False for the paper's."""
    if gradient not in GRADIENTS:
        raise InputError(f"gradient must be 'exact' or 'paper', got {gradient!r}")
    return gradient == "exact"


def check_input(input: torch.Tensor, num_dims: int) -> None:
    """The input must be a floating-point tensor with one or two dimensions besides the spatial ones."""
    if not isinstance(input, torch.Tensor):
        raise InputError(f"input must be a torch.Tensor, got {type(input).__name__}")
    if input.dim() not in (num_dims + 1, num_dims + 2):
        names = ", ".join(("T", "H", "W")[3 - num_dims :])
        raise InputError(
            f"input must have {num_dims + 2} dimensions (N, C, {names}) or {num_dims + 1} (C, {names})"
            f" for {num_dims}-D pooling, got {input.dim()}: {tuple(input.shape)}"
        )
    if input.dtype not in FLOATING_DTYPES:
        allowed = ", ".join(str(dtype) for dtype in FLOATING_DTYPES)
        raise InputError(f"input must be of one of the dtypes {allowed}, got {input.dtype}; convert it first")
    if input.layout != torch.strided or input.is_nested:
        kind = "a nested tensor" if input.is_nested else str(input.layout)
        raise InputError(f"input must be a dense tensor, got {kind}; convert it first (Tensor.to_dense)")


def compute_output_size(input_size: Sequence[int], window: Window) -> tuple[int, ...]:
    """Spatial size of the output, by PyTorch's rule: the last window starts inside the input or its left padding."""
    output = []
    for length, kernel, stride, pad in zip(input_size, window.kernel_size, window.stride, window.padding, strict=True):
        spread = length + 2 * pad - kernel + (stride - 1 if window.ceil_mode else 0)
        count = spread // stride + 1
        # Only a stride past the window's inner part can start a window too late; the minimum, and not a branch on
        # the length, keeps a symbolic length free.
        if window.ceil_mode and stride + pad > kernel:
            last = (length + pad - 1) // stride + 1
            # torch 2.10 cannot compile sym_min of plain numbers.
            is_plain = isinstance(count, int) and isinstance(last, int)
            count = min(count, last) if is_plain else torch.sym_min(count, last)  # type: ignore[assignment]
        if length < 1 or count < 1:
            raise InputError(
                f"input is too small for the window: spatial size {tuple(input_size)} with"
                f" kernel_size={window.kernel_size}, stride={window.stride}, padding={window.padding},"
                f" ceil_mode={window.ceil_mode} leaves no output; give a larger input or a smaller kernel"
            )
        output.append(count)
    return tuple(output)


def _expand(name: str, value: int | Sequence[int], num_dims: int, *, minimum: int) -> tuple[int, ...]:
    allowed = f"an integer >= {minimum} and below 2^31 or a tuple of {num_dims} of them"
    values: tuple[Any, ...] = tuple(value) if isinstance(value, (tuple, list)) else (value,) * num_dims
    if len(values) != num_dims:
        raise InputError(f"{name} must be {allowed}, got {value!r} of length {len(values)}")
    try:
        integers = tuple(int(operator.index(entry)) for entry in values)
    except TypeError:
        raise InputError(f"{name} must be {allowed}, got {value!r}") from None
    if any(not minimum <= entry < 2**31 for entry in integers):
        raise InputError(f"{name} must be {allowed}, got {value!r}")
    return integers
