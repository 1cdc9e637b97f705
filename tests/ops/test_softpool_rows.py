"""What the compiled kernels split, switch and skip: long rows, outliers among moderate values, instruction sets."""

import os
import subprocess
import sys

import pytest
import torch
from softpool_oracle import TOLERANCES, Case, lay_out

from videosoft.ops import reference
from videosoft.ops._window import create_window

RUNS_ON_GPU = True
pytestmark = pytest.mark.usefixtures("kernels")

# With 35 channels a row is longer than a tile in the channels-last layout; the 1-D one in both.
CASES = [
    Case((4400,), 2),
    Case((4403,), 3, 2, 1),
    Case((4403,), 5, 3, 2, ceil_mode=True),
    Case((7, 150), 3, 2, 1),
    Case((7, 150), 3, 1, 1),
    Case((5, 6, 70), 2),
    Case((4, 6, 70), 2),
    Case((3, 6, 62), (1, 2, 2)),
    Case((5, 6, 75), 3, 2, 1),
    Case((2, 7, 71), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Case((4, 5, 70), 2, 3, ceil_mode=True),
]


def compare(case: Case, input: torch.Tensor, grad_output: torch.Tensor, temperature: float) -> None:
    window = create_window(case.num_dims, case.kernel_size, case.stride, case.padding, case.ceil_mode)
    tolerance = TOLERANCES[input.dtype]
    input = input.detach().requires_grad_()
    for gradient in ("exact", "paper"):
        pooling = reference.Pooling(window, temperature, gradient == "exact")
        output = case.softpool(input, temperature=temperature, gradient=gradient)
        (found,) = torch.autograd.grad(output, input, grad_output)
        expected = reference.softpool_forward(input.detach().double(), pooling)
        torch.testing.assert_close(output.double(), expected, **tolerance)
        expected = reference.softpool_backward(grad_output.double(), input.detach().double(), pooling)
        torch.testing.assert_close(found.double(), expected, equal_nan=True, **tolerance)


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("share", [0.0, 0.0005, 0.05, 1.0])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outliers_among_moderate_values(
    case: Case, dtype: torch.dtype, layout: str, share: float, temperature: float
) -> None:
    input = torch.randn(2, 35, *case.size)
    input = torch.where(torch.rand_like(input) < share, 60 * input, input)
    grad_output = torch.randn(2, 35, *case.output_size()).to(dtype)
    compare(case, lay_out(input.to(dtype), layout), grad_output, temperature)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_very_large_and_very_small_gradients(case: Case, dtype: torch.dtype, layout: str) -> None:
    # exp(-20) is so small that a gradient divided by a sum of it leaves float32.
    input = lay_out((torch.randn(1, 35, *case.size) - 20).to(dtype), layout)
    for factor in (1e35, 1e-20):
        grad_output = (torch.randn(1, 35, *case.output_size()) * factor).to(dtype)
        window = create_window(case.num_dims, case.kernel_size, case.stride, case.padding, case.ceil_mode)
        leaf = input.detach().requires_grad_()
        (found,) = torch.autograd.grad(case.softpool(leaf), leaf, grad_output)
        pooling = reference.Pooling(window, 1.0, True)
        expected = reference.softpool_backward(grad_output.double(), input.double(), pooling)
        tolerance = TOLERANCES[dtype]
        assert found.isfinite().all()
        torch.testing.assert_close(
            found.double() / factor, expected / factor, rtol=tolerance["rtol"], atol=tolerance["atol"]
        )


@pytest.mark.parametrize("case", [Case((5, 6, 30), 2, 3, ceil_mode=True), Case((5, 6, 31), 2)], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_cells_in_no_window_have_gradient_0_whatever_they_hold(case: Case, layout: str) -> None:
    window = create_window(case.num_dims, case.kernel_size, case.stride, case.padding, case.ceil_mode)
    ones = torch.ones(1, 3, *case.output_size())
    held = reference.softpool_backward(ones, torch.zeros(1, 3, *case.size), reference.Pooling(window, 1.0, False)) > 0
    assert not held.all()
    for value in (torch.nan, torch.inf, -torch.inf, 1e30):
        input = torch.where(held, torch.randn(held.shape), torch.tensor(value))
        input = lay_out(input, layout).requires_grad_()
        (found,) = torch.autograd.grad(case.softpool(input), input, ones)
        assert (found[~held] == 0).all()
        assert found.isfinite().all()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_window_depends_on_its_own_cells_alone(case: Case, layout: str) -> None:
    input = torch.randn(1, 35, *case.size)
    clean = case.softpool(lay_out(input, layout))
    spoiled = torch.where(torch.rand_like(input) < 0.001, torch.nan, input)
    output = case.softpool(lay_out(spoiled, layout))
    kept = ~output.isnan()
    assert kept.any()
    assert not kept.all()
    assert torch.equal(output[kept], clean[kept])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_weights_are_right_to_a_few_units_in_the_last_place(dtype: torch.dtype) -> None:
    values = torch.linspace(-30, 30, 2_000_001, dtype=torch.float64).to(dtype)
    windows = torch.stack([values, torch.zeros_like(values)], dim=-1).reshape(1, 1, -1).requires_grad_()
    output = Case((2,), 2).softpool(windows, gradient="paper")
    (weights,) = torch.autograd.grad(output, windows, torch.ones_like(output))
    expected = 1 / (1 + torch.exp(-values.double()))
    error = (weights.reshape(-1, 2)[:, 0].double() / expected - 1).abs().max()
    assert error < 4 * torch.finfo(dtype).eps


SCRIPT = """
import torch
from softpool_oracle import CASES, TOLERANCES, lay_out
from test_softpool_rows import compare

for case in CASES:
    for dtype in TOLERANCES:
        for layout in ("contiguous", "channels_last"):
            torch.manual_seed(0)
            input = lay_out((2 * torch.randn(2, 35, *case.size)).to(dtype), layout)
            compare(case, input, torch.randn(2, 35, *case.output_size()).to(dtype), 1.0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("instruction_set", ["avx512", "avx2", "portable"])
def test_every_instruction_set_matches_the_reference(instruction_set: str, kernels: str) -> None:
    if kernels == "cuda":
        pytest.skip("instruction sets are the CPU's")
    environment = {**os.environ, "VIDEOSOFT_CPU_ISA": instruction_set, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
