"""Several evaluations brought onto the videos that all of them have judged, and onto one list of classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videosoft.errors import InputError
from videosoft.evaluation.comparison.outcomes import TOP_K, Outcomes
from videosoft.source_videos import find_group

_NUM_EXAMPLES = 5


@dataclass(frozen=True)
class MatchedOutcomes:
    """R evaluations of the same N videos, labels and predictions by one list of classes.

    ``is_right`` is whether the prediction is the label, ``is_in_top5`` whether the label is among the five best scores
    (None where an evaluation has no scores, or there are at most five classes).  ``sources`` numbers the source videos.
    ``notes`` says what had to be assumed.
    """

    outcomes: tuple[Outcomes, ...]
    num_unmatched: tuple[int, ...]  # videos of each evaluation that some other one does not list
    num_failed: int  # listed by all, but not evaluated by some
    labels: npt.NDArray[np.int64]  # (N,)
    sources: npt.NDArray[np.int64]  # (N,)
    predictions: npt.NDArray[np.int64]  # (R, N)
    is_right: npt.NDArray[np.bool_]  # (R, N)
    is_in_top5: npt.NDArray[np.bool_] | None  # (R, N)
    class_names: tuple[str, ...] | None
    notes: tuple[str, ...]

    def get_class_name(self, label: int) -> str:
        """The class's name, or its number where nobody knows the name."""
        return self.class_names[label] if self.class_names is not None else f"class {label}"


def match_outcomes(outcomes: Sequence[Outcomes]) -> MatchedOutcomes:
    """Join by video id, or by place where no evaluation has ids; classes are matched by name where there are names.

    Raises:
        InputError: no common video, other classes, or another label for the same video.
    """
    notes: list[str] = []
    rows, num_unmatched = _join(outcomes, notes)
    class_names, orders = _match_classes(outcomes, notes)
    labels = np.stack([order[item.labels[row]] for item, row, order in zip(outcomes, rows, orders, strict=True)])
    _check_labels(outcomes, rows, labels, class_names)
    predictions = np.stack(
        [_renumber(item.predictions[row], order) for item, row, order in zip(outcomes, rows, orders, strict=True)]
    )
    is_evaluated = np.asarray((predictions >= 0).all(axis=0))
    if not is_evaluated.any():
        raise InputError(f"none of the {len(is_evaluated)} common videos was evaluated by all: nothing can be compared")
    sources = _number_sources(outcomes, rows, notes)
    ranks = [item.label_ranks[row] for item, row in zip(outcomes, rows, strict=True) if item.label_ranks is not None]
    num_classes = min((item.num_classes for item in outcomes if item.num_classes is not None), default=0)
    has_top5 = len(ranks) == len(outcomes) and num_classes > TOP_K
    _note_differences(outcomes, notes)
    return MatchedOutcomes(
        outcomes=tuple(outcomes),
        num_unmatched=num_unmatched,
        num_failed=int((~is_evaluated).sum()),
        labels=labels[0, is_evaluated],
        sources=sources[is_evaluated],
        predictions=predictions[:, is_evaluated],
        is_right=(predictions == labels)[:, is_evaluated],
        is_in_top5=(np.stack(ranks) < TOP_K)[:, is_evaluated] if has_top5 else None,
        class_names=class_names,
        notes=tuple(notes),
    )


def _join(outcomes: Sequence[Outcomes], notes: list[str]) -> tuple[list[npt.NDArray[np.int64]], tuple[int, ...]]:
    """The rows of each evaluation, in one order, and how many of its rows others do not list."""
    if all(item.video_ids is None for item in outcomes):
        lengths = [len(item.labels) for item in outcomes]
        if len(set(lengths)) > 1:
            raise InputError(
                f"without video ids the rows are told by their place, but there are {' and '.join(map(str, lengths))}: "
                "give the lists of videos by --list"
            )
        notes.append("no file has video ids: row i of one was taken for row i of the others")
        return [np.arange(lengths[0])] * len(outcomes), (0,) * len(outcomes)
    if nameless := [item.path for item in outcomes if item.video_ids is None]:
        raise InputError(f"{nameless[0]} has no video ids, others have: give the list of its videos by --list")
    places = [{video_id: row for row, video_id in enumerate(item.video_ids or ())} for item in outcomes]
    common = [video_id for video_id in places[0] if all(video_id in place for place in places[1:])]
    if not common:
        examples = " and ".join(
            f"{next(iter(place))!r} ({item.name})" for item, place in zip(outcomes, places, strict=True)
        )
        raise InputError(f"no video is in all of the files; their ids look like {examples}")
    rows = [np.array([place[video_id] for video_id in common], dtype=np.int64) for place in places]
    return rows, tuple(len(place) - len(common) for place in places)


def _match_classes(
    outcomes: Sequence[Outcomes], notes: list[str]
) -> tuple[tuple[str, ...] | None, list[npt.NDArray[np.int64]]]:
    """One list of names, and for each evaluation the number in it of each of its own classes."""
    complete = next((item for item in outcomes if item.class_names is not None and item.has_all_classes), None)
    reference = complete.class_names if complete is not None else _unite_names(outcomes, notes)
    orders = []
    for item in outcomes:
        num_classes = item.num_classes or 1 + int(max(item.labels.max(), item.predictions.max()))
        if item.class_names is None:
            if reference is not None:
                if num_classes > len(reference) or (item.num_classes or len(reference)) < len(reference):
                    raise InputError(f"{item.path} has {num_classes} classes, but others have {len(reference)}")
                notes.append(f"{item.name} has no class names: its numbers were taken for the classes of the others")
            orders.append(np.arange(num_classes))
            continue
        assert reference is not None
        numbers = {name: number for number, name in enumerate(reference)}
        is_known = set(item.class_names) <= set(reference)
        if complete is not None and (not is_known or (item.has_all_classes and len(item.class_names) < len(reference))):
            raise InputError(_describe_class_mismatch(complete, item))
        orders.append(np.array([numbers[name] for name in item.class_names], dtype=np.int64))
        if item.has_all_classes and item.class_names != reference:
            notes.append(f"{item.name} has the classes in another order than the first file: matched by name")
    return reference, orders


def _unite_names(outcomes: Sequence[Outcomes], notes: list[str]) -> tuple[str, ...] | None:
    names = sorted({name for item in outcomes for name in item.class_names or ()})
    if not names:
        return None
    notes.append("no file lists its classes: only those that occur are known")
    return tuple(names)


def _describe_class_mismatch(first: Outcomes, second: Outcomes) -> str:
    parts = []
    for one, other in ((first, second), (second, first)):
        if not other.has_all_classes:
            continue
        names = one.class_names or ()
        missing = sorted(set(names) - set(other.class_names or ()))
        if missing:
            shown = ", ".join(map(repr, missing[:_NUM_EXAMPLES])) + (", ..." if len(missing) > _NUM_EXAMPLES else "")
            parts.append(f"{len(missing)} of the {len(names)} classes of {one.path} are not in {other.path} ({shown})")
    return "; ".join(parts) + ": an answer among other classes is another task, and the two cannot be compared"


def _check_labels(
    outcomes: Sequence[Outcomes],
    rows: Sequence[npt.NDArray[np.int64]],
    labels: npt.NDArray[np.int64],
    class_names: tuple[str, ...] | None,
) -> None:
    for number in range(1, len(outcomes)):
        differing = np.flatnonzero(labels[number] != labels[0])
        if not len(differing):
            continue
        place = int(differing[0])
        first, other = (
            repr(class_names[label]) if class_names is not None else f"class {label}"
            for label in (labels[0, place], labels[number, place])
        )
        hint = ""
        if outcomes[number].class_names is None or outcomes[0].class_names is None:
            hint = "; if it is only the numbers of the classes that differ, give their names by --class_names"
        raise InputError(
            f"{outcomes[0].describe_video(int(rows[0][place]))} is {first} in {outcomes[0].path}, but {other} in "
            f"{outcomes[number].path}; so are {len(differing)} of the {labels.shape[1]} common videos{hint}"
        )


def _renumber(predictions: npt.NDArray[np.int64], order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.where(predictions >= 0, order[predictions], -1)


def _number_sources(
    outcomes: Sequence[Outcomes], rows: Sequence[npt.NDArray[np.int64]], notes: list[str]
) -> npt.NDArray[np.int64]:
    for item, row in zip(outcomes, rows, strict=True):
        if item.group_ids is not None:
            return _number([item.group_ids[place] for place in row])
    if outcomes[0].video_ids is None:
        notes.append("nobody tells which video a clip was cut from: every row was taken for a source of its own")
        return np.arange(len(rows[0]))
    notes.append("source videos were found by the names of the clips, as Kinetics and UCF-101 have them")
    return _number([find_group(outcomes[0].video_ids[place]) for place in rows[0]])


def _number(names: list[str]) -> npt.NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _note_differences(outcomes: Sequence[Outcomes], notes: list[str]) -> None:
    protocols = {item.protocol or "unknown" for item in outcomes}
    if len(protocols) > 1:
        notes.append(
            f"the views differ ({', '.join(sorted(protocols))}): a difference may come from them, not from the networks"
        )
    by_hash: dict[str, str] = {}
    for item in outcomes:
        if item.checkpoint_hash and by_hash.setdefault(item.checkpoint_hash, item.name) != item.name:
            notes.append(f"{by_hash[item.checkpoint_hash]} and {item.name} are evaluations of the same checkpoint")
