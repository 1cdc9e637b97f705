"""Loading the compiled kernels, and the one choice of a backend for each device type."""

import os
from pathlib import Path
from typing import NamedTuple

import torch

from videosoft.errors import InputError, first_line
from videosoft.ops import _registration, _relu_registration

BACKEND_VARIABLE = "VIDEOSOFT_BACKEND"
LIBRARY_PATH = Path(__file__).with_name("_softpool.so")
CUDA_LIBRARY_PATH = Path(__file__).with_name("_softpool_cuda.so")
_BUILD = "run `python setup.py build_ext --inplace` in a checkout, or install videosoft again"


class Backend(NamedTuple):
    """What computes SoftPool on a device type, and why this and nothing faster."""

    backend: str
    reason: str


def describe_backends() -> dict[str, dict[str, str]]:
    """Which backend computes SoftPool on each device type, and why: ``{"cpu": {"backend": ..., "reason": ...}, ...}``.

    Raises :class:`InputError` when the environment variable ``VIDEOSOFT_BACKEND`` holds anything but "reference".
    """
    return {device_type: choose_backend(device_type)._asdict() for device_type in ("cpu", "cuda")}


def choose_backend(device_type: str) -> Backend:
    """The first backend that can run: compiled kernels unless forced off, missing or broken; else the reference."""
    obstacle = find_obstacle(device_type)
    if obstacle is not None:
        return Backend("reference", obstacle)
    if device_type == "cuda":
        here = "" if torch.cuda.is_available() else " (torch sees no GPU here)"
        return Backend("compiled", f"kernels of {CUDA_LIBRARY_PATH.name}, dispatched to cuda{here}")
    return Backend("compiled", f"kernels of {LIBRARY_PATH.name}, dispatched to {device_type}")


def find_obstacle(device_type: str) -> str | None:
    """Why the compiled kernels do not run on a device type; None if they do."""
    # "in" first: looking up a variable that is not set takes longer than all the rest of a small call's checks.
    if BACKEND_VARIABLE in os.environ and (forced := os.environ[BACKEND_VARIABLE]):
        if forced != "reference":
            raise InputError(
                f"environment variable {BACKEND_VARIABLE} must be 'reference' or unset"
                f" (the fastest backend that runs is then chosen), got {forced!r}"
            )
        return f"forced by the environment variable {BACKEND_VARIABLE}=reference"
    if device_type == "cpu":
        return LOAD_ERROR
    if device_type == "cuda":
        return CUDA_LOAD_ERROR
    return f"there are no compiled kernels for {device_type}: plain PyTorch runs on it"


def _load_library() -> str | None:
    """Load the CPU's kernels, with the schemas, and register what PyTorch needs besides; why that failed, or None."""
    if not LIBRARY_PATH.is_file():
        return f"{LIBRARY_PATH.name} is not built (there was no C++ compiler, or VIDEOSOFT_NO_EXT was set): {_BUILD}"
    try:
        torch.ops.load_library(str(LIBRARY_PATH))
        _registration.register()
        _relu_registration.register()
    except (OSError, RuntimeError, AttributeError) as error:
        # A library of another platform, another torch or older sources must not break the import.
        return _explain(LIBRARY_PATH, error)
    return None


def _load_cuda_library() -> str | None:
    """Load the CUDA kernels, which register themselves on the schemas; why that failed or was not tried, or None."""
    if LOAD_ERROR is not None:
        return LOAD_ERROR
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if not CUDA_LIBRARY_PATH.is_file():
        return (
            f"{CUDA_LIBRARY_PATH.name} is not built (there was no nvcc, or VIDEOSOFT_NO_CUDA was set): {_BUILD};"
            " until then plain PyTorch runs on cuda"
        )
    try:
        torch.ops.load_library(str(CUDA_LIBRARY_PATH))
    except (OSError, RuntimeError) as error:
        return _explain(CUDA_LIBRARY_PATH, error)
    return None


def _explain(path: Path, error: Exception) -> str:
    return f"{path.name} does not work with torch {torch.__version__} ({first_line(error)}): {_BUILD}"


LOAD_ERROR = _load_library()
CUDA_LOAD_ERROR = _load_cuda_library()
