"""Shapes and windows that nobody thought of, against the float64 reference."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from softpool_oracle import TOLERANCES, Case, lay_out

from videosoft.ops import reference
from videosoft.ops._window import create_window

RUNS_ON_GPU = True
pytestmark = pytest.mark.usefixtures("kernels")


@st.composite
def draw_cases(draw: st.DrawFn) -> Case:
    num_dims = draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 5)) for _ in range(num_dims))
    stride = tuple(draw(st.integers(1, 4)) for _ in range(num_dims))
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    limits = (40, 20, 10)
    size = tuple(
        draw(st.integers(max(1, k - 2 * p), limits[num_dims - 1])) for k, p in zip(kernel, padding, strict=True)
    )
    return Case(size, kernel, stride, padding, draw(st.booleans()))


@settings(max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(
    case=draw_cases(),
    num_channels=st.integers(1, 40),
    dtype=st.sampled_from(list(TOLERANCES)),
    layout=st.sampled_from(["contiguous", "channels_last"]),
    exact=st.booleans(),
)
def test_random_shapes_match_the_float64_reference(
    case: Case, num_channels: int, dtype: torch.dtype, layout: str, exact: bool
) -> None:
    input = lay_out((2 * torch.randn(2, num_channels, *case.size)).to(dtype), layout).requires_grad_()
    output = case.softpool(input, gradient="exact" if exact else "paper")
    grad_output = torch.randn_like(output)
    (found,) = torch.autograd.grad(output, input, grad_output)
    window = create_window(case.num_dims, case.kernel_size, case.stride, case.padding, case.ceil_mode)
    pooling = reference.Pooling(window, 1.0, exact)
    values = input.detach().double()
    torch.testing.assert_close(output.double(), reference.softpool_forward(values, pooling), **TOLERANCES[dtype])
    expected = reference.softpool_backward(grad_output.double(), values, pooling)
    torch.testing.assert_close(found.double(), expected, **TOLERANCES[dtype])
