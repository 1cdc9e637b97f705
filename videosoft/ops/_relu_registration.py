"""What the operators of SoftPool after ReLU need besides their CUDA kernels; the CPU's are composed of the others."""

from collections.abc import Callable
from typing import Any

import torch

from videosoft.ops import _registration, reference

Factors = torch.Tensor | None

_ARGUMENTS = (
    "Tensor? scale, Tensor? shift, int[] kernel_size, int[] stride, int[] padding, bool ceil_mode, float temperature,"
    " bool exact_gradient) -> Tensor"
)
_SCHEMAS = {
    "softpool_relu_forward": f"videosoft::softpool_relu_forward(Tensor input, {_ARGUMENTS}",
    "softpool_relu_backward": f"videosoft::softpool_relu_backward(Tensor grad_output, Tensor input, {_ARGUMENTS}",
}

# Where the CUDA kernels are rehearsed on the host (tests/cuda_rehearsal).
HAS_CPU_KERNELS = False


def register() -> None:
    """Register all that is not a kernel of a library; RuntimeError if it was built from other sources than these."""
    global HAS_CPU_KERNELS
    _registration.check_schemas(_SCHEMAS)
    HAS_CPU_KERNELS = torch._C._dispatch_has_kernel_for_dispatch_key("videosoft::softpool_relu_forward", "CPU")
    forward, backward = "videosoft::softpool_relu_forward", "videosoft::softpool_relu_backward"
    if not HAS_CPU_KERNELS:
        torch.library.impl(forward, "CPU")(_compose_forward)
        torch.library.impl(backward, "CPU")(_compose_backward)
    torch.library.register_autograd(forward, _backward, setup_context=_save_input)
    torch.library.register_autograd(backward, _backward_backward, setup_context=_save_gradient)
    torch.library.register_vmap(forward, _vmap_forward)
    torch.library.register_vmap(backward, _vmap_backward)
    operators = torch.ops.videosoft
    _registration.register_fake_and_decomposition(
        operators.softpool_relu_forward.default, _decompose_forward, _fake_forward
    )
    _registration.register_fake_and_decomposition(
        operators.softpool_relu_backward.default, _decompose_backward, _fake_backward
    )


def call_forward(input: torch.Tensor, scale: Factors, shift: Factors, pooling: reference.Pooling) -> torch.Tensor:
    """SoftPool of max(0, scale x + shift) of a batched input by the operator; no gradient for scale and shift."""
    window = pooling.window
    return torch.ops.videosoft.softpool_relu_forward.default(
        input,
        scale,
        shift,
        window.kernel_size,
        window.stride,
        window.padding,
        window.ceil_mode,
        pooling.temperature,
        pooling.exact_gradient,
    )


def activate(input: torch.Tensor, scale: Factors, shift: Factors) -> torch.Tensor:
    """max(0, scale x + shift), of the dtype that scale and input have together: float32 for half types with a scale."""
    if scale is None and shift is None:
        return input.relu()
    if scale is None or shift is None:
        raise ValueError("softpool: scale and shift must be given together")
    return torch.addcmul(_align(shift, input), input, _align(scale, input)).relu()


def _align(factors: torch.Tensor, input: torch.Tensor) -> torch.Tensor:
    """One number a channel in the shape of a batched input."""
    return factors.view(-1, *(1,) * (input.dim() - 2))


def _find_slope(input: torch.Tensor, scale: Factors, activated: torch.Tensor) -> torch.Tensor:
    """d activated / dx; as of PyTorch's ReLU it is 0 at 0, and not 0 at NaN."""
    slope = (~(activated <= 0)).to(activated.dtype)
    return slope if scale is None else slope * _align(scale, input)


def _keep_layout(tensor: torch.Tensor, input: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=_registration.find_memory_format(input))


def _compose_forward(input: torch.Tensor, scale: Factors, shift: Factors, *arguments: Any) -> torch.Tensor:
    activated = _keep_layout(activate(input, scale, shift), input)
    return torch.ops.videosoft.softpool_forward.default(activated, *arguments).to(input.dtype)


def _compose_backward(
    grad_output: torch.Tensor, input: torch.Tensor, scale: Factors, shift: Factors, *arguments: Any
) -> torch.Tensor:
    activated = _keep_layout(activate(input, scale, shift), input)
    operator = torch.ops.videosoft.softpool_backward.default
    gradient = operator(grad_output.to(activated.dtype), activated, *arguments)
    return _chain(gradient, input, scale, activated)


def _chain(gradient: torch.Tensor, input: torch.Tensor, scale: Factors, activated: torch.Tensor) -> torch.Tensor:
    """From the gradient of what was activated to that of the input; 0 where ReLU cuts off, even if it was NaN."""
    scaled = gradient if scale is None else gradient * _align(scale, input)
    return torch.where(activated <= 0, 0.0, scaled).to(input.dtype)


def _decompose_forward(input: torch.Tensor, scale: Factors, shift: Factors, *arguments: Any) -> torch.Tensor:
    pooling = _registration.create_pooling(*arguments)
    return reference.softpool_forward(activate(input, scale, shift), pooling).to(input.dtype)


def _decompose_backward(
    grad_output: torch.Tensor, input: torch.Tensor, scale: Factors, shift: Factors, *arguments: Any
) -> torch.Tensor:
    activated = activate(input, scale, shift)
    pooling = _registration.create_pooling(*arguments)
    return _chain(reference.softpool_backward(grad_output, activated, pooling), input, scale, activated)


def _fake_forward(input: torch.Tensor, scale: Factors, shift: Factors, *arguments: Any) -> torch.Tensor:
    return _registration.fake_forward(input, *arguments)


def _fake_backward(grad_output: torch.Tensor, input: torch.Tensor, *arguments: Any) -> torch.Tensor:
    return _registration.fake_backward(grad_output, input, *arguments)


def _save_input(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    input, scale, shift, *ctx.arguments = inputs
    ctx.save_for_backward(input, scale, shift)


def _backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    operator = torch.ops.videosoft.softpool_relu_backward.default
    gradient = operator(grad_output, *ctx.saved_tensors, *ctx.arguments)
    return gradient, None, None, *(None for _ in ctx.arguments)


def _save_gradient(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    grad_output, input, scale, shift, *ctx.arguments = inputs
    ctx.save_for_backward(grad_output, input, scale, shift)


def _backward_backward(ctx: Any, grad_grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    grad_output, input, scale, shift = ctx.saved_tensors
    pooling = _registration.create_pooling(*ctx.arguments)
    activated = activate(input, scale, shift)
    direction = grad_grad * _find_slope(input, scale, activated)
    change = reference.softpool_backward_backward(direction, grad_output, activated, pooling)
    return (
        reference.softpool_jvp(direction, activated, pooling).to(grad_output.dtype),
        _chain(change, input, scale, activated),
        None,
        None,
        *(None for _ in ctx.arguments),
    )


def _vmap_forward(
    info: Any, in_dims: tuple[int | None, ...], input: torch.Tensor, scale: Factors, shift: Factors, *arguments: Any
) -> tuple[torch.Tensor, int]:
    operator = torch.ops.videosoft.softpool_relu_forward.default
    return _map(operator, info.batch_size, in_dims, (input,), scale, shift, arguments)


def _vmap_backward(
    info: Any,
    in_dims: tuple[int | None, ...],
    grad_output: torch.Tensor,
    input: torch.Tensor,
    scale: Factors,
    shift: Factors,
    *arguments: Any,
) -> tuple[torch.Tensor, int]:
    operator = torch.ops.videosoft.softpool_relu_backward.default
    return _map(operator, info.batch_size, in_dims, (grad_output, input), scale, shift, arguments)


def _map(
    operator: Callable[..., torch.Tensor],
    size: int,
    in_dims: tuple[int | None, ...],
    tensors: tuple[torch.Tensor, ...],
    scale: Factors,
    shift: Factors,
    arguments: tuple[Any, ...],
) -> tuple[torch.Tensor, int]:
    """One call for all mapped samples, unless each has a scale or a shift of its own."""
    placed = [_registration.put_first(tensor, dim, size) for tensor, dim in zip(tensors, in_dims, strict=False)]
    scale_dim, shift_dim = in_dims[len(tensors) : len(tensors) + 2]
    if scale is None or shift is None or (scale_dim is None and shift_dim is None):
        output = operator(*(tensor.flatten(0, 1) for tensor in placed), scale, shift, *arguments)
        return output.unflatten(0, placed[0].shape[:2]), 0
    scales = _registration.put_first(scale, scale_dim, size)
    shifts = _registration.put_first(shift, shift_dim, size)
    outputs = [operator(*each, *arguments) for each in zip(*placed, scales, shifts, strict=True)]
    return torch.stack(outputs), 0
