"""SoftPool after ReLU, with and without a scale and a shift of each channel, against the separate functions."""

import io
import math

import pytest
import torch
from softpool_oracle import CASES, LAYOUTS, TOLERANCES, Case, lay_out, pool_by_definition
from torch import nn

from videosoft.errors import InputError
from videosoft.ops import _library, _relu_registration, reference, softpool_relu2d, softpool_relu3d
from videosoft.ops._window import create_window

RUNS_ON_GPU = True

POOLS = {2: softpool_relu2d, 3: softpool_relu3d}
INF, NAN = math.inf, math.nan
FLAT_CASES = [case for case in CASES if case.num_dims > 1]

# Rows of 8, 16, 24 cells and 8 or 40 channels are whole vectors in every dtype; other sizes are next to that.
VECTOR_CASES = [
    Case((6, 16), 2),
    Case((7, 16), 2),  # a row in no window
    Case((4, 6, 24), 2),
    Case((3, 6, 16), (1, 2, 2)),
    Case((10, 24), 3, 2, 1),
    Case((70, 16), 3, 2, 1, ceil_mode=True),
    Case((5, 7, 16), 3, 2, 1),
    Case((17, 5, 8), 3, 2, 1),
    Case((3, 18, 16), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Case((3, 5, 7), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Case((6, 9, 16), 3, 1, 1),  # a window of no special kernel
    Case((40, 45), 3, 2, 1),  # more windows than a tile holds, with 40 channels
    Case((30, 30), 9, 2, 4),  # more of a window than a small tile holds, with 40 channels
]

Factors = tuple[torch.Tensor | None, torch.Tensor | None]


def create_factors(num_channels: int, dtype: torch.dtype, is_scaled: bool) -> Factors:
    """A scale and a shift for every channel; both signs, and channels that are constant."""
    if not is_scaled:
        return None, None
    factors_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    scale = torch.linspace(-1.5, 1.5, num_channels).roll(num_channels // 3).to(factors_dtype)
    scale[1::5] = 0
    return scale, torch.linspace(1.2, -0.8, num_channels).to(factors_dtype)


def pool(case: Case, input: torch.Tensor, factors: Factors, **options: object) -> torch.Tensor:
    scale, shift = factors
    window = (case.kernel_size, case.stride, case.padding)
    return POOLS[case.num_dims](input, *window, scale=scale, shift=shift, ceil_mode=case.ceil_mode, **options)


def run(
    case: Case, input: torch.Tensor, factors: Factors, grad_output: torch.Tensor, **options: object
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and gradient."""
    leaf = input.detach().requires_grad_()
    output = pool(case, leaf, factors, **options)
    return output.detach(), torch.autograd.grad(output, leaf, grad_output)[0]


def activate(input: torch.Tensor, factors: Factors) -> torch.Tensor:
    scale, shift = (None if each is None else each.double().view(-1, *(1,) * (input.dim() - 2)) for each in factors)
    return torch.relu(input.double() if scale is None else input.double() * scale + shift)


def run_separately(
    case: Case, input: torch.Tensor, factors: Factors, grad_output: torch.Tensor, temperature: float, exact: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and gradient of the separate functions in float64: PyTorch's own ReLU, the reference of SoftPool."""
    window = create_window(case.num_dims, case.kernel_size, case.stride, case.padding, case.ceil_mode)
    pooling = reference.Pooling(window, temperature, exact)
    leaf = input.detach().double().requires_grad_()
    activated = activate(leaf, factors)
    gradient = reference.softpool_backward(grad_output.double(), activated.detach(), pooling)
    output = reference.softpool_forward(activated.detach(), pooling)
    return output, torch.autograd.grad(activated, leaf, gradient)[0]


def compare(
    case: Case, input: torch.Tensor, factors: Factors, grad_output: torch.Tensor, temperature: float = 1.0
) -> None:
    for gradient in ("exact", "paper"):
        found = run(case, input, factors, grad_output, temperature=temperature, gradient=gradient)
        expected = run_separately(case, input, factors, grad_output, temperature, gradient == "exact")
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == input.dtype
            torch.testing.assert_close(one.double(), other, equal_nan=True, **TOLERANCES[input.dtype])


@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.0, 2.5])
@pytest.mark.parametrize("case", FLAT_CASES, ids=str)
def test_follows_the_definition(case: Case, temperature: float, is_scaled: bool, backend: str) -> None:
    input = 2 * torch.randn(1, 3, *case.size, dtype=torch.float64)
    grad_output = torch.randn(1, 3, *case.output_size(), dtype=torch.float64)
    factors = create_factors(3, input.dtype, is_scaled)
    activated = activate(input, factors)
    slope = (activated > 0) * (1.0 if factors[0] is None else factors[0].view(-1, *(1,) * case.num_dims))
    output, exact, paper = pool_by_definition(activated, case, temperature, grad_output)
    for gradient, expected in (("exact", exact), ("paper", paper)):
        found = run(case, input, factors, grad_output, temperature=temperature, gradient=gradient)
        torch.testing.assert_close(found[0], output, **TOLERANCES[torch.float64])
        torch.testing.assert_close(found[1], expected * slope, **TOLERANCES[torch.float64])


@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("case", FLAT_CASES, ids=str)
def test_matches_the_separate_functions(
    case: Case, dtype: torch.dtype, layout: str, is_scaled: bool, backend: str
) -> None:
    input = lay_out((2 * torch.randn(2, 35, *case.size)).to(dtype), layout)
    grad_output = torch.randn(2, 35, *case.output_size()).to(dtype)
    compare(case, input, create_factors(35, dtype, is_scaled), grad_output)


@pytest.mark.parametrize("num_channels", [8, 40])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("case", VECTOR_CASES, ids=str)
def test_whole_vectors(case: Case, dtype: torch.dtype, layout: str, num_channels: int, kernels: str) -> None:
    input = lay_out((2 * torch.randn(2, num_channels, *case.size)).to(dtype), layout)
    grad_output = torch.randn(2, num_channels, *case.output_size()).to(dtype)
    compare(case, input, create_factors(num_channels, dtype, True), grad_output, 0.7)
    compare(case, input, (None, None), grad_output, 1.0)


@pytest.mark.parametrize("share", [0.01, 1.0])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("case", VECTOR_CASES, ids=str)
def test_outliers_in_vectors(case: Case, dtype: torch.dtype, layout: str, share: float, kernels: str) -> None:
    input = torch.randn(2, 8, *case.size)
    outliers = torch.tensor([100.0, -100.0, 3e4, -3e4, INF, -INF, NAN] if share < 1 else [100.0, -100.0, 3e4, -3e4])
    is_outlier = torch.rand_like(input) < share
    input = torch.where(is_outlier, outliers[torch.randint(len(outliers), input.shape)], input)
    grad_output = torch.randn(2, 8, *case.output_size()).to(dtype)
    for is_scaled in (False, True):
        factors = create_factors(8, dtype, is_scaled)
        # A scale of 0 makes NaN of infinity in either way.
        compare(case, lay_out(input.to(dtype), layout), factors, grad_output)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [Case((7, 9), 3, 2, 1), Case((3, 5, 40), 3, 2, 1)], ids=str)
def test_any_layout_gives_the_same_numbers(case: Case, layout: str, backend: str) -> None:
    input = lay_out(torch.randn(2, 5, *case.size), layout)
    grad_output = lay_out(torch.randn(2, 5, *case.output_size()), layout)
    compare(case, input, create_factors(5, torch.float32, True), grad_output)


@pytest.mark.parametrize("part", [slice(1, 9), slice(0, 16, 2)], ids=["not aligned", "not dense"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_factors_that_are_views(layout: str, part: slice, kernels: str) -> None:
    case = Case((4, 10, 24), 3, 2, 1)
    input = lay_out(torch.randn(2, 8, *case.size), layout)
    factors = (torch.randn(16)[part], torch.randn(16)[part])
    compare(case, input, factors, torch.randn(2, 8, *case.output_size()))


# window, scale, shift -> output, gradient
SPECIAL = [
    ([-1.0, -2.0], 1.0, 0.0, 0.0, [0.0, 0.0]),
    ([0.0, 0.0], 1.0, 0.0, 0.0, [0.0, 0.0]),
    ([-1.0, -2.0], 1.0, 1.0, 0.0, [0.0, 0.0]),
    ([-0.5, -0.5], -2.0, 1.0, 2.0, [-1.0, -1.0]),
    ([5.0, 7.0], 0.0, 3.0, 3.0, [0.0, 0.0]),
    ([5.0, 7.0], 0.0, -3.0, 0.0, [0.0, 0.0]),
    ([-INF, 2.0, -INF], -1.0, 0.0, INF, [NAN, 0.0, NAN]),
    ([-INF, -INF], 1.0, 0.0, 0.0, [0.0, 0.0]),
    ([-INF, -3e4], 1.0, 0.0, 0.0, [0.0, 0.0]),
    ([INF, -1.0], 1.0, 0.0, INF, [NAN, 0.0]),
    ([INF, 1.0], 1.0, 0.0, INF, [NAN, NAN]),
    ([INF, INF], -1.0, 0.0, 0.0, [0.0, 0.0]),
    ([NAN, -1.0], 1.0, 0.0, NAN, [NAN, 0.0]),
    ([NAN, 1.0], -1.0, 0.0, NAN, [NAN, 0.0]),
    ([NAN, 1.0], 1.0, 0.0, NAN, [NAN, NAN]),
    ([NAN, NAN], 2.0, 1.0, NAN, [NAN, NAN]),
    ([3e4, -3e4], 1.0, 0.0, 3e4, [1.0, 0.0]),
    ([3e4, -3e4], -1.0, 0.0, 3e4, [0.0, -1.0]),
]


@pytest.mark.parametrize("gradient", ["exact", "paper"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize(("values", "scale", "shift", "expected", "expected_gradient"), SPECIAL, ids=str)
def test_special_windows(
    values: list[float],
    scale: float,
    shift: float,
    expected: float,
    expected_gradient: list[float],
    dtype: torch.dtype,
    gradient: str,
    backend: str,
) -> None:
    input = torch.tensor(values, dtype=dtype).view(1, 1, 1, -1)
    case = Case((1, len(values)), (1, len(values)))
    factors_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    factors = (torch.tensor([scale], dtype=factors_dtype), torch.tensor([shift], dtype=factors_dtype))
    ways = [factors] if (scale, shift) != (1.0, 0.0) else [factors, (None, None)]
    for way in ways:
        output, found = run(case, input, way, torch.ones(1, 1, 1, 1, dtype=dtype), gradient=gradient)
        tolerance = {"equal_nan": True, **TOLERANCES[dtype]}
        torch.testing.assert_close(output.flatten(), input.new_tensor([expected]), **tolerance)
        torch.testing.assert_close(found.flatten(), input.new_tensor(expected_gradient), **tolerance)


@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize(
    "case", [Case((4, 5), (3, 2), (2, 1), (1, 0), ceil_mode=True), Case((3, 3, 2), 3, 2, 1)], ids=str
)
def test_derivatives_of_first_and_second_order(case: Case, is_scaled: bool, backend: str) -> None:
    # Away from 0, where ReLU has no derivative.
    input = torch.randn(1, 2, *case.size, dtype=torch.float64)
    factors = (None, None) if not is_scaled else (input.new_tensor([1.3, -0.7]), input.new_tensor([0.1, 0.2]))
    assert activate(input, factors)[activate(input, factors) > 0].min() > 1e-3
    leaf = input.requires_grad_()
    assert torch.autograd.gradcheck(lambda input: pool(case, input, factors, temperature=1.7), leaf)
    assert torch.autograd.gradgradcheck(lambda input: pool(case, input, factors, temperature=1.7), leaf)


def test_scale_and_shift_have_gradients_if_they_want_them(backend: str) -> None:
    case = Case((4, 6), 3, 2, 1)
    leaves = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in ((2, 3, 4, 6), 3, 3)]
    assert torch.autograd.gradcheck(lambda input, *factors: pool(case, input, factors), leaves)


@pytest.mark.parametrize("is_scaled", [False, True])
def test_transforms_and_forward_mode(is_scaled: bool, backend: str) -> None:
    case = Case((4, 5), 3, 2, 1)
    input, direction = torch.randn(2, 3, 2, *case.size, dtype=torch.float64)[:, None]
    factors = create_factors(3, input.dtype, is_scaled)
    input, direction = input.squeeze(0).transpose(0, 1), direction.squeeze(0).transpose(0, 1)  # (2, 3, H, W)

    def loss(input: torch.Tensor) -> torch.Tensor:
        return pool(case, input, factors).sin().sum()

    leaf = input.clone().requires_grad_()
    output = pool(case, leaf, factors)
    (expected,) = torch.autograd.grad(output.sin().sum(), leaf, retain_graph=True)
    torch.testing.assert_close(torch.func.grad(loss)(input), expected)
    _, change = torch.func.jvp(loss, (input,), (direction,))
    torch.testing.assert_close(change, (expected * direction).sum())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(input, direction)
        change = torch.autograd.forward_ad.unpack_dual(loss(dual)).tangent
    torch.testing.assert_close(change, (expected * direction).sum())
    mapped = torch.vmap(lambda sample: pool(case, sample, factors))(input.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(mapped, output)
    directions = torch.stack([torch.ones_like(output), output.detach()])
    (rows,) = torch.autograd.grad(output, leaf, directions, is_grads_batched=True, retain_graph=True)
    for row, each in zip(rows, directions, strict=True):
        torch.testing.assert_close(row, torch.autograd.grad(output, leaf, each, retain_graph=True)[0])


def test_vmap_over_the_operators_maps_scale_and_shift_as_well(kernels: str) -> None:
    input = torch.randn(3, 2, 4, 4, 5, dtype=torch.float64)
    grad_output = torch.randn(3, 2, 4, 2, 3, dtype=torch.float64)
    scale, shift = torch.randn(2, 3, 4, dtype=torch.float64)
    arguments = ([3, 3], [2, 2], [1, 1], False, 1.0, True)
    operators = torch.ops.videosoft
    for in_dims in ((0, 0, 0), (0, None, 0), (0, None, None)):
        factors = [each if dim == 0 else each[0] for each, dim in zip((scale, shift), in_dims[1:], strict=True)]
        found = torch.vmap(lambda *given: operators.softpool_relu_forward(*given, *arguments), in_dims)(input, *factors)
        slopes = torch.vmap(lambda *given: operators.softpool_relu_backward(*given, *arguments), (0, *in_dims))(
            grad_output, input, *factors
        )
        for at in range(3):
            given = [each[at] if dim == 0 else each for each, dim in zip(factors, in_dims[1:], strict=True)]
            expected = operators.softpool_relu_forward(input[at], *given, *arguments)
            torch.testing.assert_close(found[at], expected)
            expected = operators.softpool_relu_backward(grad_output[at], input[at], *given, *arguments)
            torch.testing.assert_close(slopes[at], expected)


def test_unbatched_and_empty_input(backend: str) -> None:
    input = torch.randn(3, 4, 6, 6)
    factors = create_factors(3, input.dtype, True)
    case = Case((4, 6, 6), 3, 2, 1)
    torch.testing.assert_close(pool(case, input, factors), pool(case, input.unsqueeze(0), factors).squeeze(0))
    for shape in ((0, 3, 4, 6, 6), (2, 0, 4, 6, 6)):
        leaf = torch.zeros(shape, requires_grad=True)
        output = pool(case, leaf, create_factors(max(shape[1], 1), leaf.dtype, shape[1] > 0))
        output.sum().backward()
        assert output.shape == (*shape[:2], 2, 3, 3)
        assert leaf.grad is not None
        assert leaf.grad.shape == shape


def run_operator(
    case: Case, input: torch.Tensor, factors: Factors, temperature: float = 1.0, exact: bool = True
) -> torch.Tensor:
    """What a GPU runs, and the CPU composes."""
    stride = case.kernel_size if case.stride is None else case.stride
    sizes = [list(case.expand(size)) for size in (case.kernel_size, stride, case.padding)]
    return torch.ops.videosoft.softpool_relu_forward(input, *factors, *sizes, case.ceil_mode, temperature, exact)


@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("case", FLAT_CASES[::3], ids=str)
def test_the_operators_follow_the_functions(
    case: Case, dtype: torch.dtype, layout: str, is_scaled: bool, kernels: str
) -> None:
    input = lay_out(torch.randn(2, 5, *case.size).to(dtype), layout).requires_grad_()
    grad_output = torch.randn(2, 5, *case.output_size()).to(dtype)
    factors = create_factors(5, dtype, is_scaled)
    for exact in (True, False):
        output = run_operator(case, input, factors, 1.5, exact)
        expected = run_separately(case, input, factors, grad_output, 1.5, exact)
        found = (output, torch.autograd.grad(output, input, grad_output)[0])
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == dtype
            torch.testing.assert_close(one.double(), other, **TOLERANCES[dtype])


@pytest.mark.parametrize("is_scaled", [False, True])
def test_the_operators_have_derivatives_of_second_order(is_scaled: bool, kernels: str) -> None:
    case = Case((3, 3, 2), 3, 2, 1)
    input = torch.randn(1, 2, *case.size, dtype=torch.float64, requires_grad=True)
    factors = (None, None) if not is_scaled else (input.new_tensor([1.3, -0.7]), input.new_tensor([0.1, 0.2]))
    assert torch.autograd.gradcheck(lambda input: run_operator(case, input, factors, 1.7), input)
    for exact in (True, False):
        slopes = torch.randn(1, 2, *case.output_size(), dtype=torch.float64, requires_grad=True)

        def differentiate(slopes: torch.Tensor, input: torch.Tensor, exact: bool = exact) -> torch.Tensor:
            output = run_operator(case, input, factors, 1.7, exact)
            return torch.autograd.grad(output, input, slopes, create_graph=True)[0]

        assert torch.autograd.gradcheck(differentiate, (slopes, input))


def test_the_operator_keeps_the_input_alone(kernels: str) -> None:
    case = Case((5, 6), 3, 2, 1)
    input = torch.randn(2, 3, *case.size, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.data_ptr()), lambda _: None):
        run_operator(case, input, (None, None))
    assert kept == [input.data_ptr()]


def test_kernels_are_taken_where_there_are_any(kernels: str) -> None:
    output = softpool_relu2d(torch.randn(2, 3, 5, 6, requires_grad=True), 3, 2, 1)
    has_kernels = kernels == "cuda" or _relu_registration.HAS_CPU_KERNELS
    assert output.grad_fn is not None
    assert ("softpool_relu_forward" in output.grad_fn.name()) == has_kernels


@pytest.mark.skipif(_library.LOAD_ERROR is not None, reason=str(_library.LOAD_ERROR))
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_outputs_keep_the_layout(layout: str) -> None:
    input = lay_out(torch.randn(2, 35, 4, 6, 7), layout).requires_grad_()
    memory_format = torch.contiguous_format if layout == "contiguous" else torch.channels_last_3d
    output = run_operator(Case((4, 6, 7), 3, 2, 1), input, (None, None))
    (gradient,) = torch.autograd.grad(output.sum(), input)
    assert output.is_contiguous(memory_format=memory_format)
    assert gradient.is_contiguous(memory_format=memory_format)


INPUT = torch.zeros(1, 2, 4, 6, 6)
ONES = torch.ones(2)
WRONG = [
    (INPUT, {"scale": ONES}, ["shift", "together with scale"]),
    (INPUT, {"shift": ONES}, ["scale", "together with shift"]),
    (INPUT, {"scale": torch.ones(3), "shift": ONES}, ["scale", "(2,)", "(3,)"]),
    (INPUT, {"scale": ONES, "shift": torch.ones(2, 1)}, ["shift", "(2,)", "(2, 1)"]),
    (INPUT, {"scale": ONES, "shift": ONES.double()}, ["shift", "torch.float32", "torch.float64"]),
    (INPUT.half(), {"scale": ONES.half(), "shift": ONES}, ["scale", "torch.float32", "torch.float16"]),
    (INPUT.double(), {"scale": ONES, "shift": ONES}, ["scale", "torch.float64", "torch.float32"]),
    (INPUT, {"scale": ONES.to("meta"), "shift": ONES}, ["scale", "cpu", "meta"]),
    (INPUT, {"scale": 2.0, "shift": ONES}, ["scale", "torch.Tensor", "float"]),
    (INPUT, {"temperature": -1}, ["temperature", "-1"]),
    (INPUT, {"gradient": "none"}, ["gradient", "'none'"]),
    (INPUT.int(), {}, ["torch.int32"]),
    (INPUT[..., :1], {}, ["too small"]),
    (INPUT[0, 0], {}, ["5 dimensions", "got 3"]),
]


@pytest.mark.parametrize(("input", "options", "words"), WRONG, ids=lambda each: str(each)[:60])
def test_wrong_arguments_are_named(input: torch.Tensor, options: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        softpool_relu3d(input, 2, **options)
    for word in words:
        assert word in str(error.value)


@pytest.mark.skipif(_library.LOAD_ERROR is not None, reason=str(_library.LOAD_ERROR))
def test_direct_calls_are_checked() -> None:
    arguments = ([2, 2, 2], [2, 2, 2], [0, 0, 0], False, 1.0, True)
    for factors in ((ONES, None), (None, ONES), (torch.ones(3), torch.ones(3))):
        with pytest.raises((RuntimeError, ValueError)):
            torch.ops.videosoft.softpool_relu_forward(INPUT, *factors, *arguments)


@pytest.mark.slow
@pytest.mark.skipif(_library.LOAD_ERROR is not None, reason=str(_library.LOAD_ERROR))
@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
def test_opcheck(layout: str, dtype: torch.dtype, is_scaled: bool) -> None:
    case = Case((2, 5, 6), (1, 2, 3), (1, 2, 2), (0, 1, 1))
    arguments = ([1, 2, 3], [1, 2, 2], [0, 1, 1], False, 1.5, True)
    input = lay_out(torch.randn(2, 3, *case.size).to(dtype), layout).requires_grad_()
    grad_output = lay_out(torch.randn(2, 3, *case.output_size()).to(dtype), layout).requires_grad_()
    factors = create_factors(3, dtype, is_scaled)
    operators = torch.ops.videosoft
    torch.library.opcheck(operators.softpool_relu_forward.default, (input, *factors, *arguments))
    torch.library.opcheck(operators.softpool_relu_backward.default, (grad_output, input, *factors, *arguments))


STEM = Case((2, 5, 6), (1, 2, 2), (1, 2, 2), (0, 1, 1))


class _Pool(nn.Module):
    """The function and the operator."""

    def __init__(self, factors: Factors) -> None:
        super().__init__()
        self.has_operator = _library.LOAD_ERROR is None
        self.register_buffer("scale", factors[0])
        self.register_buffer("shift", factors[1])

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        factors = (self.scale, self.shift)
        by_function = pool(STEM, input * 2, factors)
        return by_function + (run_operator(STEM, input * 3, factors) if self.has_operator else 1)


@pytest.mark.slow
@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
def test_torch_compile(dynamic: bool, is_scaled: bool, kernels: str) -> None:
    layer = _Pool(create_factors(3, torch.float64, is_scaled))
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic)
    for size in ((2, 3, 2, 5, 6), (4, 3, 3, 7, 8))[: 1 + dynamic]:
        input = torch.randn(size, dtype=torch.float64, requires_grad=True)
        output, expected = compiled(input), layer(input)
        torch.testing.assert_close(output, expected)
        directions = torch.randn_like(output)
        for one, other in zip(
            *(torch.autograd.grad(each, input, directions) for each in (output, expected)), strict=True
        ):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("is_scaled", [False, True])
def test_an_exported_program_is_saved_and_loaded(is_scaled: bool, backend: str) -> None:
    layer = _Pool(create_factors(3, torch.float64, is_scaled))
    input = torch.randn(2, 3, 2, 5, 6, dtype=torch.float64)
    file = io.BytesIO()
    torch.export.save(torch.export.export(layer, (input,)), file)
    file.seek(0)
    torch.testing.assert_close(torch.export.load(file).module()(input), layer(input))


@pytest.mark.slow
@pytest.mark.parametrize("is_scaled", [False, True])
def test_onnx_by_standard_operators(is_scaled: bool) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    layer = _Pool(create_factors(3, torch.float32, is_scaled)).eval()
    input = torch.randn(2, 3, 2, 5, 6)
    program = torch.onnx.export(layer, (input,), dynamo=True, verbose=False)
    assert {node.domain for node in program.model_proto.graph.node} == {""}
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: input.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), layer(input), rtol=1e-5, atol=1e-5)
