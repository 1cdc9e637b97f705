"""Which class a user means, by what was written and each model's own list of class names."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from videosoft.data import match_class_names
from videosoft.errors import InputError

__all__ = ["ClassOverlap", "compare_class_lists", "find_class", "match_class", "parse_class"]


@dataclass(frozen=True)
class ClassOverlap:
    """Which classes two models have in common, by name: ``shared`` in the order of the first."""

    shared: tuple[str, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


def compare_class_lists(first: Sequence[str], second: Sequence[str]) -> ClassOverlap:
    """Return what two lists of class names share; names that differ only in ``_'()`` are one class."""
    found = {name: match_class(name, second) for name in first}
    taken = set(found.values())
    return ClassOverlap(
        shared=tuple(name for name, index in found.items() if index is not None),
        only_first=tuple(name for name, index in found.items() if index is None),
        only_second=tuple(name for index, name in enumerate(second) if index not in taken),
    )


def match_class(name: str, class_names: Sequence[str]) -> int | None:
    """Return the index of a class by its name, spelled exactly or but for ``_'()``; None where none or several fit."""
    try:
        return match_class_names([name], class_names).labels[0]
    except InputError:
        return None


def find_class(name: str, class_names: Sequence[str], *, owner: str) -> int:
    """Return the index of a class by its name, spelled exactly or but for ``_'()``.

    Raises InputError with the nearest names of ``owner`` (a checkpoint, for the message) when it has none such.
    """
    index = match_class(name, class_names)
    if index is not None:
        return index
    lower_case = {known.lower(): known for known in class_names}
    nearest = difflib.get_close_matches(name.lower(), lower_case, n=3, cutoff=0.4)
    hint = (
        f"did you mean {' or '.join(repr(lower_case[match]) for match in nearest)}?"
        if nearest
        else f"it has {', '.join(class_names[:8])}{', ...' if len(class_names) > 8 else ''}"
    )
    raise InputError(f"class {name!r} is not among the {len(class_names)} classes of {owner}; {hint}")


def parse_class(text: str, class_names: Sequence[str], *, owner: str) -> str:
    """Return the class name that a user's ``text`` (a class name, or an index into ``class_names``) stands for.

    A class that is called like a number is found by its name. Raises InputError for an index out of range or an
    unknown name.
    """
    if text not in class_names and re.fullmatch(r"-?[0-9]+", text):
        index = int(text)
        if not 0 <= index < len(class_names):
            raise InputError(f"target {index} is out of range: {owner} has classes 0..{len(class_names) - 1}")
        return class_names[index]
    return class_names[find_class(text, class_names, owner=owner)]
