"""A classifier's rows from a file, put where the network has the same classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from videosoft.errors import InputError

HeadPolicy = Literal["strict", "by_name", "fresh"]


@dataclass(frozen=True)
class MatchedHead:
    """Tensors of the classifier in the network's order (those of the file, where there is none), and what was done."""

    description: str
    rows: dict[str, Tensor] = field(default_factory=dict)


def match_head_rows(
    head: HeadPolicy,
    there: Mapping[str, Tensor],
    here: Mapping[str, Tensor],
    source_class_names: Sequence[str] | None,
    class_names: Sequence[str] | None,
    *,
    path: str,
) -> MatchedHead:
    """Order the rows of a file's classifier as the network has its classes.

    Args:
        head: see :func:`videosoft.models.load_pretrained`.
        there: the classifier's tensors in the file, by the network's names; a row a class.
        here: those of the network.
        source_class_names: of the file's rows, if they are known.
        class_names: of the network's rows, if they are known.
        path: of the file, for messages.

    Raises:
        InputError: the classes differ in a way that ``head`` does not allow, or the names do not fit the rows.
    """
    if head not in get_args(HeadPolicy):
        raise InputError(f"head={head!r}: must be one of {', '.join(map(repr, get_args(HeadPolicy)))}.")
    if head == "fresh":
        return MatchedHead("the classifier is fresh")
    for names, owner, tensors in ((source_class_names, path, there), (class_names, "the network", here)):
        if names is not None:
            _check_names(names, owner, tensors)
    if source_class_names is None or class_names is None:
        if head == "by_name":
            give = f"source_class_names, {path} carries none" if source_class_names is None else "class_names"
            raise InputError(f"head='by_name' needs the names of both classifiers: give {give}.")
        return MatchedHead("the classifier is taken as it is, its classes unnamed")
    known = {name: row for row, name in enumerate(source_class_names)}
    common = [(row, known[name]) for row, name in enumerate(class_names) if name in known]
    absent = [name for name in class_names if name not in known]
    if head == "strict" and (absent or len(source_class_names) != len(class_names)):
        raise InputError(
            f"{path} has {len(source_class_names)} classes, the network {len(class_names)}, {len(common)} of them the "
            f"same{f' (not in the file: {absent[0]!r})' if absent else ''}: head='by_name' takes the rows of these, "
            "head='fresh' none."
        )
    if not common:
        raise InputError(f"none of the network's classes is one of {path}'s: take head='fresh'.")
    rows = {
        key: _place_rows(tensor, here[key], common)
        for key, tensor in there.items()
        if tensor.shape[1:] == here[key].shape[1:]  # another width is an error of its own
    }
    if absent:
        return MatchedHead(
            f"the classifier has {len(common)} rows by name, {len(absent)} fresh (first: {absent[0]})", rows
        )
    moved = "" if all(row == other for row, other in common) else ", its rows put into the network's order"
    return MatchedHead(f"the classifier is of the same classes{moved}", rows)


def _place_rows(there: Tensor, here: Tensor, common: Sequence[tuple[int, int]]) -> Tensor:
    placed = torch.empty(here.shape, dtype=here.dtype) if here.is_meta else here.detach().cpu().clone()
    placed[[row for row, _ in common]] = there[[row for _, row in common]].to(placed.dtype)
    return placed


def _check_names(names: Sequence[str], owner: str, tensors: Mapping[str, Tensor]) -> None:
    if len(set(names)) < len(names):
        raise InputError(f"the class names of {owner} are not all different.")
    for tensor in tensors.values():
        if tensor.shape[:1] != (len(names),):
            raise InputError(
                f"{len(names)} class names are given for {owner}, whose classifier has the shape {tuple(tensor.shape)}."
            )
