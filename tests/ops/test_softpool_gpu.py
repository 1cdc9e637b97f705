"""What only a GPU has: streams, graphs, devices, memory that is counted, more cells than 32 bits can tell apart."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from softpool_oracle import LAYOUTS, TOLERANCES, Case, lay_out

from videosoft.ops import reference, softpool1d, softpool3d
from videosoft.ops._library import describe_backends
from videosoft.ops._window import create_window

# Kernels for patches, for tiles, and for any window.
CASES = [
    Case((4, 8, 16), 2),
    Case((3, 10, 24), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Case((7, 10, 24), 3, 2, 1),
    Case((5, 7, 9), (2, 3, 3), (1, 2, 2), (0, 1, 0), ceil_mode=True),
]
LAYOUTS_OF_MEMORY = ["contiguous", "channels_last"]


@pytest.fixture
def no_sync(gpu: torch.device) -> Iterator[None]:
    """An error for everything that waits for the GPU."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def create_tensors(
    case: Case, layout: str = "contiguous", dtype: torch.dtype = torch.float32, num_samples: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """An input and a gradient of the output, of 16 channels."""
    input = lay_out(torch.randn(num_samples, 16, *case.size, device="cpu").to(dtype), layout)
    grad_output = lay_out(torch.randn(num_samples, 16, *case.output_size(), device="cpu").to(dtype), layout)
    return input.cuda(), grad_output.cuda()


def run(case: Case, input: torch.Tensor, grad_output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and gradient, by the operators themselves: autograd's threads have streams of their own."""
    window = create_window(case.num_dims, case.kernel_size, case.stride, case.padding, case.ceil_mode)
    arguments = (window.kernel_size, window.stride, window.padding, window.ceil_mode, 1.0, True)
    operators = torch.ops.videosoft
    return operators.softpool_forward(input, *arguments), operators.softpool_backward(grad_output, input, *arguments)


def run_after_relu(
    case: Case, input: torch.Tensor, grad_output: torch.Tensor, factors: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    window = create_window(case.num_dims, case.kernel_size, case.stride, case.padding, case.ceil_mode)
    arguments = (*factors, window.kernel_size, window.stride, window.padding, window.ceil_mode, 1.0, True)
    operators = torch.ops.videosoft
    output = operators.softpool_relu_forward(input, *arguments)
    return output, operators.softpool_relu_backward(grad_output, input, *arguments)


def create_factors(input: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    dtype = torch.float64 if input.dtype == torch.float64 else torch.float32
    return torch.randn(2, input.shape[1], device=input.device, dtype=dtype).unbind()


def assert_follows_the_reference(
    case: Case, input: torch.Tensor, grad_output: torch.Tensor, found: tuple[torch.Tensor, torch.Tensor]
) -> None:
    window = create_window(case.num_dims, case.kernel_size, case.stride, case.padding, case.ceil_mode)
    pooling = reference.Pooling(window, 1.0, True)
    expected = (
        reference.softpool_forward(input.double(), pooling),
        reference.softpool_backward(grad_output.double(), input.double(), pooling),
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, **TOLERANCES[input.dtype])


def test_the_compiled_kernels_run_on_the_gpu(gpu: torch.device) -> None:
    assert describe_backends()["cuda"]["backend"] == "compiled"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_any_layout_gives_the_same_numbers(case: Case, layout: str, gpu: torch.device) -> None:
    # Laid out on the GPU: a copy to it would make every tensor dense.
    input = lay_out(torch.randn(2, 16, *case.size), layout)
    grad_output = lay_out(torch.randn(2, 16, *case.output_size()), layout)
    assert_follows_the_reference(case, input, grad_output, run(case, input, grad_output))


@pytest.mark.parametrize("layout", LAYOUTS_OF_MEMORY)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_cpu_and_gpu_agree(case: Case, layout: str, gpu: torch.device) -> None:
    tensors = create_tensors(case, layout)
    on_cpu = run(case, *(tensor.cpu() for tensor in tensors))
    for one, other in zip(run(case, *tensors), on_cpu, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS_OF_MEMORY)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_same_input_gives_the_same_bits(case: Case, dtype: torch.dtype, layout: str, gpu: torch.device) -> None:
    tensors = create_tensors(case, layout, dtype, num_samples=64)
    first = run(case, *tensors)
    for _ in range(5):
        for one, other in zip(run(case, *tensors), first, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("layout", LAYOUTS_OF_MEMORY)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_after_relu_the_same_input_gives_the_same_bits(
    case: Case, dtype: torch.dtype, layout: str, gpu: torch.device
) -> None:
    tensors = create_tensors(case, layout, dtype, num_samples=64)
    factors = create_factors(tensors[0])
    first = run_after_relu(case, *tensors, factors)
    for _ in range(5):
        for one, other in zip(run_after_relu(case, *tensors, factors), first, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("layout", LAYOUTS_OF_MEMORY)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_waits_for_the_gpu(case: Case, layout: str, no_sync: None) -> None:
    # A copy to the GPU may wait, the kernels may not.
    torch.cuda.set_sync_debug_mode("default")
    input, grad_output = create_tensors(case, layout)
    factors = create_factors(input)
    torch.cuda.set_sync_debug_mode("error")
    leaf = input.requires_grad_()
    torch.autograd.grad(case.softpool(leaf), leaf, grad_output)
    run_after_relu(case, input.detach(), grad_output, factors)


@pytest.mark.parametrize("layout", LAYOUTS_OF_MEMORY)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_graph_is_captured_and_replayed(case: Case, layout: str, gpu: torch.device) -> None:
    input, grad_output = create_tensors(case, layout)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run(case, input, grad_output)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = run(case, input, grad_output)
    for _ in range(2):
        input.copy_(torch.randn_like(input))
        grad_output.copy_(torch.randn_like(grad_output))
        for tensor in found:
            tensor.fill_(math.nan)
        graph.replay()
        assert_follows_the_reference(case, input, grad_output, found)


def test_kernels_run_on_the_current_stream(gpu: torch.device) -> None:
    case = CASES[2]
    input, grad_output = create_tensors(case, num_samples=64)
    fresh = torch.randn_like(input)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        # Kernels on another stream would not wait for the sleep and see the old input.
        torch.cuda._sleep(100_000_000)
        input.copy_(fresh)
        found = run(case, input, grad_output)
    side.synchronize()
    assert_follows_the_reference(case, fresh, grad_output, found)


def test_another_device_than_the_current_one(gpu: torch.device) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU only")
    case = CASES[2]
    other = torch.device("cuda", (gpu.index + 1) % torch.cuda.device_count())
    input, grad_output = (tensor.to(other) for tensor in create_tensors(case))
    found = run(case, input, grad_output)
    assert torch.cuda.current_device() == gpu.index
    assert all(tensor.device == other for tensor in found)
    assert_follows_the_reference(case, input, grad_output, found)


@pytest.mark.parametrize("layout", LAYOUTS_OF_MEMORY)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_memory_is_taken_for_outputs_only(case: Case, layout: str, gpu: torch.device) -> None:
    tensors = create_tensors(case, layout, num_samples=64)
    factors = create_factors(tensors[0])
    for call in (run, lambda *given: run_after_relu(*given, factors)):
        call(case, *tensors)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        found = call(case, *tensors)
        torch.cuda.synchronize()
        assert torch.cuda.max_memory_allocated() == torch.cuda.memory_allocated()
        # The allocator rounds each up to 512 bytes.
        kept = sum(math.ceil(tensor.nbytes / 512) * 512 for tensor in found)
        assert torch.cuda.memory_allocated() - before == kept
        del found


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS_OF_MEMORY)
def test_torch_compile_gives_the_same_numbers(layout: str, gpu: torch.device) -> None:
    case = CASES[1]
    input, grad_output = create_tensors(case, layout)

    def pool(input: torch.Tensor) -> torch.Tensor:
        return case.softpool(input * 2) + 1

    def differentiate(function: Callable[[torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, ...]:
        leaf = input.detach().requires_grad_()
        output = function(leaf)
        return output, *torch.autograd.grad(output, leaf, grad_output)

    torch.compiler.reset()
    for mode in ("default", "reduce-overhead"):
        compiled = differentiate(torch.compile(pool, fullgraph=True, mode=mode))
        for one, other in zip(compiled, differentiate(pool), strict=True):
            torch.testing.assert_close(one, other)


# case, size of batch and channels: more than 2^31 cells in all, in one sample, in one plane.
LARGE = [
    (Case((16, 64, 64), 2), (1025, 32)),
    (Case((16, 64, 64), 3, 2, 1), (1025, 32)),
    (Case((4, 8200, 8200), 3, 2, 1), (1, 8)),
    (Case((4, 8200, 8200), 2), (1, 8)),
    (Case((2**31 + 64,), 2), (1, 1)),
]


@pytest.mark.slow_gpu
@pytest.mark.parametrize("layout", LAYOUTS_OF_MEMORY)
@pytest.mark.parametrize(("case", "outer"), LARGE, ids=str)
def test_more_cells_than_32_bits_count(case: Case, outer: tuple[int, int], layout: str, gpu: torch.device) -> None:
    shape = (*outer, *case.size)
    assert math.prod(shape) > 2**31
    needed = 3 * 2 * math.prod(shape)
    if torch.cuda.mem_get_info()[0] < needed:
        pytest.skip(f"there are less than {needed / 2**30:.0f} GiB of free memory on the GPU")
    # A pattern that repeats along the last dimension has the same answer everywhere inside, at both ends of the tensor.
    torch.cuda.empty_cache()
    sample = torch.randn(outer[1], *case.size[:-1], 1, dtype=torch.half) if case.num_dims > 1 else None
    if sample is None:
        input = torch.arange(8, dtype=torch.half).repeat(shape[-1] // 8).view(shape)
    else:
        input = torch.empty(shape, dtype=torch.half)
        if layout == "channels_last":
            input = torch.empty((outer[0], *case.size, outer[1]), dtype=torch.half).movedim(-1, 1)
        input.copy_(sample.expand(shape[1:]))
    pool = softpool1d if case.num_dims == 1 else softpool3d
    leaf = input.requires_grad_()
    output = pool(leaf, case.kernel_size, case.stride, case.padding)
    (gradient,) = torch.autograd.grad(output, leaf, torch.ones_like(output))
    leaf = leaf.detach()
    margin = 32
    for part in (slice(0, margin), slice(shape[-1] - margin, shape[-1])):
        small = leaf[-1:, ..., part].contiguous().requires_grad_()
        expected = pool(small, case.kernel_size, case.stride, case.padding)
        (expected_gradient,) = torch.autograd.grad(expected, small, torch.ones_like(expected))
        # Cells and windows next to the cut have other neighbours there.
        inner = slice(4, -4)
        found = output[-1:, ..., part.start // 2 : part.stop // 2]
        torch.testing.assert_close(found[..., inner], expected[..., inner])
        torch.testing.assert_close(gradient[-1:, ..., part][..., inner], expected_gradient[..., inner])
