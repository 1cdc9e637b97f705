"""What MMAction2 and SlowFast leave of a test: pickles, with a row for each video in the order of the test's list.

- MMAction2 1.x, ``tools/test.py --dump x.pkl``: a list of dicts with ``pred_score`` (K,) and ``gt_label`` (1,), in 1.0
  ``pred_scores: {item}`` and ``gt_labels: {item}``.  If the pipeline packed one of ``video_id``, ``filename`` and
  ``frame_dir`` (``meta_keys``), it gives the id.
- MMAction2 0.x, ``tools/test.py --out x.pkl``: a list of score arrays (K,), without labels.
- SlowFast, ``TEST.SAVE_RESULTS_PATH x.pkl``: [scores (N, K), labels (N,)], scores being sums of softmax over the views.

Sources: mmengine/evaluator/metric.py (DumpResults) and mmaction/evaluation/metrics/acc_metric.py of OpenMMLab,
tools/test_net.py and slowfast/utils/meters.py of SlowFast.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from videosoft.errors import InputError
from videosoft.evaluation.comparison.outcomes import Outcomes
from videosoft.evaluation.comparison.restricted_pickle import load_restricted_pickle, read_array
from videosoft.evaluation.comparison.score_reduction import reduce_scores
from videosoft.evaluation.comparison.video_lists import VideoList, find_video_id

_ID_KEYS = ("video_id", "filename", "frame_dir")
_ROWS_AT_ONCE = 1024


def read_dump(
    path: str | Path, *, name: str, video_list: VideoList | None, class_names: tuple[str, ...] | None
) -> Outcomes:
    """Read a pickle of MMAction2 or SlowFast.

    Args:
        path: the file.
        name: what the report calls it.
        video_list: the list of the test, for the ids, and for the labels of MMAction2 0.x.
        class_names: names in the order of the labels.

    Raises:
        InputError: not such a pickle, one that asks for more than numbers, or one that contradicts the list.
    """
    results = _interpret(load_restricted_pickle(path), path)
    labels, video_ids = results.labels, results.video_ids
    if video_list is not None:
        _check_list(video_list, results, path)
        labels, video_ids = video_list.labels, video_list.video_ids
    if labels is None:
        raise InputError(f"{path} has scores only, no labels: give the list of its videos by --list")
    num_classes = results.blocks[0].shape[1]
    if class_names is not None and len(class_names) != num_classes:
        raise InputError(f"{path} has scores for {num_classes} classes, --class_names names {len(class_names)}")
    predictions, label_ranks = _reduce_blocks(results.blocks, labels, path)
    # SlowFast leaves zeros where it could not read a video.
    is_untested = np.concatenate([~block.any(axis=1) for block in results.blocks])
    predictions[is_untested] = label_ranks[is_untested] = -1
    return Outcomes(
        name=name,
        path=str(path),
        kind=results.kind,
        video_ids=video_ids,
        group_ids=None,
        labels=labels,
        predictions=predictions,
        label_ranks=label_ranks,
        class_names=class_names,
        num_classes=num_classes,
        failures={"all scores zero": int(is_untested.sum())} if is_untested.any() else {},
    )


@dataclass(frozen=True)
class _Results:
    kind: str
    video_ids: list[str] | None
    labels: npt.NDArray[np.int64] | None
    blocks: list[npt.NDArray[np.floating]]  # of (n, K), N rows in all

    @property
    def num_videos(self) -> int:
        return sum(map(len, self.blocks))


def _interpret(content: Any, path: str | Path) -> _Results:
    if not isinstance(content, list | tuple) or not content:
        raise InputError(f"{path} holds {_describe(content)}, not a list of results")
    if isinstance(content[0], Mapping):
        labels = np.array([_read_label(row, path, number) for number, row in enumerate(content)], dtype=np.int64)
        return _Results("MMAction2 dump", _find_ids(content), labels, _read_scores(content, path))
    scores = _try_array(content[0], path)
    if len(content) == 2 and scores is not None and scores.ndim == 2 and scores.size:
        return _Results("SlowFast results", None, _read_labels(content[1], len(scores), path), [scores])
    return _Results("MMAction2 0.x results", None, None, _read_scores(content, path))


def _reduce_blocks(
    blocks: Sequence[npt.NDArray[np.floating]], labels: npt.NDArray[np.int64], path: str | Path
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    predictions, label_ranks, start = [], [], 0
    for block in blocks:
        reduced = reduce_scores(block, labels[start : start + len(block)], where=str(path), first_row=start)
        predictions.append(reduced[0])
        label_ranks.append(reduced[1])
        start += len(block)
    return np.concatenate(predictions), np.concatenate(label_ranks)


def _read_scores(rows: Sequence[Any], path: str | Path) -> list[npt.NDArray[np.floating]]:
    """Scores of one video each, in blocks (n, K)."""
    blocks: list[npt.NDArray[np.floating]] = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = []
        for number, row in enumerate(rows[start : start + _ROWS_AT_ONCE], start=start):
            value = _get_item(row, ("pred_score", "pred_scores")) if isinstance(row, Mapping) else row
            scores = _try_array(value, path)
            if scores is None or scores.ndim != 1 or not len(scores):
                raise InputError(
                    f"{path}: row {number + 1} has no scores (K,) of one video, but {_describe(value)}"
                    + ("; the scores of several networks are one file each" if isinstance(value, Mapping) else "")
                )
            block.append(scores)
        if len({len(scores) for scores in (*block, *(blocks[0][:1] if blocks else ()))}) > 1:
            raise InputError(f"{path}: the numbers of scores differ from video to video")
        blocks.append(np.stack(block))
    return blocks


def _read_label(row: Any, path: str | Path, number: int) -> int:
    value = _get_item(row, ("gt_label", "gt_labels")) if isinstance(row, Mapping) else None
    label = _try_array(value, path)
    if label is None or label.size != 1 or label.dtype.kind not in "iu":
        raise InputError(f"{path}: row {number + 1} has no single label (gt_label), but {_describe(value)}")
    return int(label.item())


def _read_labels(value: Any, num_rows: int, path: str | Path) -> npt.NDArray[np.int64]:
    labels = _try_array(value, path)
    if labels is None or labels.shape != (num_rows,) or labels.dtype.kind not in "iu":
        raise InputError(f"{path}: expected {num_rows} labels beside as many rows of scores, got {_describe(value)}")
    return labels.astype(np.int64)


def _get_item(row: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    value = next((row[key] for key in keys if key in row), None)
    return value["item"] if isinstance(value, Mapping) and "item" in value else value


def _find_ids(rows: Sequence[Any]) -> list[str] | None:
    for key in _ID_KEYS:
        if all(isinstance(row, Mapping) and isinstance(row.get(key), str) for row in rows):
            return [find_video_id(row[key]) for row in rows]
    return None


def _check_list(video_list: VideoList, results: _Results, path: str | Path) -> None:
    if len(video_list.labels) != results.num_videos:
        raise InputError(
            f"the list {video_list.path} has {len(video_list.labels)} videos, {path} {results.num_videos}: "
            "not the list of this test"
        )
    if results.labels is not None and (results.labels != video_list.labels).any():
        row = int(np.flatnonzero(results.labels != video_list.labels)[0])
        raise InputError(
            f"{path} has the label {results.labels[row]} for video {row + 1}, the list {video_list.path} "
            f"{video_list.labels[row]}: not the list of this test, or not in its order"
        )


def _try_array(value: Any, path: str | Path) -> npt.NDArray[Any] | None:
    try:
        return read_array(value)
    except InputError as error:
        raise InputError(f"{path} holds {error}") from None


def _describe(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dict of {', '.join(repr(key)[:40] for key in list(value)[:5]) or 'nothing'}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    try:
        array = read_array(value)
    except InputError as error:
        return str(error)
    return "nothing" if value is None else f"an array of shape {array.shape}" if array is not None else "something else"
