"""The summaries of a scoring as summary.json has them."""

import math
from typing import Any

from videosoft.explain.scores.seeds import SeedSummary
from videosoft.explain.scores.summary import Summary

__all__ = ["seeds_to_json", "summary_to_json"]


def summary_to_json(summary: Summary) -> dict[str, Any]:
    """Plain values; what is not defined is None."""
    return {
        "num_clips": summary.num_clips,
        "num_groups": summary.num_groups,
        "comparisons": [
            {
                "first": list(comparison.first),
                "second": list(comparison.second),
                **_without_nan(vars(comparison.result)),
                "adjusted_p_value": comparison.adjusted_p_value,
            }
            for comparison in summary.comparisons
        ],
        "noise_floors": {
            score: {
                **_without_nan(vars(floor.clips)),
                "permutation_p_value": floor.permutation_p_value,
                "num_permutations": floor.num_permutations,
            }
            for score, floor in summary.noise_floors.items()
        },
        "distributions": [
            {**_without_nan(vars(distribution)), "key": list(distribution.key)}
            for distribution in summary.distributions
        ],
    }


def seeds_to_json(seeds: SeedSummary) -> dict[str, Any]:
    """Plain values; what is not defined is None."""
    return {
        "checkpoints": [
            {
                "name": checkpoint.name,
                "num_correct": checkpoint.num_correct,
                "num_known": checkpoint.num_known,
                "energy_in_box": {name: _without_nan(vars(result)) for name, result in checkpoint.references.items()},
            }
            for checkpoint in seeds.checkpoints
        ],
        "contrasts": [{**vars(contrast), "values": _without_nan(contrast.values)} for contrast in seeds.contrasts],
    }


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """Return values as JSON knows them: not defined is null."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}
