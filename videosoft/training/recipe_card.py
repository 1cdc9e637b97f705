"""What a run was: its recipe, code, data and network, inside its checkpoints and beside them."""

import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import videosoft
from videosoft.models import NetworkSize

JSON_NAME, PAGE_NAME = "recipe_card.json", "recipe_card.md"

_PACKAGES = ("lightning", "torchvision", "torchmetrics", "pytorchvideo", "numpy", "decord2")


def describe_run(size: NetworkSize) -> dict[str, Any]:
    """What a checkpoint's card says besides what rebuilds the network, in plain types.

    Returns:
        ``size``: parameters, multiply-adds of one clip and that clip's (C, T, H, W); ``git``: revision of the checkout
        that videosoft runs from, and of the current folder's, each with whether tracked files were changed, None where
        there is none; ``versions``: of the packages that matter, and of CUDA.
    """
    versions = {"cuda": torch.version.cuda}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "size": {
            "parameters": size.num_parameters,
            "multiply_adds": size.num_macs,
            "input": [3, *size.clip_size],
        },
        "git": {
            "videosoft": describe_checkout(Path(videosoft.__file__).parent),
            "current_folder": describe_checkout(Path.cwd()),
        },
        "versions": versions,
    }


def describe_checkout(folder: Path) -> dict[str, Any] | None:
    """Revision of the git checkout that a folder is in, and whether tracked files were changed; None without one."""
    # What a checkout's own settings would have run is not wanted here.
    git = ["git", "-c", "core.fsmonitor=false", "-C", str(folder)]
    try:
        revision, changes = (
            subprocess.run([*git, *arguments], capture_output=True, text=True, timeout=30, check=True).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"revision": revision, "is_dirty": bool(changes)}
