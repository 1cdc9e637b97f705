"""Starting a training from somebody's weights, as a recipe says it."""

import json
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from videosoft.errors import InputError
from videosoft.models import HeadPolicy, Inflation, PretrainedReport, load_pretrained


def start_from_pretrained(
    network: nn.Module,
    path: str,
    *,
    class_names: Sequence[str],
    head: HeadPolicy,
    classes: str | None,
    partial: bool,
    inflation: Inflation,
    check_only: bool = False,
) -> PretrainedReport:
    """:func:`videosoft.models.load_pretrained`, with the keys of a recipe in its messages.

    Raises:
        InputError: the weights do not fit, or ``classes`` is no file of names.
    """
    try:
        return load_pretrained(
            network,
            path,
            head=head,
            class_names=class_names,
            source_class_names=None if classes is None else read_class_names(classes),
            allow_partial=partial,
            inflation=inflation,
            check_only=check_only,
        )
    except InputError as error:
        raise InputError(
            f"model.network.pretrained: {error}\n(In a recipe head is model.network.pretrained_head, allow_partial "
            "pretrained_partial, and source_class_names the file pretrained_classes.)"
        ) from error


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
        return _check_names([line.strip() for line in text.splitlines() if line.strip()], path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"class names {path} are not JSON: {error}") from error
    if not isinstance(content, dict):
        return _check_names(content, path)
    # Something-Something writes the indices as strings.
    indices = [int(index) if str(index).isdecimal() else -1 for index in content.values()]
    if sorted(indices) != list(range(len(indices))):
        raise InputError(f"class names {path}: the indices must be 0 to {len(indices) - 1}, each once.")
    # pytorchvideo's list has quotes around the names of several words.
    names = dict(zip(indices, (name.strip('"') for name in content), strict=True))
    return _check_names([names[index] for index in range(len(names))], path)


def _check_names(names: object, path: str | Path) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"class names {path} must be a list of names, or a mapping of names to indices.")
    return tuple(names)
