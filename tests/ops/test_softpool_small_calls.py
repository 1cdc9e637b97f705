"""What a small call may cost, and that remembering its arguments changes no answer."""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from videosoft.errors import InputError
from videosoft.ops import softpool2d, softpool3d
from videosoft.ops._library import BACKEND_VARIABLE, LOAD_ERROR

ACCEPTED = [2, (2, 2), [2, 2], np.int64(2), (np.int32(2), 2)]
REFUSED = [2.0, (2.0, 2.0), (2, 2.0), [2.0, 2], np.float64(2), "22", torch.tensor([2.0, 2.0]), None]


@pytest.mark.parametrize("size", ACCEPTED, ids=repr)
@pytest.mark.parametrize("refused", REFUSED, ids=repr)
def test_what_equals_a_remembered_argument_is_still_checked(size: object, refused: object, backend: str) -> None:
    input = torch.arange(16.0).view(1, 1, 4, 4)
    for _ in range(2):
        assert softpool2d(input, size, temperature=0).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
        with pytest.raises(InputError, match="kernel_size"):
            softpool2d(input, refused, temperature=0)


def test_remembered_arguments_do_not_mix(backend: str) -> None:
    input = torch.arange(4.0).view(1, 1, 2, 2).requires_grad_()
    for _ in range(2):
        outputs = [softpool2d(input, 2, temperature=temperature).item() for temperature in (0, 0.0, 1e4)]
        assert outputs == [1.5, 1.5, 3.0]
        signs = []
        for gradient in ("exact", "paper"):
            (found,) = torch.autograd.grad(softpool2d(input, 2, gradient=gradient).sum(), input)
            signs.append((found < 0).any().item())
        assert signs == [True, False]
        shapes = [softpool2d(torch.zeros(1, 1, 5, 5), 2, ceil_mode=ceil).shape[-1] for ceil in (False, True)]
        assert shapes == [2, 3]


def test_the_environment_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    softpool2d(torch.zeros(1, 1, 2, 2), 2)
    monkeypatch.setenv(BACKEND_VARIABLE, "fast")
    with pytest.raises(InputError, match=BACKEND_VARIABLE):
        softpool2d(torch.zeros(1, 1, 2, 2), 2)


@pytest.mark.skipif(LOAD_ERROR is not None, reason=str(LOAD_ERROR))
@pytest.mark.slow
def test_the_python_layer_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    input = torch.randn(1, 1, 2, 2, 2)
    sizes = ((2, 2, 2), (2, 2, 2), (0, 0, 0))
    operator = torch.ops.videosoft.softpool_forward.default

    def measure(call: Callable[[], torch.Tensor]) -> float:
        start = time.perf_counter()
        for _ in range(30):
            call()
        return (time.perf_counter() - start) / 30

    calls = (lambda: softpool3d(input, 2), lambda: operator(input, *sizes, False, 1.0, True))
    with torch.inference_mode():
        rounds = [[measure(call) for call in calls] for _ in range(500)]
    # The quickest rounds: the others measure what else the machine does.
    whole, bare = (min(times) for times in zip(*rounds, strict=True))
    # A call without a kernel's work takes about 5 us, the Python layer less: this leaves room for noise.
    assert whole - bare < 1.5 * bare
