"""Runs a test on each backend; without the compiled library its part is skipped, and said so at the end."""

import pytest
import torch

from videosoft.ops import _library


@pytest.fixture(params=["reference", "compiled"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "compiled":
        if _library.LOAD_ERROR is not None:
            pytest.skip(_library.LOAD_ERROR)
        monkeypatch.delenv(_library.BACKEND_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(_library.BACKEND_VARIABLE, "reference")
    assert _library.choose_backend("cpu").backend == request.param
    return request.param


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reason = _library.LOAD_ERROR
    if reason is None:
        return
    num_skipped = sum(reason in str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    if num_skipped:
        terminalreporter.write_line(
            f"WARNING: {num_skipped} tests did not run for want of the compiled kernels: {reason}", red=True
        )
