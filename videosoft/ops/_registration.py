"""What the compiled operators need besides their kernels: shapes for tracing, derivatives, vmap, decompositions."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._library.utils import get_layout_constraint_tag

from videosoft.ops import reference
from videosoft.ops._window import Window, compute_output_size

_ARGUMENTS = (
    "int[] kernel_size, int[] stride, int[] padding, bool ceil_mode, float temperature, bool exact_gradient) -> Tensor"
)
_SCHEMAS = {
    "softpool_forward": f"videosoft::softpool_forward(Tensor input, {_ARGUMENTS}",
    "softpool_backward": f"videosoft::softpool_backward(Tensor grad_output, Tensor input, {_ARGUMENTS}",
}


def register() -> None:
    """Register all that is not a kernel; RuntimeError if the library was built from other sources than these."""
    check_schemas(_SCHEMAS)
    torch.library.register_autograd("videosoft::softpool_forward", _backward, setup_context=_save_input)
    torch.library.register_autograd("videosoft::softpool_backward", _backward_backward, setup_context=_save_gradient)
    torch.library.register_vmap("videosoft::softpool_forward", _vmap_forward)
    torch.library.register_vmap("videosoft::softpool_backward", _vmap_backward)
    register_fake_and_decomposition(torch.ops.videosoft.softpool_forward.default, _decompose_forward, fake_forward)
    register_fake_and_decomposition(torch.ops.videosoft.softpool_backward.default, _decompose_backward, fake_backward)


def check_schemas(schemas: dict[str, str]) -> None:
    for name, expected in schemas.items():
        found = str(getattr(torch.ops.videosoft, name).default._schema)
        if found != expected:
            raise RuntimeError(f"it was built from other sources: it has {found}, not {expected}")


def call_forward(input: torch.Tensor, pooling: reference.Pooling) -> torch.Tensor:
    """SoftPool of a batched input by the compiled operator."""
    window = pooling.window
    return torch.ops.videosoft.softpool_forward.default(
        input,
        window.kernel_size,
        window.stride,
        window.padding,
        window.ceil_mode,
        pooling.temperature,
        pooling.exact_gradient,
    )


def register_fake_and_decomposition(
    operator: torch._ops.OpOverload, decompose: Callable[..., torch.Tensor], fake: Callable[..., torch.Tensor]
) -> None:
    """The operator's shapes, and what torch.onnx.export, which alone reads the whole table, writes it as."""
    torch._decomp.register_decomposition(operator)(decompose)

    def fake_and_permit(*arguments: Any) -> torch.Tensor:
        _permit_kernel_in_inductor(operator)
        return fake(*arguments)

    torch.library.register_fake(operator, fake_and_permit)
    # Without an entry here, fake tensors of symbolic size would run the decomposition instead of the fake kernel.
    torch._decomp.register_decomposition(operator, type="meta")(fake_and_permit)


def _permit_kernel_in_inductor(operator: torch._ops.OpOverload) -> None:
    """Have torch.compile call the kernel as it does by default, also where the environment variable CI is set.

    There it refuses any operator with a decomposition, a rule meant for PyTorch's own. Inductor, which takes seconds to
    import, is not imported for this: it is there whenever a fake kernel runs for it.
    """
    lowering = sys.modules.get("torch._inductor.lowering")
    if lowering is not None and operator not in lowering.lowerings:
        constraint = lowering.tag_to_layout_constraint(get_layout_constraint_tag(operator, with_default=True))
        lowering.make_fallback(operator, constraint, warn=False)


def create_pooling(
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    temperature: float,
    exact_gradient: bool,
) -> reference.Pooling:
    window = Window(tuple(kernel_size), tuple(stride), tuple(padding), ceil_mode)
    return reference.Pooling(window, temperature, exact_gradient)


def _decompose_forward(input: torch.Tensor, *arguments: Any) -> torch.Tensor:
    return reference.softpool_forward(input, create_pooling(*arguments))


def _decompose_backward(grad_output: torch.Tensor, input: torch.Tensor, *arguments: Any) -> torch.Tensor:
    return reference.softpool_backward(grad_output, input, create_pooling(*arguments))


def fake_forward(input: torch.Tensor, *arguments: Any) -> torch.Tensor:
    size = compute_output_size(input.shape[2:], create_pooling(*arguments).window)
    output = input.new_empty((*input.shape[:2], *size))
    return output.contiguous(memory_format=find_memory_format(input))


def fake_backward(grad_output: torch.Tensor, input: torch.Tensor, *arguments: Any) -> torch.Tensor:
    return input.new_empty(input.shape).contiguous(memory_format=find_memory_format(input))


def find_memory_format(input: torch.Tensor) -> torch.memory_format:
    """The layout of the kernels' outputs: channels last if the input is that and not contiguous as well."""
    if not input.is_contiguous():
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        channels_last = formats.get(input.dim())
        if channels_last is not None and input.is_contiguous(memory_format=channels_last):
            return channels_last
    return torch.contiguous_format


def _save_input(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    input, *ctx.arguments = inputs
    ctx.save_for_backward(input)


def _backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    (input,) = ctx.saved_tensors
    gradient = torch.ops.videosoft.softpool_backward.default(grad_output, input, *ctx.arguments)
    return gradient, *(None for _ in ctx.arguments)


def _save_gradient(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    grad_output, input, *ctx.arguments = inputs
    ctx.save_for_backward(grad_output, input)


def _backward_backward(ctx: Any, grad_grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    grad_output, input = ctx.saved_tensors
    pooling = create_pooling(*ctx.arguments)
    return (
        reference.softpool_jvp(grad_grad, input, pooling),
        reference.softpool_backward_backward(grad_grad, grad_output, input, pooling),
        *(None for _ in ctx.arguments),
    )


def _vmap_forward(
    info: Any, in_dims: tuple[int | None, ...], input: torch.Tensor, *arguments: Any
) -> tuple[torch.Tensor, int]:
    samples = put_first(input, in_dims[0], info.batch_size)
    output = torch.ops.videosoft.softpool_forward.default(samples.flatten(0, 1), *arguments)
    return output.unflatten(0, samples.shape[:2]), 0


def _vmap_backward(
    info: Any, in_dims: tuple[int | None, ...], grad_output: torch.Tensor, input: torch.Tensor, *arguments: Any
) -> tuple[torch.Tensor, int]:
    gradients = put_first(grad_output, in_dims[0], info.batch_size)
    samples = put_first(input, in_dims[1], info.batch_size)
    operator = torch.ops.videosoft.softpool_backward.default
    gradient = operator(gradients.flatten(0, 1), samples.flatten(0, 1), *arguments)
    return gradient.unflatten(0, samples.shape[:2]), 0


def put_first(tensor: torch.Tensor, dim: int | None, size: int) -> torch.Tensor:
    """The mapped dimension in front of the batch; a tensor that is not mapped is the same for all of it."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
