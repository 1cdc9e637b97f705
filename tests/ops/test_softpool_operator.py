"""SoftPool as a PyTorch operator: opcheck, autocast, checkpointing, copies, TorchScript."""

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from softpool_oracle import Case, lay_out, pool_by_definition
from torch import nn
from torch.utils.checkpoint import checkpoint

from videosoft.layers import SoftPool1d, SoftPool2d, SoftPool3d
from videosoft.ops import softpool2d, softpool3d
from videosoft.ops._library import LOAD_ERROR

needs_library = pytest.mark.skipif(LOAD_ERROR is not None, reason=str(LOAD_ERROR))
CASES = [
    Case((7,), 3, 2, 1),
    Case((5, 6), 2, 3, 1, ceil_mode=True),
    Case((2, 5, 6), (1, 2, 3), (1, 2, 2), (0, 1, 1)),
]


@needs_library
@pytest.mark.slow
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_opcheck(case: Case, layout: str, exact: bool) -> None:
    sizes = [list(case.expand(size)) for size in (case.kernel_size, case.stride, case.padding)]
    arguments = (*sizes, case.ceil_mode, 1.5, exact)
    input = lay_out(torch.randn(2, 3, *case.size), layout).requires_grad_()
    grad_output = lay_out(torch.randn(2, 3, *case.output_size()), layout).requires_grad_()
    operators = torch.ops.videosoft
    torch.library.opcheck(operators.softpool_forward.default, (input, *arguments))
    torch.library.opcheck(operators.softpool_backward.default, (grad_output, input, *arguments))


@needs_library
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([3], [2, 2], [1, 1], False, 1.0, True), "same length"),
        (([3, 3, 3], [2] * 3, [1] * 3, False, 1.0, True), "5 dimensions"),
        (([0, 3], [2, 2], [0, 0], False, 1.0, True), "must be positive"),
        (([3, 3], [2, 2], [2, 2], False, 1.0, True), "at most half"),
        (([9, 9], [2, 2], [0, 0], False, 1.0, True), "too small"),
    ],
)
def test_direct_calls_are_checked(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        torch.ops.videosoft.softpool_forward(torch.zeros(1, 1, 5, 5), *arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_does_not_cast(dtype: torch.dtype, backend: str) -> None:
    input = torch.randn(1, 2, 4, 4, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = softpool2d(input, 2)
    assert output.dtype == dtype
    output.sum().backward()
    assert input.grad is not None
    assert input.grad.dtype == dtype


def test_meta_tensors_have_the_output_size() -> None:
    assert softpool3d(torch.empty(2, 3, 8, 9, 10, device="meta"), 3, 2, 1).shape == (2, 3, 4, 5, 5)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointing_gives_the_same_gradients(use_reentrant: bool, backend: str) -> None:
    layer = nn.Sequential(nn.Conv2d(2, 3, 3), SoftPool2d(3, 2, 1))
    input = torch.randn(2, 2, 7, 8, requires_grad=True)
    leaves = (input, *layer.parameters())
    expected = torch.autograd.grad(layer(input).sin().sum(), leaves)
    # The reentrant kind works with backward() alone.
    checkpoint(layer, input, use_reentrant=use_reentrant).sin().sum().backward()
    for leaf, gradient in zip(leaves, expected, strict=True):
        torch.testing.assert_close(leaf.grad, gradient)


def test_deterministic_algorithms_are_no_obstacle(backend: str) -> None:
    input = torch.randn(2, 3, 4, 5, requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        (found,) = torch.autograd.grad(softpool2d(input, 2, temperature=0).sum(), input)
    finally:
        torch.use_deterministic_algorithms(False)
    expected = torch.full_like(found, 0.25)
    expected[..., 4] = 0  # outside the last window
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("layer", [SoftPool1d, SoftPool2d, SoftPool3d])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_layers_are_copied_and_pickled(layer: type[nn.Module], duplicate: Callable[[nn.Module], nn.Module]) -> None:
    original = layer(3, 2, 1, ceil_mode=True, temperature=1.5, gradient="paper")
    twin = duplicate(original)
    input = torch.randn(2, 3, *(6,) * layer.num_dims)
    assert repr(twin) == repr(original)
    assert torch.equal(twin(input), original(input))
    # No weights: a checkpoint of a network with another pooling fits.
    assert original.state_dict() == {}


@needs_library
def test_a_trace_of_torchscript_is_saved_loaded_and_differentiated() -> None:
    traced = torch.jit.trace(lambda input: softpool2d(input, 3, 2, 1), torch.randn(2, 3, 5, 6))
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    case = Case((5, 6), 3, 2, 1)
    input = torch.randn(2, 3, *case.size, requires_grad=True)
    grad_output = torch.randn(2, 3, *case.output_size())
    expected, exact, _ = pool_by_definition(input.detach(), case, grad_output=grad_output)
    output = torch.jit.load(file)(input)
    torch.testing.assert_close(output, expected.float(), rtol=1e-5, atol=1e-5)
    (found,) = torch.autograd.grad(output, input, grad_output)
    torch.testing.assert_close(found, exact.float(), rtol=1e-5, atol=1e-5)
