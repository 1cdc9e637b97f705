"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("VIDEOSOFT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
_skipped_for_real_data: list[str] = []


@pytest.fixture
def shared_dir(request: pytest.FixtureRequest) -> Path:
    """The folder with real clips, lists and reference weights; a test without it is skipped and counted."""
    if not (SHARED / "data").is_dir():
        _skipped_for_real_data.append(request.node.nodeid)
        pytest.skip(f"real data not found at {SHARED} (set VIDEOSOFT_SHARED)")
    return SHARED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped_for_real_data:
        terminalreporter.write_line(
            f"WARNING: {len(_skipped_for_real_data)} tests did not run for want of the real data at {SHARED}", red=True
        )
