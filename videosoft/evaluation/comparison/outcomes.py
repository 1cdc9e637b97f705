"""What one evaluation says of each video, without its scores: all that a comparison needs."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from videosoft.errors import InputError
from videosoft.evaluation.predictions import PredictionTable
from videosoft.evaluation.ranking import rank_labels

TOP_K = 5


@dataclass(frozen=True)
class Outcomes:
    """One row a listed video; small whatever the number of classes, since scores are reduced when they are read.

    Attributes:
        name: what the report calls it.
        path: the file that it was read from.
        kind: what kind of file that is.
        video_ids: (M,) ids; None where the file has none, and rows are told by their place.
        group_ids: (M,) source videos; None where nobody tells.
        labels: (M,).
        predictions: (M,); -1 where the video was not evaluated.
        label_ranks: (M,) places of the labels among the scores, from 0, -1 where not evaluated; None without scores.
        class_names: names in the order of the labels; None where the file has only numbers.
        has_all_classes: False where ``class_names`` are only those that occur.
        num_classes: K; None where the file does not tell.
        failures: how many videos were not evaluated, by reason.
        checkpoint_hash: SHA-256 of the checkpoint; empty where unknown.
        protocol: clips x crops; empty where unknown.

    Raises:
        InputError: an id comes twice, there is no video, or a label or prediction is not one of the classes.
    """

    name: str
    path: str
    kind: str
    video_ids: list[str] | None
    group_ids: list[str] | None
    labels: npt.NDArray[np.int64]
    predictions: npt.NDArray[np.int64]
    label_ranks: npt.NDArray[np.int64] | None
    class_names: tuple[str, ...] | None
    num_classes: int | None
    has_all_classes: bool = True
    failures: dict[str, int] = field(default_factory=dict)
    checkpoint_hash: str = ""
    protocol: str = ""

    def __post_init__(self) -> None:
        if not len(self.labels):
            raise InputError(f"{self.path} has no video")
        if self.video_ids is not None and len(set(self.video_ids)) != len(self.video_ids):
            video_id, count = Counter(self.video_ids).most_common(1)[0]
            raise InputError(f"{self.path}: video {video_id!r} has {count} rows; each video may have one")
        most = self.num_classes if self.num_classes is not None else np.inf
        for word, values, least in (("label", self.labels, 0), ("prediction", self.predictions, -1)):
            wrong = np.flatnonzero((values < least) | (values >= most))
            if len(wrong):
                raise InputError(
                    f"{self.path}: {self.describe_video(int(wrong[0]))} has the {word} {values[wrong[0]]}, "
                    f"which is not one of the {most} classes (counted from 0)"
                )

    @property
    def is_evaluated(self) -> npt.NDArray[np.bool_]:
        """Which videos have a prediction: (M,)."""
        return self.predictions >= 0

    def describe_video(self, row: int) -> str:
        """A video as messages name it."""
        return f"video {self.video_ids[row]!r}" if self.video_ids is not None else f"row {row + 1}"


def reduce_predictions(tables: Iterable[PredictionTable], *, name: str, path: str) -> Outcomes:
    """Keep of a predictions table, which may come in parts, what a comparison needs.

    Raises:
        InputError: no part, or a video with two rows.
    """
    columns: dict[str, list[str]] = {"video_id": [], "group_id": [], "status": []}
    labels: list[npt.NDArray[np.int64]] = []
    predictions: list[npt.NDArray[np.int64]] = []
    label_ranks: list[npt.NDArray[np.int64]] = []
    last: PredictionTable | None = None
    for table in tables:
        is_evaluated = table.is_evaluated()
        for column, values in columns.items():
            values += table.rows[column].to_pylist()
        labels.append(table.rows["label"].to_numpy().astype(np.int64))
        for parts, found in (
            (predictions, table.rows["prediction"].drop_null().to_numpy()),
            (label_ranks, rank_labels(table.stack_vectors("probabilities"), labels[-1][is_evaluated])),
        ):
            parts.append(np.full(len(is_evaluated), -1, dtype=np.int64))
            parts[-1][is_evaluated] = found
        last = table
    if last is None:
        raise InputError(f"{path} has no video")
    statuses = Counter(columns["status"])
    return Outcomes(
        name=name,
        path=path,
        kind="videosoft predictions",
        video_ids=columns["video_id"],
        group_ids=columns["group_id"],
        labels=np.concatenate(labels),
        predictions=np.concatenate(predictions),
        label_ranks=np.concatenate(label_ranks),
        class_names=last.class_names,
        num_classes=len(last.class_names),
        failures={status: count for status, count in sorted(statuses.items()) if status != "ok"},
        checkpoint_hash=last.checkpoint_hash,
        protocol=last.protocol,
    )
