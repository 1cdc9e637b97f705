"""What a page shows: models, and clips with what each model said of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videosoft.errors import InputError

__all__ = ["CAUTIONS", "OUTCOMES", "PageClip", "PageModel", "sort_outcome"]

OUTCOMES = {
    1: {"right": "right", "wrong": "wrong", "unlabelled": "no label"},
    2: {
        "both_right": "both right",
        "only_a": "only A right",
        "only_b": "only B right",
        "both_wrong": "both wrong",
        "unlabelled": "no label",
    },
}
"""The groups of a page, by its number of models, with the words for them."""

CAUTIONS = {
    1: "A map shows where this model finds evidence for the target class, not what it would be right to look at: a "
    "training with another seed may look elsewhere.",
    2: "A difference between two models is not yet an effect of what distinguishes them: two trainings with different "
    "seeds differ as well.",
}
"""What the reader of a page must bear in mind, by its number of models."""


@dataclass(frozen=True)
class PageModel:
    """A model of the page: ``title`` as the figures call it, ``lines`` of small print (file, hash, layer)."""

    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class PageClip:
    """One clip and the models' maps of it.

    ``frames`` is uint8 (T, H, W, 3); ``tubes`` holds a signed float32 (T, H, W) for each model, in ``unit`` ("logits");
    ``predictions`` each model's class name with its probability, ``target`` the class that the maps are about,
    ``label`` the true class or None where nobody knows it. ``fps`` is the rate at which the frames are to be shown.

    Raises:
        InputError: shapes that do not belong together, a map with NaN or infinity, a rate that is not positive.
    """

    video_id: str
    label: str | None
    target: str
    predictions: tuple[tuple[str, float], ...]
    frames: npt.NDArray[np.uint8]
    tubes: tuple[npt.NDArray[np.float32], ...]
    fps: float
    unit: str = "logits"
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or self.frames.dtype != np.uint8 or not self.frames.size:
            raise InputError(
                f"clip {self.video_id!r}: frames must be uint8 (T, H, W, 3), got {self.frames.dtype} "
                f"{self.frames.shape}"
            )
        if len(self.predictions) != len(self.tubes) or len(self.tubes) not in OUTCOMES:
            raise InputError(
                f"clip {self.video_id!r}: one or two models, with a map and a prediction each; got "
                f"{len(self.tubes)} maps and {len(self.predictions)} predictions"
            )
        for tube in self.tubes:
            if tube.shape != self.frames.shape[:3]:
                raise InputError(
                    f"clip {self.video_id!r}: a map of {tube.shape} does not fit frames of {self.frames.shape[:3]}"
                )
            if not np.isfinite(tube).all():
                raise InputError(f"clip {self.video_id!r}: a map holds NaN or infinity")
        if not 0 < self.fps < float("inf"):
            raise InputError(f"clip {self.video_id!r}: fps must be positive, got {self.fps}")


def sort_outcome(label: str | None, predicted: Sequence[str]) -> str:
    """The group of :data:`OUTCOMES` that a clip belongs to, by its label and each model's predicted class."""
    if label is None:
        return "unlabelled"
    if len(predicted) == 1:
        return "right" if predicted[0] == label else "wrong"
    a_is_right, b_is_right = (name == label for name in predicted)
    if a_is_right and b_is_right:
        return "both_right"
    if a_is_right or b_is_right:
        return "only_a" if a_is_right else "only_b"
    return "both_wrong"
