"""What is installed, which operator backend runs, and who owns the `lightning` script."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from videosoft.cores import count_cores
from videosoft.ops import describe_backends
from videosoft.training.doctor.findings import Finding

_DISTRIBUTIONS = (
    "videosoft",
    "torch",
    "torchvision",
    "lightning",
    "pytorchvideo",
    "decord2",
    "av",
    "torchcodec",
    "wandb",
    "tensorboard",
)
# Uploads to the package index that were malicious.
_BAD_VERSIONS = {("lightning", "2.6.2"), ("lightning", "2.6.3")}


def check_environment(accelerator: str = "auto") -> Iterator[Finding]:
    """Versions, devices, operator backends and the owner of the `lightning` script.

    ``accelerator`` is the one that the run would use, as Lightning names it.
    """
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield from _check_versions()
    yield _describe_devices()
    yield from _check_backends("cuda" if accelerator in ("cuda", "gpu") else "cpu")
    yield _check_script_owner()


def _check_versions() -> Iterator[Finding]:
    found = []
    for name in _DISTRIBUTIONS:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.append(f"{name} {version}")
        if (name, version) in _BAD_VERSIONS:
            yield Finding("FAIL", "packages", f"{name} {version} is a malicious upload: pip install --upgrade {name}")
    yield Finding("ok", "packages", ", ".join(found))
    try:
        importlib.metadata.version("decord")
    except importlib.metadata.PackageNotFoundError:
        return
    yield Finding(
        "warn",
        "packages",
        "decord is installed beside decord2 and may overwrite it: pip uninstall decord, then reinstall decord2",
    )


def _describe_devices() -> Finding:
    if not torch.cuda.is_available():
        return Finding("note", "devices", f"no GPU that torch can use; {count_cores()} CPU cores")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Finding("ok", "devices", f"{', '.join(names)}; {count_cores()} CPU cores")


def _check_backends(device_type: str) -> Iterator[Finding]:
    for name, backend in describe_backends().items():
        is_reference = backend["backend"] == "reference"
        is_slow = name == device_type and is_reference
        yield Finding(
            "warn" if is_slow else "note" if is_reference else "ok",
            "softpool",
            f"{name}: {backend['backend']} ({backend['reason']})"
            + ("; correct, but many times slower than the compiled kernels" if is_slow else ""),
        )


def _check_script_owner() -> Finding:
    owners = _find_script_claims()
    script = shutil.which("lightning", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    mend = "python -m pip install --force-reinstall --no-deps videosoft; `videosoft fit` is the same command"
    if script is None:
        return Finding("warn", "lightning script", f"there is none: {mend}")
    if "videosoft" not in Path(script).read_text(encoding="utf-8", errors="replace"):
        others = ", ".join(owner for owner in owners if owner != "videosoft") or "another package"
        return Finding("warn", "lightning script", f"{script} is that of {others}: {mend}")
    if len(owners) > 1:
        return Finding(
            "note", "lightning script", f"{script} is ours, but {', '.join(owners)} all install one: the last one wins"
        )
    return Finding("ok", "lightning script", f"{script} is ours")


def _find_script_claims() -> list[str]:
    """The distributions that install a console script `lightning`."""
    points = importlib.metadata.entry_points(group="console_scripts", name="lightning")
    return sorted({point.dist.name for point in points if point.dist is not None})
