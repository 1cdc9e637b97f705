"""What the benchmarks share: a clock, calls that take turns, and what a record says of the machine."""

import platform
import random
import re
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import videosoft
from videosoft.atomic_files import check_output_folder
from videosoft.errors import InputError
from videosoft.ops._library import LIBRARY_PATH

ROOT = Path(__file__).resolve().parents[1]
# Zeroed before each measurement on a GPU: it empties the cache, and while it runs the CPU can queue what is measured.
FLUSHED_BYTES = 2**30
# An operation that takes longer than this is called in every third round only.
SLOW_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """One operation to be timed, one call at a time, on an input of a pass."""

    label: str
    row: dict[str, Any]
    call: Callable[[], Any]


class Clock:
    """Seconds that a call takes."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        if self._on_gpu:
            self._flushed = torch.empty(FLUSHED_BYTES, dtype=torch.uint8, device=device)

    def measure(self, call: Callable[[], Any]) -> float:
        """On the device: on a GPU the time of the kernels alone, as long as the CPU keeps ahead of them."""
        if not self._on_gpu:
            return self.measure_all(call)
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self._flushed.zero_()
        begin.record()
        call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    def measure_all(self, call: Callable[[], Any]) -> float:
        """On the clock at the wall."""
        self.finish()
        start = time.perf_counter()
        call()
        self.finish()
        return time.perf_counter() - start

    def finish(self) -> None:
        if self._on_gpu:
            torch.cuda.synchronize()


def check_output(path: Path, *, force: bool) -> None:
    """See, before hours are spent, that a record can be written."""
    if path.exists() and not force:
        raise InputError(f"{path} exists already; name another --output or overwrite it with --force")
    check_output_folder(path.parent)


def check_device(device: torch.device) -> None:
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA device here; --device cpu is the other choice")


def measure_in_turns(
    jobs: list[Job], measure: Callable[[Callable[[], Any]], float], rounds: int, unit: str = "ms"
) -> list[dict[str, Any]]:
    """A row for each job: median and quartiles of its times, or the error that it ended in."""
    errors: dict[str, str] = {}
    times: dict[str, list[float]] = {job.label: [] for job in jobs}
    slow = set()
    for job in jobs:
        # The first calls compile and fill caches; the second says how long a call takes.
        try:
            measure(job.call)
            if measure(job.call) > SLOW_SECONDS:
                slow.add(job.label)
        except Exception as error:  # whatever a peer cannot do is a result
            lines = [line for line in str(error).splitlines() if line.strip()]
            errors[job.label] = f"{type(error).__name__}: {lines[0].strip() if lines else ''}"
    shuffler = random.Random(0)
    for round_number in range(rounds):
        for job in shuffler.sample(jobs, len(jobs)):
            if job.label not in errors and (job.label not in slow or round_number % 3 == 0):
                times[job.label].append(measure(job.call))
    return [job.row | summarize(times[job.label], unit) | {"error": errors.get(job.label)} for job in jobs]


def summarize(seconds: list[float], unit: str) -> dict[str, Any]:
    """Median and quartiles in milliseconds ("ms") or microseconds ("us"); None where nothing was measured."""
    names = (f"lower_quartile_{unit}", f"median_{unit}", f"upper_quartile_{unit}")
    if not seconds:
        return {"samples": 0} | dict.fromkeys(names)
    quartiles = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    scale = {"ms": 1e3, "us": 1e6}[unit]
    values = (round(scale * quartile, 4) for quartile in quartiles)
    return {"samples": len(seconds)} | dict(zip(names, values, strict=True))


def name_dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def describe_device(device: torch.device) -> dict[str, Any]:
    if device.type == "cuda":
        return {"type": "cuda", "name": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    capability = torch.backends.cpu.get_cpu_capability()
    return {"type": "cpu", "name": find_cpu_name(), "threads": torch.get_num_threads(), "capability": capability}


def find_cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def find_versions() -> dict[str, str | None]:
    return {
        "videosoft": videosoft.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "compiler": find_compiler(),
        "revision": find_revision(),
    }


def find_compiler() -> str | None:
    """The compiler that left its name in the library."""
    content = LIBRARY_PATH.read_bytes() if LIBRARY_PATH.is_file() else b""
    found = re.search(rb"GCC: \([^)]*\) [\d.]+|clang version [\d.]+", content)
    return found[0].decode() if found else None


def find_revision() -> str | None:
    """The commit, with "-dirty" after it if a file differs from it; None outside a git repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
