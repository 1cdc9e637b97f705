"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

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
