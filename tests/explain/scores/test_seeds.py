"""Checkpoints one by one, and variants with the checkpoint as the unit."""

import itertools

import numpy as np
import pytest
from scipy import stats

from videosoft.explain.scores.seeds import REFERENCES, summarize_seeds
from videosoft.explain.scores.table import Score, ScoreTable

NAMES = ("A", "A2", "A3", "B", "B2", "B3")
ENERGIES = {"A": 0.60, "A2": 0.55, "A3": 0.50, "B": 0.40, "B2": 0.45, "B3": 0.35}
MAPS_OF_NOBODY = {"even map": 0.25, "centre prior": 0.48, "centre prior at A's grid": 0.3, "A, fresh weights": 0.2}
NUM_CLIPS = 24


def plant_table(energies: dict[str, float]) -> ScoreTable:
    """Checkpoint number i gets every (i + 2)th clip wrong, with no energy in the box; the first clip has no label."""
    noise = np.random.default_rng(0).normal(0, 0.01, NUM_CLIPS)
    scores = []
    for number in range(NUM_CLIPS):
        clip = [Score("energy_in_box", name, "true box", value) for name, value in MAPS_OF_NOBODY.items()]
        for place, name in enumerate(energies):
            is_right = number % (place + 2) != 0
            clip += [
                Score("correct", name, "", float("nan") if number == 0 else float(is_right)),
                Score("probability", name, "", 0.9),
                Score("energy_in_box", name, "true box", energies[name] + noise[number] if is_right else 0.0),
            ]
        scores.append(clip)
    return ScoreTable([(f"v{number}", f"g{number // 2}", "x") for number in range(NUM_CLIPS)], scores)


def test_each_checkpoint_is_judged_on_its_own_correct_clips() -> None:
    table = plant_table(ENERGIES)
    summary = summarize_seeds(table)
    assert [checkpoint.name for checkpoint in summary.checkpoints] == list(NAMES)
    for place, checkpoint in enumerate(summary.checkpoints):
        right = [number for number in range(NUM_CLIPS) if number % (place + 2) != 0]
        assert (checkpoint.num_correct, checkpoint.num_known) == (len(right), NUM_CLIPS - 1)
        # B was scored without a grid of its own and without fresh weights.
        assert set(checkpoint.references) == set(REFERENCES if place < 3 else REFERENCES[:2])
        by_source: dict[int, list[float]] = {}
        for number in right:
            by_source.setdefault(number // 2, []).append(
                float(table.columns["energy_in_box", checkpoint.name, "true box"][number])
            )
        differences = [np.mean(values) - 0.48 for values in by_source.values()]
        result = checkpoint.references["centre prior"]
        assert result.n == len(by_source)
        assert result.median_difference == pytest.approx(np.median(differences))
        assert result.p_value == pytest.approx(stats.wilcoxon(differences).pvalue)


@pytest.mark.parametrize(
    ("names", "p_value"),
    [
        (NAMES, 2 / 20),  # every A above every B: the least that three a side can give
        (("A", "A2", "B", "B2"), 2 / 6),
        (("A", "A2", "A3", "B"), None),
        (("A", "A2"), None),
    ],
)
def test_variants_are_told_apart_as_far_as_the_seeds_allow(names: tuple[str, ...], p_value: float | None) -> None:
    energies = {name: ENERGIES[name] for name in names}
    contrasts = {contrast.score: contrast for contrast in summarize_seeds(plant_table(energies)).contrasts}
    assert set(contrasts) == {"correct", "probability", "energy_in_box"}  # what the table has
    assert contrasts["energy_in_box"].p_value == (None if p_value is None else pytest.approx(p_value))
    assert contrasts["energy_in_box"].values == pytest.approx(energies, abs=0.01)
    assert contrasts["correct"].values["A"] == pytest.approx(12 / 23)


def test_p_over_checkpoints_counts_all_ways() -> None:
    energies = dict(zip(NAMES, (0.60, 0.41, 0.50, 0.40, 0.55, 0.35), strict=True))
    contrasts = {contrast.score: contrast for contrast in summarize_seeds(plant_table(energies)).contrasts}
    values = np.array(list(contrasts["energy_in_box"].values.values()))
    gaps = [
        abs(values[list(chosen)].mean() - np.delete(values, chosen).mean())
        for chosen in itertools.combinations(range(6), 3)
    ]
    assert contrasts["energy_in_box"].p_value == pytest.approx(np.mean(np.array(gaps) >= gaps[0] - 1e-12))


def test_what_is_not_defined_is_not_tested() -> None:
    contrasts = {
        contrast.score: contrast for contrast in summarize_seeds(plant_table({**ENERGIES, "B3": np.nan})).contrasts
    }
    assert np.isnan(contrasts["energy_in_box"].values["B3"])
    assert contrasts["energy_in_box"].p_value is None
    assert contrasts["probability"].p_value == 1
