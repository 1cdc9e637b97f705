"""Which class a user means, by what was written and each model's own list of class names."""

import difflib
import re
from collections.abc import Sequence

from videosoft.errors import InputError

__all__ = ["find_class", "parse_class"]


def find_class(name: str, class_names: Sequence[str], *, owner: str) -> int:
    """Return the index of a class by its name.

    Raises InputError with the nearest names of ``owner`` (a checkpoint, for the message) when it has none such.
    """
    if name in class_names:
        return list(class_names).index(name)
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
