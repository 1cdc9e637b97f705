"""Who is right about which video, from the predictions of a whole evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from videosoft.errors import InputError
from videosoft.evaluation.comparison import match_outcomes, read_outcomes
from videosoft.explain.page.content import OUTCOMES
from videosoft.explain.page.statistics import PageStatistics, count_outcomes

__all__ = ["JudgedVideos", "judge_predictions"]


@dataclass(frozen=True)
class JudgedVideos:
    """True class names by video id, and how often each model is right about all videos that both have judged."""

    labels: Mapping[str, str]
    statistics: PageStatistics


def judge_predictions(paths: Sequence[Path], num_models: int) -> JudgedVideos:
    """Read one file of predictions a model, whatever evaluated it, and join them by video.

    Raises:
        InputError: as many files as models are wanted; a file is wrong, or they have no video in common.
    """
    if len(paths) != num_models:
        raise InputError(f"the page shows {num_models} model(s): give as many --predictions, got {len(paths)}")
    outcomes = [read_outcomes(path, name=letter) for path, letter in zip(paths, "AB", strict=False)]
    matched = match_outcomes(outcomes)
    names = list(OUTCOMES[num_models])
    if num_models == 1:
        places = np.where(matched.is_right[0], names.index("right"), names.index("wrong"))
    else:
        by_answers = ["both_wrong", "only_b", "only_a", "both_right"]  # by 2 * A is right + B is right
        places = np.array([names.index(name) for name in by_answers])[2 * matched.is_right[0] + matched.is_right[1]]
    first = outcomes[0]
    labels: dict[str, str] = {}
    if first.video_ids is not None and first.class_names is not None:
        labels = {
            video_id: first.class_names[label] for video_id, label in zip(first.video_ids, first.labels, strict=True)
        }
    statistics = count_outcomes((names[place] for place in places), names, scope="evaluated videos")
    return JudgedVideos(labels, statistics)
