"""The public functions: softpool1d, softpool2d and softpool3d."""

import functools
import operator
from collections.abc import Sequence
from typing import Any

import torch

from videosoft.ops import _registration, reference
from videosoft.ops._library import find_obstacle
from videosoft.ops._window import check_gradient, check_input, check_temperature, compute_output_size, create_window


def softpool1d(
    input: torch.Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    *,
    ceil_mode: bool = False,
    temperature: float = 1.0,
    gradient: str = "exact",
) -> torch.Tensor:
    """SoftPool over windows of a sequence: (N, C, L) or (C, L) in, the same number of dimensions out.

    See :func:`softpool3d` for the definition and the arguments.
    """
    return _softpool(1, input, kernel_size, stride, padding, ceil_mode, temperature, gradient)


def softpool2d(
    input: torch.Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    *,
    ceil_mode: bool = False,
    temperature: float = 1.0,
    gradient: str = "exact",
) -> torch.Tensor:
    """SoftPool over windows of an image: (N, C, H, W) or (C, H, W) in, the same number of dimensions out.

    See :func:`softpool3d` for the definition and the arguments.
    """
    return _softpool(2, input, kernel_size, stride, padding, ceil_mode, temperature, gradient)


def softpool3d(
    input: torch.Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    *,
    ceil_mode: bool = False,
    temperature: float = 1.0,
    gradient: str = "exact",
) -> torch.Tensor:
    r"""SoftPool over windows of a video: each output cell is the softmax-weighted mean of its window R.

        w_i = exp(b x_i) / sum_{j in R} exp(b x_j)        y = sum_{i in R} w_i x_i

        dy/dx_i = w_i (1 + b (x_i - y))    gradient="exact"
        dy/dx_i = w_i                      gradient="paper": the weights held constant

    ``input`` is (N, C, T, H, W) or (C, T, H, W), of float64, float32, float16 or bfloat16; the output has the same
    dtype, and half types accumulate in float32. Sizes are one integer or a tuple in the order T, H, W; ``stride`` is
    the kernel size unless given. The output size follows PyTorch's pooling, ``ceil_mode`` included. b is
    ``temperature``: 0 is average pooling, large values approach max pooling.

    Cells outside the input (padding, the ragged edge of ``ceil_mode``) have weight 0: they are left out of the softmax,
    never counted as zeros. Finite input never gives NaN or infinity. NaN in a window gives NaN, else +inf gives +inf,
    both with NaN gradients; a cell at -inf has weight and gradient 0, at every temperature; a window of -inf alone
    gives -inf.

    Raises :class:`videosoft.errors.InputError`, naming the argument, for a size, stride, padding, temperature,
    gradient, dtype or shape that is not allowed.

    Stergiou, Poppe, Kalliatakis, "Refining activation downsampling with SoftPool", ICCV 2021. The paper states the
    gradient as w_i; the default here is the true one (docs/decisions/0001-gradient.md). The paper's code has neither
    padding nor temperature and does not subtract the maximum (docs/decisions/0002, 0003).
    """
    return _softpool(3, input, kernel_size, stride, padding, ceil_mode, temperature, gradient)


def _softpool(
    num_dims: int,
    input: torch.Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
    ceil_mode: bool,
    temperature: float,
    gradient: str,
) -> torch.Tensor:
    pooling = find_pooling(num_dims, kernel_size, stride, padding, ceil_mode, temperature, gradient)
    check_input(input, num_dims)
    batched = input if input.dim() == num_dims + 2 else input.unsqueeze(0)
    try:
        if find_obstacle(input.device.type) is None and not needs_reference():
            output = _registration.call_forward(batched, pooling)
        else:
            output = reference.softpool(batched, pooling)
    except RuntimeError:
        # Too small an input is refused by the kernels as well; checked here only then, for a small call's sake.
        compute_output_size(batched.shape[2:], pooling.window)
        raise
    return output if input.dim() == num_dims + 2 else output.squeeze(0)


def find_pooling(num_dims: int, kernel_size: Any, stride: Any, padding: Any, *options: Any) -> reference.Pooling:
    """The checked arguments, remembered: checking them again at each call would cost more than a small pooling."""
    if not torch.compiler.is_compiling():
        try:
            sizes = _freeze(kernel_size), _freeze(stride), _freeze(padding)
            return _remember_pooling(num_dims, *sizes, *options)
        except TypeError:  # what no key can be made of is checked, and refused, below
            pass
    return _create_pooling(num_dims, kernel_size, stride, padding, *options)


def _freeze(size: Any) -> Any:
    # As a key (2.0, 2) is the same as (2, 2); operator.index tells them apart.
    return tuple(map(operator.index, size)) if isinstance(size, (tuple, list)) else size


def _create_pooling(
    num_dims: int,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
    ceil_mode: bool,
    temperature: float,
    gradient: str,
) -> reference.Pooling:
    window = create_window(num_dims, kernel_size, stride, padding, ceil_mode)
    return reference.Pooling(window, check_temperature(temperature), check_gradient(gradient))


_remember_pooling = functools.lru_cache(maxsize=1024, typed=True)(_create_pooling)


def needs_reference() -> bool:
    """Whether derivatives are taken that only the reference can follow: by torch.func or in forward mode."""
    if torch.autograd.forward_ad._current_level >= 0:
        return True
    if not torch._C._are_functorch_transforms_active():
        return False
    # vmap alone reaches the compiled operators, which know how to map; the compiler cannot look into the levels.
    levels = None if torch.compiler.is_compiling() else torch._C._functorch.get_interpreter_stack()
    return levels is None or any(level.key() != torch._C._functorch.TransformType.Vmap for level in levels)
