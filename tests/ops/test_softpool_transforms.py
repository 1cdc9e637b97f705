"""Derivatives and vmap by torch.func, by torch.autograd and over the operators themselves."""

import collections
import itertools

import pytest
import torch
from softpool_oracle import Case, pool_by_definition
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from videosoft.layers import SoftPool2d
from videosoft.ops import softpool2d
from videosoft.ops._library import LOAD_ERROR

CASE = Case((4, 5), 3, 2, 1)


def pool(input: torch.Tensor) -> torch.Tensor:
    return softpool2d(input, 3, 2, 1)


def loss(input: torch.Tensor) -> torch.Tensor:
    return pool(input).sin().sum()


def differentiate_by_definition(input: torch.Tensor) -> torch.Tensor:
    """The derivative of the loss."""
    output, _, _ = pool_by_definition(input, CASE)
    return pool_by_definition(input, CASE, grad_output=output.cos())[1]


def create_jacobian(input: torch.Tensor) -> torch.Tensor:
    """d pool / d input, one output at a time by the definition."""
    output, _, _ = pool_by_definition(input, CASE)
    jacobian = torch.zeros(*output.shape, *input.shape, dtype=torch.float64)
    for index in itertools.product(*map(range, output.shape)):
        grad_output = torch.zeros_like(output)
        grad_output[index] = 1
        jacobian[index] = pool_by_definition(input, CASE, grad_output=grad_output)[1]
    return jacobian


class CountCalls(TorchDispatchMode):
    """Counts the calls of the compiled operators that are left once autograd and vmap have done their part."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "videosoft":
            self.counts[func.name()] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("in_dim", [0, 1, 3, -1])
def test_vmap_over_any_dimension(in_dim: int, backend: str) -> None:
    input = torch.randn(2, 3, *CASE.size, dtype=torch.float64)
    expected, _, _ = pool_by_definition(input, CASE)
    mapped = torch.vmap(pool, in_dims=in_dim, out_dims=in_dim)(input.unsqueeze(0).movedim(0, in_dim))
    torch.testing.assert_close(mapped.movedim(in_dim, 0).squeeze(0), expected)


@pytest.mark.parametrize("levels", [1, 2])
def test_vmap_of_samples(levels: int, backend: str) -> None:
    input = torch.randn(2, 3, 2, *CASE.size, dtype=torch.float64)
    expected, exact, _ = pool_by_definition(input.flatten(0, 1), CASE)
    function = pool if levels == 1 else torch.vmap(pool)
    leaf = input.requires_grad_()
    # The mapped sample is (3, 2, H, W) with one level, (2, H, W) with two.
    output = torch.vmap(function)(leaf)
    torch.testing.assert_close(output.flatten(0, 1), expected)
    (found,) = torch.autograd.grad(output.sum(), leaf)
    torch.testing.assert_close(found.flatten(0, 1), exact)


@pytest.mark.skipif(LOAD_ERROR is not None, reason=str(LOAD_ERROR))
def test_vmap_is_one_call_of_the_compiled_operator() -> None:
    input = torch.randn(5, 2, *CASE.size, requires_grad=True)
    output = pool(input)
    directions = torch.randn(4, *output.shape)
    with CountCalls() as forward:
        torch.vmap(pool)(input)
    assert forward.counts == {"videosoft::softpool_forward": 1}
    with CountCalls() as backward:
        torch.vmap(lambda direction: torch.autograd.grad(output, input, direction)[0])(directions)
    assert backward.counts == {"videosoft::softpool_backward": 1}


@pytest.mark.skipif(LOAD_ERROR is not None, reason=str(LOAD_ERROR))
@pytest.mark.parametrize("in_dims", [(0, 0), (0, None), (None, 0), (2, 1)])
def test_vmap_over_the_backward_operator(in_dims: tuple[int | None, int | None]) -> None:
    input = torch.randn(3, 2, 2, *CASE.size, dtype=torch.float64)
    grad_output = torch.randn(3, 2, 2, *CASE.output_size(), dtype=torch.float64)
    arguments = ([3, 3], [2, 2], [1, 1], False, 1.0, True)
    samples = [
        tensor[0].expand_as(tensor) if dim is None else tensor
        for tensor, dim in zip((grad_output, input), in_dims, strict=True)
    ]
    placed = [
        tensor[0] if dim is None else tensor.movedim(0, dim)
        for tensor, dim in zip((grad_output, input), in_dims, strict=True)
    ]
    operator = torch.ops.videosoft.softpool_backward
    found = torch.vmap(lambda gradient, sample: operator(gradient, sample, *arguments), in_dims)(*placed)
    expected = [
        pool_by_definition(sample, CASE, grad_output=gradient)[1] for gradient, sample in zip(*samples, strict=True)
    ]
    torch.testing.assert_close(found, torch.stack(expected))


def test_batched_gradients_and_jacobians(backend: str) -> None:
    input = torch.randn(1, 2, *CASE.size, dtype=torch.float64)
    expected = create_jacobian(input)
    leaf = input.clone().requires_grad_()
    output = pool(leaf)
    directions = torch.eye(output.numel(), dtype=torch.float64).view(-1, *output.shape)
    (rows,) = torch.autograd.grad(output, leaf, directions, is_grads_batched=True)
    torch.testing.assert_close(rows.view(expected.shape), expected)
    jacobian = torch.autograd.functional.jacobian
    for found in (
        jacobian(pool, input, vectorize=True),
        jacobian(pool, input, vectorize=True, strategy="forward-mode"),
        torch.func.jacrev(pool)(input),
        torch.func.jacfwd(pool)(input),
    ):
        torch.testing.assert_close(found, expected)


def test_derivatives_by_torch_func(backend: str) -> None:
    input = torch.randn(3, 2, *CASE.size, dtype=torch.float64)
    expected = differentiate_by_definition(input)
    torch.testing.assert_close(torch.func.grad(loss)(input), expected)
    torch.testing.assert_close(torch.vmap(torch.func.grad(loss))(input), expected)
    direction = torch.randn_like(input)
    _, change = torch.func.jvp(loss, (input,), (direction,))
    torch.testing.assert_close(change, (expected * direction).sum())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(input, direction)
        change = torch.autograd.forward_ad.unpack_dual(loss(dual)).tangent
    torch.testing.assert_close(change, (expected * direction).sum())


def test_second_derivatives_by_torch_func(backend: str) -> None:
    input = torch.randn(1, 1, *CASE.size, dtype=torch.float64)
    hessian = torch.func.hessian(loss)(input).view(input.numel(), -1)
    step = 1e-5
    for cell in range(input.numel()):
        change = torch.zeros_like(input)
        change.view(-1)[cell] = step
        slope = differentiate_by_definition(input + change) - differentiate_by_definition(input - change)
        torch.testing.assert_close(hessian[cell], slope.flatten() / (2 * step), rtol=1e-6, atol=1e-8)


def test_gradients_of_a_functional_network(backend: str) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), SoftPool2d(3, 2, 1)).double()
    input = torch.randn(2, 1, *CASE.size, dtype=torch.float64)

    def call(weights: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(network, weights, (input,)).sin().sum()

    found = torch.func.grad(call)(dict(network.named_parameters()))["0.weight"]
    upstream = differentiate_by_definition(network[0](input).detach())
    torch.testing.assert_close(found.flatten(), (upstream * input).sum((0, 2, 3)))
