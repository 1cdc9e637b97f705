"""How long a user waits for the first step of a training, and for a command's help.

Everything runs in processes of its own, as at a terminal. Seconds on the clock say what the user sees where nothing
else runs; seconds of CPU time, of a process and all that it started, hardly depend on what else does.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import psutil

from videosoft.errors import InputError

BENCHMARKS = Path(__file__).resolve().parent
ROOT = BENCHMARKS.parent


class FirstStepStamp(L.Callback):
    """Write time of day and CPU seconds into a file when the first batch has been trained on."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self.path.exists():
            self.path.write_text(json.dumps({"time": time.time(), "cpu_seconds": _count_cpu_seconds()}))


def measure_first_step(arguments: Sequence[str], *, num_runs: int) -> dict[str, Any]:
    """From the start of ``lightning fit ARGUMENTS`` to the end of its first step, in a new output folder each time."""

    def run_once() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            stamp = Path(folder, "first_step.json")
            started = time.time()
            _run(
                *("fit", *arguments, "--run.output", folder, "--trainer.max_steps", "1"),
                *("--trainer.callbacks+=first_step.FirstStepStamp", "--trainer.callbacks.path", str(stamp)),
            )
            measured = json.loads(stamp.read_text())
        return {"seconds": measured["time"] - started, "cpu_seconds": measured["cpu_seconds"]}

    return _summarize(run_once, num_runs)


def measure_help(*arguments: str, num_runs: int) -> dict[str, Any]:
    """From the start of ``lightning ARGUMENTS --help`` to its end."""

    def run_once() -> dict[str, float]:
        used, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
        _run(*arguments, "--help")
        seconds, now = time.time() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_seconds = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        return {"seconds": seconds, "cpu_seconds": cpu_seconds}

    return _summarize(run_once, num_runs)


def _run(*arguments: str) -> None:
    path = os.pathsep.join(map(str, (BENCHMARKS, ROOT)))
    command = [sys.executable, "-m", "videosoft", *arguments]
    run = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    if run.returncode:
        raise InputError(f"lightning {' '.join(arguments)} failed:\n{run.stderr[-2000:]}")


def _summarize(run_once: Callable[[], dict[str, float]], num_runs: int) -> dict[str, Any]:
    runs = [run_once() for _ in range(num_runs)]
    summary: dict[str, Any] = {}
    for name in ("seconds", "cpu_seconds"):
        values = [run[name] for run in runs]
        summary |= {name: [round(value, 2) for value in values], f"median_{name}": round(statistics.median(values), 2)}
    return summary


def _count_cpu_seconds() -> float:
    """Of this process and of all that it has started, those that ended before included."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:4]) for process in processes)
