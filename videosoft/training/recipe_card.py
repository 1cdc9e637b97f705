"""What a run was: its recipe, code, data and network, inside its checkpoints and beside them, and as a page to read."""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

import videosoft
from videosoft.errors import InputError
from videosoft.models import NetworkSize, read_weight_file

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


def format_card(card: Mapping[str, Any]) -> str:
    """A card as a page of Markdown; what is not in it (an older checkpoint's) is left out."""
    model, size, data = card.get("model", {}), card.get("size", {}), card.get("data", {})
    lines = [f"# Recipe card: {_clean(model.get('name'))}", ""]
    facts: dict[str, Any] = {"network": model}
    if size:
        facts["parameters"] = f"{size['parameters']:,}"
        facts["multiply-adds"] = f"{size['multiply_adds']:,} for one clip"
        facts["input"] = " x ".join(map(str, size["input"])) + " (channels x frames x height x width)"
    for name, checkout in card.get("git", {}).items():
        state = "with changes" if checkout and checkout["is_dirty"] else "unchanged"
        facts[f"git, {name.replace('_', ' ')}"] = f"{checkout['revision']}, {state}" if checkout else "no checkout"
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in card.get("versions", {}).items() if version)
    for role, content in data.get("coverage", {}).items():
        manifest = data.get("manifest_hash", {}).get(role)
        facts[f"data, {role}"] = f"{content['num_found']} of {content['num_listed']} videos; manifest {manifest}"
    for name, value in card.get("preprocessing", {}).items():
        facts[f"preprocessing, {name}"] = value
    lines += ["| | |", "|---|---|", *(f"| {_clean(name)} | {_clean(value)} |" for name, value in facts.items())]
    class_names = card.get("class_names", [])
    lines += ["", f"## {len(class_names)} classes", "", ", ".join(map(_clean, class_names))]
    if recipe := card.get("recipe"):
        text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=False).rstrip()
        lines += ["", "## Recipe", "", *(f"    {line}" for line in text.splitlines())]
    return "\n".join(lines) + "\n"


def run_card_command() -> None:
    """`lightning card CHECKPOINT`: print its card.

    Raises:
        InputError: there is no such checkpoint, or it has no card.
    """
    parser = argparse.ArgumentParser(prog="lightning card", description="What a checkpoint was trained with.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--json", action="store_true", help="the card as it is, for programs")
    arguments = parser.parse_args(sys.argv[2:])
    card = read_weight_file(arguments.checkpoint).get("videosoft")
    if not isinstance(card, dict):
        raise InputError(f"{arguments.checkpoint} has no recipe card: it was not written by `lightning fit`.")
    try:
        text = json.dumps(card, indent=2) if arguments.json else format_card(card)
    except (AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"the recipe card of {arguments.checkpoint} is damaged: {error!r}") from error
    print(text)


def _clean(value: Any) -> str:
    """Text for one cell: a stranger's checkpoint may neither end the table nor steer the terminal."""
    text = "".join(character if character.isprintable() else " " for character in str(value))
    for special in ("\\", "|", "`", "<", "["):
        text = text.replace(special, "\\" + special)
    return text
