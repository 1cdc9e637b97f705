"""SoftPool as a PyTorch operator: opcheck, autocast, tracing and the transforms of torch.func."""

import pytest
import torch
from softpool_oracle import Case, lay_out

from videosoft.ops import softpool2d, softpool3d
from videosoft.ops._library import LOAD_ERROR

needs_library = pytest.mark.skipif(LOAD_ERROR is not None, reason=str(LOAD_ERROR))
CASE = Case((3, 5, 6), 3, 2, 1)


@needs_library
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
def test_opcheck(layout: str, exact: bool) -> None:
    arguments = ([3, 3, 3], [2, 2, 2], [1, 1, 1], False, 1.5, exact)
    input = lay_out(torch.randn(2, 3, 3, 5, 6), layout).requires_grad_()
    grad_output = torch.randn(2, 3, *CASE.output_size(), requires_grad=True)
    utilities = ("test_schema", "test_autograd_registration", "test_faketensor")
    operators = torch.ops.videosoft
    torch.library.opcheck(operators.softpool_forward.default, (input, *arguments), test_utils=utilities)
    torch.library.opcheck(operators.softpool_backward.default, (grad_output, input, *arguments), test_utils=utilities)


@needs_library
@pytest.mark.slow
def test_opcheck_of_the_compiler_stack() -> None:
    arguments = ([3, 3], [2, 2], [1, 1], True, 1.0, True)
    input = torch.randn(2, 3, 5, 6, requires_grad=True)
    torch.library.opcheck(
        torch.ops.videosoft.softpool_forward.default, (input, *arguments), test_utils=("test_aot_dispatch_dynamic",)
    )


@needs_library
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([3], [2, 2], [1, 1], False, 1.0, True), "same length"),
        (([3, 3, 3], [2] * 3, [1] * 3, False, 1.0, True), "5 dimensions"),
        (([0, 3], [2, 2], [0, 0], False, 1.0, True), "must be positive"),
        (([3, 3], [2, 2], [2, 2], False, 1.0, True), "at most half"),
        (([9, 9], [2, 2], [0, 0], False, 1.0, True), "too small"),
    ],
)
def test_direct_calls_are_checked(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        torch.ops.videosoft.softpool_forward(torch.zeros(1, 1, 5, 5), *arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_does_not_cast(dtype: torch.dtype, backend: str) -> None:
    input = torch.randn(1, 2, 4, 4, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = softpool2d(input, 2)
    assert output.dtype == dtype
    output.sum().backward()
    assert input.grad is not None
    assert input.grad.dtype == dtype


def test_traces_without_a_graph_break(backend: str) -> None:
    def network(input: torch.Tensor) -> torch.Tensor:
        return softpool2d(input * 2, 2) + 1

    input = torch.randn(2, 3, 5, 6, requires_grad=True)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(input), network(input))
    (expected,) = torch.autograd.grad(network(input).sum(), input)
    (found,) = torch.autograd.grad(compiled(input).sum(), input)
    torch.testing.assert_close(found, expected)


def test_meta_tensors_have_the_output_size() -> None:
    assert softpool3d(torch.empty(2, 3, 8, 9, 10, device="meta"), 3, 2, 1).shape == (2, 3, 4, 5, 5)


def test_transforms_follow_the_derivative(backend: str) -> None:
    input = torch.randn(3, 2, 5, 6, dtype=torch.float64)

    def pool(input: torch.Tensor) -> torch.Tensor:
        return softpool2d(input, 3, 2, 1)

    def loss(input: torch.Tensor) -> torch.Tensor:
        return pool(input).sin().sum()

    def loss_by_autograd(input: torch.Tensor) -> torch.Tensor:
        input = input.detach().requires_grad_()
        return torch.autograd.grad(loss(input), input)[0]

    torch.testing.assert_close(torch.vmap(pool)(input), pool(input))
    torch.testing.assert_close(torch.func.grad(loss)(input), loss_by_autograd(input))
    torch.testing.assert_close(
        torch.vmap(torch.func.grad(loss))(input), torch.stack([loss_by_autograd(sample) for sample in input])
    )
    direction = torch.randn_like(input)
    _, change = torch.func.jvp(loss, (input,), (direction,))
    torch.testing.assert_close(change, (loss_by_autograd(input) * direction).sum())
    small = input[0, :1]
    torch.testing.assert_close(
        torch.func.hessian(loss)(small), torch.autograd.functional.hessian(loss, small), rtol=1e-7, atol=1e-9
    )
