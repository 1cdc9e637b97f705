"""Non-finite and very large values: no finite input gives NaN or infinity, and what is not finite is not hidden."""

import math

import pytest
import torch
from softpool_oracle import TOLERANCES

from videosoft.ops import softpool1d, softpool2d

RUNS_ON_GPU = True

INF, NAN = math.inf, math.nan
GRADIENTS = ["exact", "paper"]

# window -> output, gradient (both kinds: with one cell left of weight 1 they agree)
NON_FINITE = [
    ([NAN, 1.0], NAN, [NAN, NAN]),
    ([NAN, INF], NAN, [NAN, NAN]),
    ([NAN, -INF], NAN, [NAN, NAN]),
    ([INF, 1.0], INF, [NAN, NAN]),
    ([1.0, INF], INF, [NAN, NAN]),
    ([INF, INF], INF, [NAN, NAN]),
    ([INF, -INF], INF, [NAN, NAN]),
    ([-INF, 1.0], 1.0, [0.0, 1.0]),
    ([-INF, -2.0, -INF], -2.0, [0.0, 1.0, 0.0]),
    ([-INF, -INF], -INF, [0.0, 0.0]),
    ([-INF], -INF, [0.0]),
]


def pool_window(values: list[float], dtype: torch.dtype, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    input = torch.tensor([values], dtype=dtype, requires_grad=True)
    output = softpool1d(input, len(values), **options)
    (gradient,) = torch.autograd.grad(output, input, torch.ones_like(output))
    return output.detach().squeeze(), gradient.squeeze(0)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("temperature", [1.0, 0.0, 3.0, 1e-39])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize(("values", "expected", "expected_gradient"), NON_FINITE, ids=str)
def test_non_finite_windows(
    values: list[float],
    expected: float,
    expected_gradient: list[float],
    dtype: torch.dtype,
    temperature: float,
    gradient: str,
    backend: str,
) -> None:
    output, found = pool_window(values, dtype, temperature=temperature, gradient=gradient)
    torch.testing.assert_close(output, torch.tensor(expected, dtype=dtype), equal_nan=True)
    torch.testing.assert_close(found, torch.tensor(expected_gradient, dtype=dtype), equal_nan=True)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("temperature", [1.0, 1e30])
@pytest.mark.parametrize(
    ("dtype", "large"),
    [(torch.float64, 1.7e308), (torch.float32, 3e38), (torch.bfloat16, 3e38), (torch.float16, 6e4)],
    ids=str,
)
def test_mixed_sign_extremes_pick_the_larger(
    dtype: torch.dtype, large: float, temperature: float, gradient: str, backend: str
) -> None:
    output, found = pool_window([large, -large], dtype, temperature=temperature, gradient=gradient)
    assert output == torch.tensor(large, dtype=dtype)
    assert found.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("temperature", [0.0, 1e-39, 1.0, 100.0])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("num_cells", [2, 3, 27, 100])
def test_a_constant_window_of_the_largest_value_is_that_value(
    num_cells: int, dtype: torch.dtype, temperature: float, sign: int, backend: str
) -> None:
    largest = sign * torch.finfo(dtype).max
    output, found = pool_window([largest] * num_cells, dtype, temperature=temperature)
    assert output == largest
    torch.testing.assert_close(found, torch.full_like(found, 1 / num_cells), rtol=1e-2, atol=0)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 3.0])
def test_a_large_offset_costs_no_digits(temperature: float, backend: str) -> None:
    input = torch.randint(-16, 16, (1, 2, 9, 40)) / 8.0
    results = []
    for offset in (0.0, 2.0**16):  # the sums are exact in float32
        shifted = (input + offset).requires_grad_()
        output = softpool2d(shifted, 3, 2, 1, temperature=temperature)
        results.append((output - offset, *torch.autograd.grad(output, shifted, torch.ones_like(output))))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=2.0**-8)  # half a step of float32 at 2^16
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_averages_of_extremes_do_not_overflow(dtype: torch.dtype, backend: str) -> None:
    large = torch.finfo(dtype).max
    output, found = pool_window([large, -large, -large, large], dtype, temperature=0)
    assert output == 0
    assert found.tolist() == [0.25] * 4
    output, _ = pool_window([large, -large, -large, -large], dtype, temperature=0)
    torch.testing.assert_close(output, torch.tensor(-large / 2, dtype=dtype))


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("temperature", [0.0, 1e-30, 1.0, 1e4, 1e300])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_finite_input_gives_finite_output(dtype: torch.dtype, temperature: float, gradient: str, backend: str) -> None:
    limits = torch.finfo(dtype)
    palette = torch.tensor([0.0, 1.0, -1.0, 88.0, -88.0, 1e4, -1e4, limits.max, limits.min, limits.tiny], dtype=dtype)
    input = palette[torch.randint(len(palette), (2, 3, 9, 40))].requires_grad_()
    output = softpool2d(input, 3, 2, 1, temperature=temperature, gradient=gradient)
    (found,) = torch.autograd.grad(output, input, torch.ones_like(output))
    assert output.isfinite().all()
    assert found.isfinite().all()


def test_a_bad_cell_poisons_its_own_windows_only(backend: str) -> None:
    input = torch.randn(1, 1, 40, 40)
    clean = softpool2d(input, 3, 2, 1)
    input[0, 0, 20, 21] = NAN
    output = softpool2d(input.requires_grad_(), 3, 2, 1)
    bad = output.isnan()
    assert bad.nonzero()[:, 2:].tolist() == [[10, 10], [10, 11]]
    torch.testing.assert_close(output[~bad], clean[~bad], rtol=0, atol=0)
    (found,) = torch.autograd.grad(output, input, torch.ones_like(output))
    inside = torch.zeros(40, 40, dtype=torch.bool)
    inside[19:22, 19:24] = True
    assert torch.equal(found.isnan()[0, 0], inside)
