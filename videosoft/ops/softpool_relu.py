"""SoftPool after ReLU in one pass over memory: softpool_relu2d and softpool_relu3d."""

from collections.abc import Sequence
from typing import Any

import torch

from videosoft.errors import InputError
from videosoft.ops import _relu_registration
from videosoft.ops._library import find_obstacle
from videosoft.ops._window import check_input, compute_output_size
from videosoft.ops.softpool import find_pooling, needs_reference, softpool2d, softpool3d

_SOFTPOOLS = {2: softpool2d, 3: softpool3d}
# What is no subclass with an idea of its own of what an operator does.
_PLAIN = (torch.Tensor, torch.nn.Parameter)


def softpool_relu2d(
    input: torch.Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    *,
    scale: torch.Tensor | None = None,
    shift: torch.Tensor | None = None,
    ceil_mode: bool = False,
    temperature: float = 1.0,
    gradient: str = "exact",
) -> torch.Tensor:
    """SoftPool of ReLU over windows of an image: (N, C, H, W) or (C, H, W) in, the same number of dimensions out.

    See :func:`softpool_relu3d` for the definition and the arguments.
    """
    sizes = (kernel_size, stride, padding)
    return _softpool_relu(2, input, scale, shift, sizes, ceil_mode, temperature, gradient)


def softpool_relu3d(
    input: torch.Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    *,
    scale: torch.Tensor | None = None,
    shift: torch.Tensor | None = None,
    ceil_mode: bool = False,
    temperature: float = 1.0,
    gradient: str = "exact",
) -> torch.Tensor:
    r"""SoftPool of ReLU over windows of a video, of what a batch norm in evaluation makes of it if there is a scale:

        softpool3d(max(0, scale_c x + shift_c), ...)

    On CUDA one kernel does it all, and one its gradient: nothing but the input is read or kept. Elsewhere, and for
    derivatives that the kernels do not have (forward mode, torch.func, of scale and shift), it is put together from
    the separate functions.

    ``scale`` and ``shift`` are of shape (C,), both or neither, in float64 for float64 input and else in float32. The
    product is never rounded to a half type, unlike the output of a batch norm. NaN stays NaN, and cells outside the
    input take no part; where ReLU cuts off, at 0 included, the gradient is 0. All else is as in
    :func:`videosoft.ops.softpool3d`.

    Raises :class:`videosoft.errors.InputError`, naming the argument, for what is not allowed.
    """
    sizes = (kernel_size, stride, padding)
    return _softpool_relu(3, input, scale, shift, sizes, ceil_mode, temperature, gradient)


def _softpool_relu(
    num_dims: int,
    input: torch.Tensor,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    sizes: tuple[Any, Any, Any],
    ceil_mode: bool,
    temperature: float,
    gradient: str,
) -> torch.Tensor:
    pooling = find_pooling(num_dims, *sizes, ceil_mode, temperature, gradient)
    check_input(input, num_dims)
    batched = input if input.dim() == num_dims + 2 else input.unsqueeze(0)
    _check_factors(scale, shift, batched)
    if _needs_composition(input, scale, shift):
        activated = _relu_registration.activate(batched, scale, shift)
        separate = _SOFTPOOLS[num_dims](
            activated, *sizes, ceil_mode=ceil_mode, temperature=temperature, gradient=gradient
        )
        output = separate.to(input.dtype)
    else:
        try:
            output = _relu_registration.call_forward(batched, scale, shift, pooling)
        except RuntimeError:
            # Refused by the kernels as well; here with kinder words.
            compute_output_size(batched.shape[2:], pooling.window)
            raise
    return output if input.dim() == num_dims + 2 else output.squeeze(0)


def _check_factors(scale: torch.Tensor | None, shift: torch.Tensor | None, input: torch.Tensor) -> None:
    if scale is None and shift is None:
        return
    dtype = torch.float64 if input.dtype == torch.float64 else torch.float32
    for name, factors, other in (("scale", scale, "shift"), ("shift", shift, "scale")):
        if factors is None:
            raise InputError(f"{name} must be given together with {other}, got None")
        if not isinstance(factors, torch.Tensor):
            raise InputError(f"{name} must be a torch.Tensor, got {type(factors).__name__}")
        if factors.dim() != 1 or factors.shape[0] != input.shape[1]:
            raise InputError(
                f"{name} must have one entry a channel, shape ({input.shape[1]},), got {tuple(factors.shape)}"
            )
        if factors.dtype != dtype or factors.device != input.device:
            raise InputError(
                f"{name} must be of {dtype} on {input.device} with this input, got {factors.dtype} on {factors.device}"
            )


def _needs_composition(input: torch.Tensor, scale: torch.Tensor | None, shift: torch.Tensor | None) -> bool:
    """Whether the operator has no kernels here, or not all derivatives that may be asked for."""
    if find_obstacle(input.device.type) is not None or needs_reference() or torch._C._are_functorch_transforms_active():
        return True
    # Composed here of the separate functions, autograd keeps what the operator would have to find anew.
    if input.device.type == "cpu" and not _relu_registration.HAS_CPU_KERNELS:
        return True
    tensors = [tensor for tensor in (input, scale, shift) if tensor is not None]
    if not torch.compiler.is_compiling() and any(type(tensor) not in _PLAIN for tensor in tensors):
        return True
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors[1:])
