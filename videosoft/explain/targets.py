"""What a map explains: the logit of a class, or the difference of two classes' logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from videosoft.errors import InputError

__all__ = [
    "ClassAgainstItselfError",
    "ClassScore",
    "Target",
    "create_score_weights",
    "resolve_targets",
    "score_logits",
]


class ClassAgainstItselfError(InputError):
    """A class is to be told apart from itself; ``clips`` are the numbers of the clips in their batch."""

    def __init__(self, message: str, clips: Sequence[int]) -> None:
        super().__init__(message)
        self.clips = tuple(clips)


@dataclass(frozen=True)
class Target:
    """What a user wants to have explained, before the network has run.

    ``index`` is a class, None the network's own prediction. With ``versus``, a class or "runner_up" (the class with
    the highest logit beside ``index``), the map tells the two apart: why this and not that.
    """

    index: int | None = None
    versus: int | Literal["runner_up"] | None = None


@dataclass(frozen=True)
class ClassScore:
    """The score logits[index], or logits[index] - logits[versus]."""

    index: int
    versus: int | None = None


def resolve_targets(logits: Tensor, targets: Sequence[Target] | None) -> list[ClassScore]:
    """Return the score of each clip, its classes known: logits is (N, K), None stands for N predictions.

    Raises InputError for another number of targets than clips and for a class out of range, and its subclass
    ClassAgainstItselfError where ``versus`` is the class itself, such as that of a prediction.
    """
    num_clips, num_classes = logits.shape
    if targets is None:
        targets = [Target()] * num_clips
    if len(targets) != num_clips:
        raise InputError(f"targets must hold one target a clip: got {len(targets)} for {num_clips} clips")
    scores = []
    for clip_logits, target in zip(logits.detach(), targets, strict=True):
        index = int(clip_logits.argmax()) if target.index is None else target.index
        _check_class(index, num_classes)
        versus = target.versus
        if versus == "runner_up":
            if num_classes < 2:
                raise InputError("a runner-up needs two classes, and the network has one")
            others = clip_logits.clone()
            others[index] = -torch.inf
            versus = int(others.argmax())
        if versus is not None:
            _check_class(versus, num_classes)
        scores.append(ClassScore(index, versus))
    if clips := [number for number, score in enumerate(scores) if score.index == score.versus]:
        index = scores[clips[0]].index
        raise ClassAgainstItselfError(
            f"class {index} against itself has a score of 0: name another class to compare with", clips
        )
    return scores


def score_logits(logits: Tensor, scores: Sequence[ClassScore]) -> Tensor:
    """Return the scores (N,) of logits (N, K), with their graph."""
    return (logits * create_score_weights(scores, logits.shape[1]).to(logits)).sum(dim=1)


def create_score_weights(scores: Sequence[ClassScore], num_classes: int) -> Tensor:
    """Return weights (N, K), 1 for the class and -1 for ``versus``: the score is sum_k weight_k * logit_k."""
    weights = torch.zeros(len(scores), num_classes)
    for row, score in enumerate(scores):
        weights[row, score.index] = 1.0
        if score.versus is not None:
            weights[row, score.versus] = -1.0
    return weights


def _check_class(index: int, num_classes: int) -> None:
    if not 0 <= index < num_classes:
        raise InputError(f"target {index} is out of range: the network has classes 0..{num_classes - 1}")
