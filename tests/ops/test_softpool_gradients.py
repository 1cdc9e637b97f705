"""Derivatives of both kinds, of first and second order."""

import pytest
import torch
from softpool_oracle import Case

from videosoft.ops import reference
from videosoft.ops._window import create_window

RUNS_ON_GPU = True

CASES = [
    Case((7,), 3, 2, 1),
    Case((4, 5), (3, 2), (2, 1), (1, 0), ceil_mode=True),
    Case((3, 3, 2), 3, 2, 1),
    Case((3, 4, 1), (2, 2, 1), 3, ceil_mode=True),
]


@pytest.mark.parametrize("temperature", [1.0, 0.0, 1.7])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_exact_gradient_passes_gradcheck(case: Case, temperature: float, backend: str) -> None:
    input = torch.randn(1, 1, *case.size, dtype=torch.float64, requires_grad=True)

    def pool(input: torch.Tensor) -> torch.Tensor:
        return case.softpool(input, temperature=temperature)

    assert torch.autograd.gradcheck(pool, input)
    assert torch.autograd.gradgradcheck(pool, input)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_paper_gradient_is_the_weights_and_fails_gradcheck(case: Case, backend: str) -> None:
    input = torch.randn(1, 2, *case.size, dtype=torch.float64, requires_grad=True)
    output = case.softpool(input, gradient="paper")
    for index in range(output.numel()):
        grad_output = torch.zeros_like(output)
        grad_output.view(-1)[index] = 1
        (weights,) = torch.autograd.grad(output, input, grad_output, retain_graph=True)
        # One window: the weights sum to 1 and give its output.
        torch.testing.assert_close(weights.sum(), torch.tensor(1.0, dtype=torch.float64))
        torch.testing.assert_close((weights * input).sum(), output.view(-1)[index])
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(lambda input: case.softpool(input, gradient="paper"), input)


@pytest.mark.parametrize("gradient", ["exact", "paper"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_backward_has_the_right_derivative(case: Case, gradient: str, backend: str) -> None:
    input = torch.randn(1, 1, *case.size, dtype=torch.float64, requires_grad=True)
    grad_output = torch.randn(1, 1, *case.output_size(), dtype=torch.float64, requires_grad=True)

    def differentiate(grad_output: torch.Tensor, input: torch.Tensor) -> torch.Tensor:
        output = case.softpool(input, temperature=1.3, gradient=gradient)
        return torch.autograd.grad(output, input, grad_output, create_graph=True)[0]

    assert torch.autograd.gradcheck(differentiate, (grad_output, input))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_closed_form_of_the_double_backward_matches_autograd(case: Case, exact: bool) -> None:
    window = create_window(case.num_dims, case.kernel_size, case.stride, case.padding, case.ceil_mode)
    pooling = reference.Pooling(window, 1.3, exact)
    input = torch.randn(1, 1, *case.size, dtype=torch.float64, requires_grad=True)
    grad_output = torch.randn(1, 1, *case.output_size(), dtype=torch.float64)
    grad_grad = torch.randn_like(input)
    backward = reference.softpool_backward(grad_output, input, pooling)
    (expected,) = torch.autograd.grad(backward, input, grad_grad)
    closed = reference.softpool_backward_backward(grad_grad, grad_output, input.detach(), pooling)
    torch.testing.assert_close(closed, expected)
