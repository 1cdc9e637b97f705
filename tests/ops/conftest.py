"""Runs a test on each backend. What cannot run, for want of the compiled library or of a GPU, is skipped and said so at
the end; with VIDEOSOFT_REQUIRE_CUDA=1 the want of a GPU is a failure.
"""

import os
from collections.abc import Iterator

import pytest
import torch

from videosoft.ops import _library

NO_GPU = "not run on a GPU"


def find_gpu_obstacle() -> str | None:
    if not torch.cuda.is_available():
        return "torch sees no GPU"
    return _library.CUDA_LOAD_ERROR


def require_gpu() -> None:
    obstacle = find_gpu_obstacle()
    if obstacle is None:
        return
    if os.environ.get("VIDEOSOFT_REQUIRE_CUDA", "0") not in ("", "0"):
        pytest.fail(f"VIDEOSOFT_REQUIRE_CUDA is set, but {obstacle}")
    pytest.skip(f"{NO_GPU}: {obstacle}")


def require_library() -> None:
    if _library.LOAD_ERROR is not None:
        pytest.skip(_library.LOAD_ERROR)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`backend` is every way to compute, `kernels` the compiled ones. A module says RUNS_ON_GPU if its tests may run
    with every tensor on a GPU."""
    on_gpu = ["cuda"] if getattr(metafunc.module, "RUNS_ON_GPU", False) else []
    for name, ways in (("backend", ["reference", "compiled"]), ("kernels", ["compiled"])):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, ways + on_gpu, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield from _use_backend(request.param, monkeypatch)


@pytest.fixture
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield from _use_backend(request.param, monkeypatch)


def _use_backend(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if name == "reference":
        monkeypatch.setenv(_library.BACKEND_VARIABLE, "reference")
    else:
        require_gpu() if name == "cuda" else require_library()
        monkeypatch.delenv(_library.BACKEND_VARIABLE, raising=False)
    device = "cuda" if name == "cuda" else "cpu"
    assert _library.choose_backend(device).backend == ("reference" if name == "reference" else "compiled")
    with torch.device(device):
        yield name


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    """Every tensor is created on the GPU."""
    require_gpu()
    device = torch.device("cuda", torch.cuda.current_device())
    with device:
        yield device


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    wants = {NO_GPU: f"want of a GPU: {find_gpu_obstacle()}"}
    if _library.LOAD_ERROR is not None:
        wants[_library.LOAD_ERROR] = f"want of the compiled kernels: {_library.LOAD_ERROR}"
    for mark, want in wants.items():
        num_skipped = sum(mark in str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
        if num_skipped:
            terminalreporter.write_line(f"WARNING: {num_skipped} tests did not run for {want}", red=True)
