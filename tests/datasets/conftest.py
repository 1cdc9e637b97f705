"""The demo data set's command, and the modules of all data sets' commands, for all tests of them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO_FOLDER = REPOSITORY / "datasets" / "demo"
# The command's own modules lie beside it, as they do when it is started.
sys.path.insert(0, str(DEMO_FOLDER))
sys.path.insert(0, str(REPOSITORY / "datasets" / "kinetics700"))

RunPrepare = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def run_prepare() -> RunPrepare:
    """Run datasets/demo/prepare.py as a user does; returns its exit code and what it printed."""

    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        search_path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, str(DEMO_FOLDER / "prepare.py"), *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": search_path},
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def demo_set(run_prepare: RunPrepare, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo set on disk."""
    root = tmp_path_factory.mktemp("demo") / "set"
    result = run_prepare("--output", root, "--num_train", 24, "--num_val", 17)
    assert result.returncode == 0, result.stderr
    return root
