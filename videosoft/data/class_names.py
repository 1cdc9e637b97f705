"""Class names: checked, and matched between a list of videos and a checkpoint whose order or spelling differs."""

import difflib
import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from videosoft.data._names import quote
from videosoft.errors import InputError

_STRIPPED = str.maketrans({"_": " ", "'": None, "(": None, ")": None})


@dataclass(frozen=True)
class ClassMatch:
    """How the classes of a list map to those of a checkpoint.

    ``labels[i]`` is the checkpoint's label of the list's class i.  ``renamed`` has the list's names that are spelled
    otherwise in the checkpoint (list -> checkpoint), ``absent`` the checkpoint's names that the list does not have.
    """

    labels: tuple[int, ...]
    renamed: dict[str, str]
    absent: tuple[str, ...]


def normalize_class_name(name: str) -> str:
    """``massaging_persons_head`` and ``massaging person's head`` -> ``massaging persons head``.

    Accents become parts of their letters (NFC): folders that were copied from a Mac have them beside the letters.
    """
    return " ".join(unicodedata.normalize("NFC", name).translate(_STRIPPED).split())


def match_class_names(
    listed: Sequence[str], checkpoint: Sequence[str], *, where: Mapping[str, str] | None = None
) -> ClassMatch:
    """Find each listed class among the checkpoint's: by its name, else by its name without ``_'()``.

    The order does not matter, and the list may have fewer classes.  ``where`` says, for the message of an error, where
    a class is listed.

    Raises:
        InputError: a listed class is not in the checkpoint, fits several of its classes, or two fit the same one.
    """
    known = {name: label for label, name in enumerate(check_class_names(checkpoint))}
    spellings: dict[str, list[str]] = {}
    for name in known:
        spellings.setdefault(normalize_class_name(name), []).append(name)
    found: dict[str, str] = {}
    for name in check_class_names(listed):
        candidates = [name] if name in known else spellings.get(normalize_class_name(name), [])
        if len(candidates) != 1:
            place = f"{where[name]}: " if where else ""
            raise InputError(f"{place}{_describe_unknown(name, candidates, tuple(known))}")
        found[name] = candidates[0]
    times_taken = Counter(found.values())
    for taken, times in times_taken.items():
        if times > 1:
            both = ", ".join(quote(name) for name, target in found.items() if target == taken)
            raise InputError(f"the classes {both} are one class of the checkpoint: {quote(taken)}")
    return ClassMatch(
        labels=tuple(known[name] for name in found.values()),
        renamed={name: taken for name, taken in found.items() if name != taken},
        absent=tuple(name for name in known if name not in times_taken),
    )


def check_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple.

    Raises:
        InputError: there are none, or one comes twice.
    """
    names = tuple(class_names)
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if not names or repeated:
        raise InputError(f"class_names must be different names, at least one; repeated: {repeated or 'none given'}")
    return names


def _describe_unknown(name: str, candidates: list[str], known: tuple[str, ...]) -> str:
    if candidates:
        return f"label {quote(name)} fits several class names: {', '.join(map(quote, candidates))}"
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return (
        f"label {quote(name)} is not among the {len(known)} class names; "
        f"nearest: {', '.join(map(quote, nearest)) or 'none'}"
    )


def read_class_names(path: str | Path) -> tuple[str, ...]:
    """Names of classes in the order of the logits: a JSON list, a JSON mapping of names to indices, or lines of text.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"class names {path} cannot be read: {error}") from error
    if not str(path).endswith(".json"):
        return _check_list([line.strip() for line in text.splitlines() if line.strip()], path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"class names {path} are not JSON: {error}") from error
    if not isinstance(content, dict):
        return _check_list(content, path)
    # Something-Something writes the indices as strings.
    indices = [int(index) if str(index).isdecimal() else -1 for index in content.values()]
    if sorted(indices) != list(range(len(indices))):
        raise InputError(f"class names {path}: the indices must be 0 to {len(indices) - 1}, each once.")
    # pytorchvideo's list has quotes around the names of several words.
    names = dict(zip(indices, (name.strip('"') for name in content), strict=True))
    return _check_list([names[index] for index in range(len(names))], path)


def _check_list(names: object, path: str | Path) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"class names {path} must be a list of names, or a mapping of names to indices.")
    if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
        raise InputError(f"class names {path} must name each class once; repeated: {', '.join(map(quote, repeated))}.")
    return tuple(names)
