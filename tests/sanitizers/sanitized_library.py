"""Sees to it that the kernels under test are the sanitized ones, in every process of a test run.

As a pytest plugin it stops the run where they are not. As a program it proves that they notice an error: it lets them
read beyond the end of an allocation, which has to end the process.
"""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from videosoft.ops import _library, softpool1d

FOLDER = Path(__file__).resolve().parent
LIBRARY = FOLDER / "videosoft" / "ops" / "_softpool.so"
READ_TOO_FAR = "--read-too-far"


def find_fault() -> str | None:
    """Why these are not the sanitized kernels, or None."""
    if _library.LOAD_ERROR is not None:
        return _library.LOAD_ERROR
    if _library.LIBRARY_PATH != LIBRARY:
        return f"the kernels are {_library.LIBRARY_PATH}, not {LIBRARY}"
    content = LIBRARY.read_bytes()
    for symbol in (b"__asan_report_load", b"__ubsan_handle"):
        if symbol not in content:
            return f"{LIBRARY} was built without its sanitizer: it does not call {symbol.decode()}"
    maps = Path("/proc/self/maps").read_text().splitlines()
    mapped = {Path(line.split()[-1]).name.split(".so")[0] for line in maps if ".so" in line}
    missing = {"libasan", "libubsan", "_softpool"} - mapped
    return f"not loaded: {', '.join(sorted(missing))}" if missing else None


def pytest_configure(config: pytest.Config) -> None:
    fault = find_fault()
    if fault is not None:
        raise pytest.UsageError(f"this run would not test the sanitized kernels: {fault}")


def read_too_far() -> None:
    """SoftPool of 64 numbers where 8 are allocated."""
    allocate = ctypes.CDLL(None).malloc
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_void_p
    numbers = (ctypes.c_float * 64).from_address(allocate(8 * 4))
    softpool1d(torch.frombuffer(numbers, dtype=torch.float32).view(1, 1, 64), 2)


def main() -> None:
    fault = find_fault()
    if fault is not None:
        sys.exit(f"error: these are not the sanitized kernels: {fault}")
    if READ_TOO_FAR in sys.argv:
        return read_too_far()
    finished = subprocess.run([sys.executable, __file__, READ_TOO_FAR], capture_output=True, text=True)
    report = finished.stderr
    # It has more than one name for a vector that is read beyond the end.
    noticed = "ERROR: AddressSanitizer" in report and LIBRARY.name in report
    if finished.returncode == 0 or not noticed:
        sys.exit(f"error: the sanitized kernels read beyond an allocation and nothing noticed it:\n{report}")
    print(f"{LIBRARY} is loaded, and reading beyond an allocation ends it.")


if __name__ == "__main__":
    main()
