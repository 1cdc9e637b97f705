"""The Kinetics command as a user starts it, and what the tests of its steps share."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
KINETICS_FOLDER = REPOSITORY / "datasets" / "kinetics700"


def create_environment(**variables: str) -> dict[str, str]:
    search_path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return {**inherited, "PYTHONPATH": search_path, **variables}


def get_command(*arguments: object) -> list[str]:
    return [sys.executable, str(KINETICS_FOLDER / "prepare.py"), *map(str, arguments)]


def run_prepare(*arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run datasets/kinetics700/prepare.py; returns its exit code and what it printed."""
    return subprocess.run(
        get_command(*arguments), capture_output=True, text=True, env=create_environment(**variables), timeout=300
    )


def list_files(root: Path) -> set[str]:
    """All files below a folder but the unfinished and hidden ones."""
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    }


def find_files(folder: Path, pattern: str) -> list[Path]:
    """Files below a folder in which others make and remove files; none where it is not there yet."""
    with contextlib.suppress(FileNotFoundError):
        return list(folder.rglob(pattern))
    return []


def kill_with_workers(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL, and wait until the workers, which die with it, have gone too."""
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    psutil.wait_procs(workers, timeout=60)
