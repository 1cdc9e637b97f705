"""torch.compile: one graph, right numbers and gradients, one graph for all sizes."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from softpool_oracle import Case, lay_out, pool_by_definition
from torch import nn

from videosoft.layers import SoftPool3d
from videosoft.ops import softpool2d


@pytest.fixture(autouse=True)
def _forget_graphs() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compile_strictly(function: Callable[..., torch.Tensor], **options: object) -> Callable[..., torch.Tensor]:
    return torch.compile(function, fullgraph=True, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dynamic", "layout", "gradient"),
    [(False, "contiguous", "paper"), (False, "channels_last", "exact"), (True, "contiguous", "exact")],
)
def test_inductor_follows_the_definition(dynamic: bool, layout: str, gradient: str, backend: str) -> None:
    # Few cells: inductor writes the reference out cell by cell.
    case = Case((3, 5, 6), (1, 2, 2), (1, 2, 2), (0, 1, 1), ceil_mode=True)
    layer = SoftPool3d((1, 2, 2), None, (0, 1, 1), ceil_mode=True, temperature=1.5, gradient=gradient)
    pool = compile_strictly(lambda input: layer(input * 2) + 1, dynamic=dynamic)
    input = lay_out(torch.randn(2, 3, *case.size, dtype=torch.float64), layout).requires_grad_()
    grad_output = torch.randn(2, 3, *case.output_size(), dtype=torch.float64)
    expected, exact, paper = pool_by_definition(2 * input.detach(), case, 1.5, grad_output)
    output = pool(input)
    torch.testing.assert_close(output, expected + 1, rtol=1e-12, atol=1e-12)
    (found,) = torch.autograd.grad(output, input, grad_output)
    torch.testing.assert_close(found, 2 * (exact if gradient == "exact" else paper), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_a_network_is_compiled_once_for_all_sizes(backend: str) -> None:
    # No convolution after the pooling: inductor compiles the gradient with respect to the input of a 3-D convolution
    # for one size only, behind max pooling as well.
    network = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), SoftPool3d((1, 2, 2)), nn.SiLU()).double()
    eager = copy.deepcopy(network)
    compiled = compile_strictly(network, dynamic=True)
    compiled(torch.randn(2, 3, 5, 8, 9, dtype=torch.float64)).sum().backward()
    network.zero_grad()
    with torch.compiler.set_stance("fail_on_recompile"):
        for size in ((3, 3, 7, 10, 12), (4, 3, 6, 5, 16)):
            input = torch.randn(size, dtype=torch.float64)
            output = compiled(input)
            torch.testing.assert_close(output, eager(input))
            output.sum().backward()
            eager(input).sum().backward()
    for found, expected in zip(network.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.jacrev], ids=["grad", "jacrev"])
def test_a_transform_is_compiled(transform: Callable[..., Callable[..., torch.Tensor]], backend: str) -> None:
    input = torch.randn(1, 1, 4, 5, dtype=torch.float64)

    def loss(input: torch.Tensor) -> torch.Tensor:
        return softpool2d(input, 3, 2, 1).sin().sum()

    compiled = compile_strictly(transform(loss), backend="aot_eager")
    leaf = input.clone().requires_grad_()
    torch.testing.assert_close(compiled(input), torch.autograd.grad(loss(leaf), leaf)[0])


def test_vmap_is_compiled(backend: str) -> None:
    input = torch.randn(3, 2, 4, 5, dtype=torch.float64)
    compiled = compile_strictly(torch.vmap(lambda sample: softpool2d(sample, 2, temperature=0)), backend="aot_eager")
    torch.testing.assert_close(compiled(input), F.avg_pool2d(input, 2))
