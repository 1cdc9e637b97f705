"""What a misspelled key was meant to be, and where it stands."""

import difflib
import importlib
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from videosoft.recipes import CONFIG_FLAGS

# What jsonargparse says of keys that it does not know, in files and on the command line.
_UNKNOWN_IN_GROUP = re.compile(r"Group '([\w.]+)' does not accept option '([\w.]+)'")
_UNKNOWN = re.compile(r"^(?:Option|Subcommand '\w+' does not accept option) '([\w.]+)'")
_UNKNOWN_OF_CLASS = re.compile(
    r"""Parser key "([\w.]+)":.*?Option '(\w+)' is not accepted.*class_path='([\w.]+)'""", re.DOTALL
)
_UNKNOWN_ARGUMENT = re.compile(r"unrecognized arguments: --([\w.]+)")


class NearestKeysParser(LightningArgumentParser):
    """A parser whose errors about unknown keys name the nearest known ones, and the file and line.

    ``list_known_keys`` is set by who made the parser: a function that returns the dotted keys.
    """

    list_known_keys: Callable[[], Collection[str]] = staticmethod(tuple)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        # The parsers that jsonargparse makes for the arguments of a class have none; their errors come by here again.
        known_keys = self.list_known_keys()
        super().error(explain_unknown_key(message, known_keys, sys.argv) if known_keys else message, ex)


def explain_unknown_key(message: str, known_keys: Collection[str], argv: Sequence[str]) -> str:
    """The parser's ``message``, or a clearer one if it is about a key that is not in ``known_keys``."""
    if found := _UNKNOWN_OF_CLASS.search(message):
        group, option, class_path = found.groups()
        key = f"{group}.init_args.{option}"
        known_keys = [f"{group}.init_args.{name}" for name in _list_arguments(class_path)]
    elif found := _UNKNOWN_IN_GROUP.search(message):
        key = ".".join(found.groups())
    elif found := (_UNKNOWN.search(message) or _UNKNOWN_ARGUMENT.search(message)):
        key = found[1]
    else:
        return message
    place = _find_in_configs(key, argv)
    nearest = _find_nearest(key, known_keys)
    hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
    return f"unknown key {key}{f' ({place})' if place else ''}.{hint}"


def _find_nearest(key: str, known_keys: Collection[str]) -> list[str]:
    group, _, name = key.rpartition(".")
    # The very name in another section is a better guess than a like one in this.
    if places := [known for known in known_keys if known.rpartition(".")[2] == name]:
        return difflib.get_close_matches(key, places, n=3, cutoff=0.0)
    siblings = {known.removeprefix(f"{group}."): known for known in known_keys if known.rpartition(".")[0] == group}
    if near := difflib.get_close_matches(name, siblings, n=3, cutoff=0.6):
        return [siblings[found] for found in near]
    # Then a section itself is misspelled.
    return difflib.get_close_matches(key, list(known_keys), n=3, cutoff=0.6)


def _list_arguments(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    try:
        return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    except (ImportError, AttributeError, ValueError, TypeError):
        return []


def _find_in_configs(key: str, argv: Sequence[str]) -> str:
    """FILE:LINE of a key in the configs on the command line, empty if it is in none of them."""
    files = [value for flag, value in itertools.pairwise(argv) if flag in CONFIG_FLAGS]
    files += [value for flag, _, value in (argument.partition("=") for argument in argv) if flag in CONFIG_FLAGS]
    for file in files:
        try:
            node: Any = yaml.compose(Path(file).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        if line := _find_line(node, key.split(".")):
            return f"{file}:{line}"
    return ""


def _find_line(node: Any, names: Sequence[str]) -> int | None:
    for name_node, value_node in node.value if isinstance(node, yaml.MappingNode) else ():
        if name_node.value == names[0]:
            return name_node.start_mark.line + 1 if len(names) == 1 else _find_line(value_node, names[1:])
    return None
