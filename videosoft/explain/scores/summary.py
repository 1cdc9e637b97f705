"""From the table of scores to what they say: medians, paired comparisons, the seed noise floor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from statsmodels.stats.multitest import multipletests

from videosoft.explain.scores.names import (
    BOX,
    CENTRE_PRIOR,
    EVEN_MAP,
    MOTION,
    RANDOM_MAP,
    name_at_grid,
    name_fresh_weights,
)
from videosoft.explain.scores.noise_floor import NoiseFloor, compute_noise_floor
from videosoft.explain.scores.paired import PairedComparison, compare_paired
from videosoft.explain.scores.table import Key, ScoreTable

__all__ = ["Comparison", "Distribution", "Summary", "find_correct", "list_subjects", "summarize"]

SIMILARITIES = ("rank_correlation", "top_iou")


@dataclass(frozen=True)
class Distribution:
    """One score over the clips where it is defined, ``n`` of them: median and quartiles (NaN when n is 0)."""

    key: Key
    n: int
    median: float
    lower_quartile: float
    upper_quartile: float


@dataclass(frozen=True)
class Comparison:
    """Two scores of the same clips; ``adjusted_p_value`` is Holm's over all comparisons of the summary."""

    first: Key
    second: Key
    result: PairedComparison
    adjusted_p_value: float | None


@dataclass(frozen=True)
class Summary:
    """What the clips of a table say; ``noise_floors`` by the similarity that they are measured in."""

    num_clips: int
    num_groups: int
    distributions: tuple[Distribution, ...]
    comparisons: tuple[Comparison, ...]
    noise_floors: dict[str, NoiseFloor]


def list_subjects(table: ScoreTable) -> list[str]:
    """Return the names of the trained networks in the table: A, A2, ..., B, B2, ..."""
    return [name for score, name, _ in table.columns if score == "probability"]


def find_correct(table: ScoreTable) -> npt.NDArray[np.bool_]:
    """Return which clips the first network of every variant predicts correctly, (N,)."""
    firsts = [name for name in list_subjects(table) if len(name) == 1]
    known = [table.columns[key] == 1 for name in firsts if (key := ("correct", name, "")) in table.columns]
    return np.logical_and.reduce(known) if known else np.zeros(len(table), dtype=bool)


def summarize(table: ScoreTable, is_chosen: npt.NDArray[np.bool_]) -> Summary:
    """Summarise the chosen clips, (N,).

    Comparisons are paired Wilcoxon tests (:func:`compare_paired`) with the source video as the unit: each map against
    what knows nothing of the network; A against B; A's map on B against B's own. All are adjusted together (Holm 1979).
    The noise floor is there when one variant has two checkpoints (:func:`compute_noise_floor`).
    """
    columns = {key: column[is_chosen] for key, column in table.columns.items()}
    groups = [group for group, chosen in zip(table.group_ids, is_chosen, strict=True) if chosen]
    subjects = list_subjects(table)
    results = [
        (first, second, compare_paired(columns[first], columns[second], groups))
        for first, second in _plan_comparisons([name for name in subjects if len(name) == 1])
        if first in columns and second in columns
    ]
    return Summary(
        num_clips=int(is_chosen.sum()),
        num_groups=len(set(groups)),
        distributions=tuple(_describe(key, column) for key, column in columns.items()),
        comparisons=tuple(
            Comparison(*result, adjusted)
            for result, adjusted in zip(results, _adjust([result.p_value for _, _, result in results]), strict=True)
        ),
        noise_floors=_compute_noise_floors(columns, subjects, groups) if groups else {},
    )


def _plan_comparisons(firsts: Sequence[str]) -> Iterator[tuple[Key, Key]]:
    for name in firsts:
        for reference in (
            EVEN_MAP,
            CENTRE_PRIOR,
            name_at_grid(CENTRE_PRIOR, name),
            name_fresh_weights(name),
        ):
            for score in ("energy_in_box", "pointing_game"):
                yield (score, name, BOX), (score, reference, BOX)
        for score in ("insertion", "deletion"):
            for reference in (RANDOM_MAP, CENTRE_PRIOR):
                yield (score, name, name), (score, reference, name)
    if len(firsts) == 2:
        first, second = firsts
        for score, against in (
            ("energy_in_box", BOX),
            ("pointing_game", BOX),
            ("effective_frames", ""),
            ("temporal_peak", ""),
            ("drift", ""),
            ("rank_correlation", MOTION),
            ("rank_correlation", CENTRE_PRIOR),
        ):
            yield (score, first, against), (score, second, against)
        for score in ("insertion", "deletion"):
            yield (score, first, first), (score, second, second)
            yield (score, first, second), (score, second, second)
            yield (score, second, first), (score, first, first)


def _describe(key: Key, column: npt.NDArray[np.float64]) -> Distribution:
    defined = column[~np.isnan(column)]
    if len(defined) == 0:
        return Distribution(key, 0, float("nan"), float("nan"), float("nan"))
    lower, median, upper = (float(value) for value in np.quantile(defined, [0.25, 0.5, 0.75]))
    return Distribution(key, len(defined), median, lower, upper)


def _adjust(p_values: Sequence[float | None]) -> list[float | None]:
    tested = [value for value in p_values if value is not None]
    adjusted = iter(multipletests(tested, method="holm")[1].tolist() if tested else [])
    return [None if value is None else next(adjusted) for value in p_values]


def _compute_noise_floors(
    columns: dict[Key, npt.NDArray[np.float64]], subjects: Sequence[str], groups: Sequence[str]
) -> dict[str, NoiseFloor]:
    variants = [name[0] for name in subjects]
    if len(set(variants)) < 2 or len(subjects) < 3:
        return {}
    floors = {}
    for score in SIMILARITIES:
        matrix = np.full((len(groups), len(subjects), len(subjects)), np.nan)
        for i, name in enumerate(subjects):
            for j, other in enumerate(subjects[i + 1 :], start=i + 1):
                matrix[:, i, j] = matrix[:, j, i] = columns[score, name, other]
        floors[score] = compute_noise_floor(matrix, variants, groups)
    return floors
