"""Windows and sizes that the kernels take in whole vectors, with what may go wrong beside them."""

import math

import pytest
import torch
from softpool_oracle import TOLERANCES, Case, lay_out

from videosoft.ops import reference
from videosoft.ops._window import create_window

RUNS_ON_GPU = True
pytestmark = pytest.mark.usefixtures("kernels")

# Rows of 8, 16, 24 cells and 8 or 40 channels are whole vectors in every dtype; other sizes are next to that.
CASES = [
    Case((6, 16), 2),
    Case((7, 16), 2),  # a row in no window
    Case((4, 6, 8), 2),
    Case((4, 6, 24), 2),
    Case((3, 6, 16), (1, 2, 2)),
    Case((5, 6, 8), 2, ceil_mode=True),  # a window that is partly outside
    Case((9, 16), 3, 2, 1),
    Case((10, 24), 3, 2, 1),
    Case((10, 24), 3, 2, 1, ceil_mode=True),
    Case((70, 16), 3, 2, 1),
    Case((5, 7, 16), 3, 2, 1),
    Case((6, 8, 8), 3, 2, 1),
    Case((17, 5, 8), 3, 2, 1),
    Case((24, 3, 16), 3, 2, 1, ceil_mode=True),
    Case((3, 18, 16), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Case((3, 5, 7), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Case((6, 9, 16), 3, 1, 1),  # a window of no special kernel
    Case((40, 45), 3, 2, 1),  # more windows than a tile holds, with 40 channels
]


def differentiate(case: Case, input: torch.Tensor, grad_output: torch.Tensor, **options: object) -> torch.Tensor:
    leaf = input.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(case.softpool(leaf, **options), leaf, grad_output)
    return gradient


def compare(case: Case, input: torch.Tensor, grad_output: torch.Tensor, temperature: float) -> None:
    window = create_window(case.num_dims, case.kernel_size, case.stride, case.padding, case.ceil_mode)
    tolerance = TOLERANCES[input.dtype]
    for gradient in ("exact", "paper"):
        pooling = reference.Pooling(window, temperature, gradient == "exact")
        output = case.softpool(input, temperature=temperature, gradient=gradient)
        expected = reference.softpool_forward(input.double(), pooling)
        torch.testing.assert_close(output.double(), expected, equal_nan=True, **tolerance)
        found = differentiate(case, input, grad_output, temperature=temperature, gradient=gradient)
        expected = reference.softpool_backward(grad_output.double(), input.double(), pooling)
        torch.testing.assert_close(found.double(), expected, equal_nan=True, **tolerance)


@pytest.mark.parametrize("num_channels", [8, 40])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_whole_vectors_match_the_float64_reference(
    case: Case, dtype: torch.dtype, layout: str, num_channels: int
) -> None:
    input = lay_out((2 * torch.randn(2, num_channels, *case.size)).to(dtype), layout)
    grad_output = torch.randn(2, num_channels, *case.output_size()).to(dtype)
    compare(case, input, grad_output, 1.0)
    compare(case, input, grad_output, 0.7)


@pytest.mark.parametrize("share", [0.002, 0.1, 1.0])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outliers_in_vectors(case: Case, dtype: torch.dtype, layout: str, share: float) -> None:
    input = torch.randn(2, 8, *case.size)
    is_outlier = torch.rand_like(input) < share
    outliers = torch.tensor([100.0, -100.0, 6e4, -6e4, -math.inf])
    input = torch.where(is_outlier, outliers[torch.randint(len(outliers), input.shape)], input)
    grad_output = torch.randn(2, 8, *case.output_size()).to(dtype)
    compare(case, lay_out(input.to(dtype), layout), grad_output, 1.0)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_cells_in_vectors_stay_in_their_windows(case: Case, dtype: torch.dtype, layout: str) -> None:
    clean = torch.randn(1, 8, *case.size).to(dtype)
    grad_output = torch.randn(1, 8, *case.output_size()).to(dtype)
    for value in (math.nan, math.inf):
        spoiled = torch.where(torch.rand(clean.shape) < 0.02, torch.tensor(value, dtype=dtype), clean)
        output = case.softpool(lay_out(spoiled, layout))
        expected = case.softpool(lay_out(clean, layout))
        touched = case.softpool(torch.where(spoiled == clean, 0.0, math.nan)).isnan()
        assert torch.equal(output[~touched], expected[~touched])
        assert not output[touched].isfinite().any()
        compare(case, lay_out(spoiled, layout), grad_output, 1.0)


@pytest.mark.parametrize("offset", [1, 3])
@pytest.mark.parametrize("case", [Case((4, 6, 8), 2), Case((10, 24), 3, 2, 1)], ids=str)
def test_storage_that_is_not_aligned_to_vectors(case: Case, offset: int) -> None:
    size = (2, 8, *case.size)
    storage = torch.randn(math.prod(size) + offset)
    input = storage[offset:].view(size)
    compare(case, input, torch.randn(2, 8, *case.output_size()), 1.0)
