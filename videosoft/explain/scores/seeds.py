"""Do all trainings of a variant say the same? Each checkpoint on its own; variants with the checkpoint as the unit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from videosoft.explain.scores.names import BOX, CENTRE_PRIOR, EVEN_MAP, MOTION, name_at_grid, name_fresh_weights
from videosoft.explain.scores.paired import PairedComparison, compare_paired
from videosoft.explain.scores.summary import list_subjects
from videosoft.explain.scores.table import ScoreTable

__all__ = ["REFERENCES", "CheckpointSummary", "SeedContrast", "SeedSummary", "summarize_seeds"]

REFERENCES = ("even map", "centre prior", "centre prior at its grid", "fresh weights")
"""What a checkpoint's energy in the true box is held against."""

_CONTRASTED = (
    ("probability", ""),
    ("energy_in_box", BOX),
    ("pointing_game", BOX),
    ("effective_frames", ""),
    ("temporal_peak", ""),
    ("drift", ""),
    ("rank_correlation", MOTION),
    ("rank_correlation", CENTRE_PRIOR),
)


@dataclass(frozen=True)
class CheckpointSummary:
    """One checkpoint: how many clips it gets right, and on these its energy in the true box against each reference.

    ``num_known`` clips have a label that is one of its classes. ``references`` has what was scored of REFERENCES.
    """

    name: str
    num_correct: int
    num_known: int
    references: dict[str, PairedComparison]


@dataclass(frozen=True)
class SeedContrast:
    """One score, by checkpoint: the share of clips that are right, or the median over the clips it gets right itself.

    ``values`` is NaN where the score is not defined; ``p_value`` is None then, and unless there are two variants with
    two checkpoints each.
    """

    score: str
    against: str
    values: dict[str, float]
    p_value: float | None


@dataclass(frozen=True)
class SeedSummary:
    """What :func:`summarize_seeds` finds."""

    checkpoints: tuple[CheckpointSummary, ...]
    contrasts: tuple[SeedContrast, ...]


def summarize_seeds(table: ScoreTable) -> SeedSummary:
    """Summarise the checkpoints of the table (A, A2, ..., B, B2, ...) one by one.

    Comparisons are those of :func:`compare_paired` over source videos. Fresh weights do not depend on what they replace
    (:func:`randomize_weights`, where every module can draw anew), so those of a variant's first checkpoint serve all.
    The p-value of a contrast is the exact permutation test's: the share of all ways to give out the variants' names in
    which their means over checkpoints differ by as much (two-sided; the least possible with four a side is 2/70, with
    three 2/20).
    """
    subjects = list_subjects(table)
    return SeedSummary(
        checkpoints=tuple(_summarize_checkpoint(table, name) for name in subjects),
        contrasts=tuple(
            _contrast(table, subjects, score, against)
            for score, against in (("correct", ""), *_CONTRASTED)
            if all((score, name, against) in table.columns for name in subjects)
        ),
    )


def _summarize_checkpoint(table: ScoreTable, name: str) -> CheckpointSummary:
    correct = table.columns["correct", name, ""]
    is_correct = correct == 1
    groups = [group for group, correct in zip(table.group_ids, is_correct, strict=True) if correct]
    variant = name[0]
    maps = (EVEN_MAP, CENTRE_PRIOR, name_at_grid(CENTRE_PRIOR, variant), name_fresh_weights(variant))
    energy = table.columns.get(("energy_in_box", name, BOX))
    references = {}
    for reference, map_name in zip(REFERENCES, maps, strict=True):
        other = table.columns.get(("energy_in_box", map_name, BOX))
        if energy is not None and other is not None:
            references[reference] = compare_paired(energy[is_correct], other[is_correct], groups)
    return CheckpointSummary(name, int(is_correct.sum()), int((~np.isnan(correct)).sum()), references)


def _contrast(table: ScoreTable, subjects: Sequence[str], score: str, against: str) -> SeedContrast:
    values = {}
    for name in subjects:
        correct = table.columns["correct", name, ""]
        if score == "correct":
            values[name] = float(np.nanmean(correct))
            continue
        column = table.columns[score, name, against][correct == 1]
        defined = column[~np.isnan(column)]
        values[name] = float(np.median(defined)) if len(defined) else float("nan")
    return SeedContrast(score, against, values, _permute_checkpoints(values))


def _permute_checkpoints(values: dict[str, float]) -> float | None:
    variants = sorted({name[0] for name in values})
    samples = [[value for name, value in values.items() if name[0] == variant] for variant in variants]
    if len(samples) != 2 or min(map(len, samples)) < 2 or np.isnan(list(values.values())).any():
        return None
    result = stats.permutation_test(samples, _subtract_means, vectorized=True, n_resamples=np.inf)
    return float(result.pvalue)


def _subtract_means(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], axis: int
) -> npt.NDArray[np.float64]:
    return np.asarray(first.mean(axis=axis) - second.mean(axis=axis))
