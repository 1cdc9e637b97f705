"""Outputs and gradients: the reference against the definition, every backend against the float64 reference."""

import pytest
import torch
import torch.nn.functional as F
from softpool_oracle import CASES, LAYOUTS, TOLERANCES, Case, lay_out, pool_by_definition

from videosoft.ops import reference, softpool1d, softpool2d, softpool3d
from videosoft.ops._library import LOAD_ERROR
from videosoft.ops._window import create_window

RUNS_ON_GPU = True

AVG_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def differentiate(case: Case, input: torch.Tensor, grad_output: torch.Tensor, **options: object) -> torch.Tensor:
    input = input.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(case.softpool(input, **options), input, grad_output)
    return gradient


def assert_matches(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual.double(), expected.double(), **TOLERANCES[actual.dtype])


@pytest.mark.parametrize("temperature", [1.0, 0.0, 2.5])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_follows_the_definition(case: Case, temperature: float, backend: str) -> None:
    input = 2 * torch.randn(1, 2, *case.size, dtype=torch.float64)
    grad_output = torch.randn(1, 2, *case.output_size(), dtype=torch.float64)
    output, exact, paper = pool_by_definition(input, case, temperature, grad_output)
    assert_matches(case.softpool(input, temperature=temperature), output)
    assert_matches(differentiate(case, input, grad_output, temperature=temperature), exact)
    assert_matches(differentiate(case, input, grad_output, temperature=temperature, gradient="paper"), paper)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_matches_the_float64_reference(case: Case, dtype: torch.dtype, layout: str, backend: str) -> None:
    # 35 channels: more than a tile of the kernels holds, and not a multiple of it.
    input = lay_out((2 * torch.randn(2, 35, *case.size)).to(dtype), layout)
    grad_output = torch.randn(2, 35, *case.output_size()).to(dtype)
    window = create_window(case.num_dims, case.kernel_size, case.stride, case.padding, case.ceil_mode)
    output = case.softpool(input)
    assert output.dtype == dtype
    assert_matches(output, reference.softpool_forward(input.double(), reference.Pooling(window, 1.0, True)))
    for gradient in ("exact", "paper"):
        pooling = reference.Pooling(window, 1.0, gradient == "exact")
        expected = reference.softpool_backward(grad_output.double(), input.double(), pooling)
        assert_matches(differentiate(case, input, grad_output, gradient=gradient), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [Case((17,), 3, 2, 1), Case((7, 9), 3, 2, 1), Case((3, 5, 40), 3, 2, 1)], ids=str)
def test_any_layout_gives_the_same_numbers(case: Case, layout: str, backend: str) -> None:
    input = lay_out(torch.randn(2, 5, *case.size), layout)
    grad_output = lay_out(torch.randn(2, 5, *case.output_size()), layout)
    assert_matches(case.softpool(input), case.softpool(input.contiguous()))
    expected = differentiate(case, input.contiguous(), grad_output.contiguous())
    assert_matches(differentiate(case, input, grad_output), expected)


# avg_pool3d refuses a window larger than the unpadded input.
@pytest.mark.parametrize("case", [case for case in CASES if case != Case((1, 1, 1), 3, 2, 1)], ids=str)
def test_temperature_0_is_average_pooling_without_padding(case: Case, backend: str) -> None:
    input = torch.randn(2, 3, *case.size, dtype=torch.float64)
    expected = AVG_POOLS[case.num_dims](
        input, case.kernel_size, case.stride, case.padding, case.ceil_mode, count_include_pad=False
    )
    assert_matches(case.softpool(input, temperature=0), expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_large_temperature_is_max_pooling(case: Case, backend: str) -> None:
    input = torch.randn(2, 3, *case.size, dtype=torch.float64)
    expected = MAX_POOLS[case.num_dims](input, case.kernel_size, case.stride, case.padding, 1, case.ceil_mode)
    assert_matches(case.softpool(input, temperature=1e7), expected)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_outputs_keep_the_layout(layout: str) -> None:
    if LOAD_ERROR is not None:
        pytest.skip(LOAD_ERROR)
    for case in (Case((6, 7), 2), Case((4, 6, 7), 3, 2, 1)):
        input = lay_out(torch.randn(2, 35, *case.size), layout).requires_grad_()
        output = case.softpool(input)
        (gradient,) = torch.autograd.grad(output.sum(), input)
        formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
        memory_format = formats[layout]
        if layout == "channels_last" and case.num_dims == 3:
            memory_format = torch.channels_last_3d
        assert output.is_contiguous(memory_format=memory_format)
        assert gradient.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("pool", [softpool1d, softpool2d, softpool3d])
def test_unbatched_input_is_one_sample(pool, backend: str) -> None:
    num_dims = {softpool1d: 1, softpool2d: 2, softpool3d: 3}[pool]
    input = torch.randn(3, *(6,) * num_dims)
    torch.testing.assert_close(pool(input, 2), pool(input.unsqueeze(0), 2).squeeze(0), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(0, 3, 4, 6, 6), (2, 0, 4, 6, 6)])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_an_empty_batch_gives_an_empty_output(shape: tuple[int, ...], dtype: torch.dtype, backend: str) -> None:
    input = torch.zeros(shape, dtype=dtype, requires_grad=True)
    output = softpool3d(input, 3, 2, 1)
    output.sum().backward()
    assert output.shape == (*shape[:2], 2, 3, 3)
    assert input.grad is not None
    assert input.grad.shape == shape


def test_many_threads_give_the_same_bits(backend: str) -> None:
    input = torch.randn(3, 9, 5, 20, 40)
    grad_output = torch.randn(3, 9, 3, 10, 20)
    case = Case((5, 20, 40), 3, 2, 1)
    before = torch.get_num_threads()
    results = []
    try:
        for num_threads in (1, 3):
            torch.set_num_threads(num_threads)
            results.append((case.softpool(input), differentiate(case, input, grad_output)))
    finally:
        torch.set_num_threads(before)
    for one, several in zip(*results, strict=True):
        assert torch.equal(one, several)
