"""Fixtures that every test may use."""

import os
import signal
from pathlib import Path

import pytest

# First of all that imports decord: with its symbols in the process's global scope torchcodec dies (decision 0010).
import videosoft.data  # noqa: F401

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background has Ctrl-C ignored, by all that they start as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(os.environ.get("VIDEOSOFT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
NO_REAL_DATA = "real data not found"


@pytest.fixture
def shared_dir() -> Path:
    """The folder with real clips, lists and reference weights; a test without it is skipped and counted."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"{NO_REAL_DATA} at {SHARED} (set VIDEOSOFT_SHARED)")
    return SHARED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    num_skipped = sum(NO_REAL_DATA in str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    if num_skipped:
        terminalreporter.write_line(f"WARNING: {num_skipped} tests did not run: {NO_REAL_DATA} at {SHARED}", red=True)
