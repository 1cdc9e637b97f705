"""Recipes by name, and recipes that say only how they differ from others: `run.extends`.

docs/decisions/0015-recipes-by-overlays.md says why. Nothing here imports torch.
"""

import difflib
import importlib.util
from pathlib import Path
from typing import Any

import yaml

from videosoft.errors import InputError

CONFIG_FLAGS = ("--config", "-c")
EXTENDS = "run.extends"


def find_packaged_configs() -> dict[str, Path]:
    """The recipes that come with videosoft: file name -> path. What they have in common, in ``bases/``, is left out."""
    return _list_packaged("*.yaml")


def find_packaged_overlays() -> dict[str, Path]:
    """What may follow any recipe, as a further ``--config``: ``overlays/NAME.yaml`` -> path."""
    return _list_packaged("overlays/*.yaml")


def read_headline(path: Path) -> str:
    """The first line of a recipe, a comment that says what it is."""
    with path.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip()


def resolve_configs(arguments: list[str]) -> list[str]:
    """Put into ``--config`` the files that are meant: a packaged recipe for its bare name, and bases before overlays.

    A config may name others in ``run.extends``, a list; they apply before it, the first one first, each with its own
    bases before it and each file once. The run is called after the first config that was given, not after its base.

    Raises:
        InputError: a config or a base does not exist (the nearest names are given), a base extends itself, or
            ``run.extends`` is not a list of names.
    """
    if any(argument.partition("=")[0] == f"--{EXTENDS}" for argument in arguments):
        raise InputError(f"--{EXTENDS} belongs into a config file; here give --config several times, bases first.")
    resolved: list[str] = []
    applied: list[Path] = []
    flag = ""
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if not flag and not (separator and name in CONFIG_FLAGS):
            flag = argument if argument in CONFIG_FLAGS else ""
            resolved += [] if flag else [argument]
            continue
        config = _find_config(argument if flag else value)
        bases = [base for base in _linearize_bases(config, ()) if not _holds(applied, base)]
        if bases and not applied and not _names_run(arguments):
            # Before the configs, so that a name in one of them wins.
            resolved.append(f"--run.name={config.stem}")
        for path in (*bases, config):
            resolved += [flag, str(path)] if flag else [f"{name}={path}"]
        applied += [*bases, config]
        flag = ""
    return [*resolved, flag] if flag else resolved


def _linearize_bases(config: Path, descendants: tuple[Path, ...]) -> list[Path]:
    """A config's bases in the order of their application, each once."""
    place = config.resolve()
    if place in descendants:
        chain = " -> ".join(path.name for path in (*descendants[descendants.index(place) :], place))
        raise InputError(f"{EXTENDS} goes in a circle: {chain}.")
    order: list[Path] = []
    for name in _read_extends(config):
        base = _find_base(name, config)
        bases = _linearize_bases(base, (*descendants, place))
        order += [path for path in (*bases, base) if not _holds(order, path)]
    return order


def _holds(paths: list[Path], path: Path) -> bool:
    return path.resolve() in (other.resolve() for other in paths)


def _read_extends(config: Path) -> list[str]:
    try:
        content: Any = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"config {config} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"config {config} is not YAML: {error}") from error
    if content is None:
        raise InputError(f"config {config} is empty: it must hold sections (model, data, ...).")
    if not isinstance(content, dict):
        raise InputError(f"config {config} must hold sections (model, data, ...), not a {type(content).__name__}.")
    run = content.get("run")
    extends = run.get("extends") if isinstance(run, dict) else None
    if extends is None:
        return []
    if not isinstance(extends, list) or not all(isinstance(name, str) for name in extends):
        raise InputError(f"config {config}: {EXTENDS} must be a list of recipes, such as [base.yaml], got {extends!r}.")
    return extends


def _find_config(name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    if (packaged := _find_packaged(name)) is not None:
        return packaged
    raise InputError(
        f"config {name!r} is neither a file nor a packaged recipe.{_suggest(name)} "
        "`lightning configs` lists the recipes."
    )


def _find_base(name: str, config: Path) -> Path:
    beside = config.parent / name
    if beside.is_file():
        return beside
    if (packaged := _find_packaged(name)) is not None:
        return packaged
    raise InputError(
        f"config {config} extends {name!r}, which is neither a file beside it nor a packaged recipe.{_suggest(name)}"
    )


def _find_packaged(name: str) -> Path | None:
    for folder in _find_config_folders():
        for candidate in (folder / name, folder / f"{name}.yaml"):
            if candidate.is_file() and candidate.resolve().is_relative_to(folder.resolve()):
                return candidate
    return None


def _list_packaged(pattern: str) -> dict[str, Path]:
    """Name -> path, the name as ``--config`` takes it."""
    found: dict[str, Path] = {}
    for folder in _find_config_folders():
        for path in sorted(folder.glob(pattern)):
            found.setdefault(path.relative_to(folder).as_posix(), path)
    return found


def _find_config_folders() -> list[Path]:
    spec = importlib.util.find_spec("videosoft.configs")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    # In a checkout that was not installed the recipes lie beside the package.
    return [*folders, Path(__file__).resolve().parent.parent / "configs"]


def _suggest(name: str) -> str:
    names = [*find_packaged_configs(), *_list_packaged("*/*.yaml")]
    nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(nearest)}?" if nearest else ""


def _names_run(arguments: list[str]) -> bool:
    return any(argument.partition("=")[0] == "--run.name" for argument in arguments)
