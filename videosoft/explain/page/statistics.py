"""The figures at the top of a page: how often each model is right, and whether the two differ."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from videosoft.evaluation import McNemarResult, mcnemar_test

__all__ = ["PageStatistics", "count_outcomes"]


@dataclass(frozen=True)
class PageStatistics:
    """How many videos fell into each group of ``OUTCOMES``; ``scope`` says which videos these are."""

    scope: str
    counts: dict[str, int]

    @property
    def num_labelled(self) -> int:
        """Videos whose true class is known."""
        return sum(count for outcome, count in self.counts.items() if outcome != "unlabelled")

    @property
    def accuracies(self) -> tuple[float, ...] | None:
        """Share of the labelled videos that each model gets right; None without any."""
        if not self.num_labelled:
            return None
        if "both_right" not in self.counts:
            return (self.counts["right"] / self.num_labelled,)
        both = self.counts["both_right"]
        return tuple((both + self.counts[only]) / self.num_labelled for only in ("only_a", "only_b"))

    def test_difference(self) -> McNemarResult | None:
        """McNemar's test of the two models on the labelled videos; None for one model, or without labels."""
        if "only_a" not in self.counts or not self.num_labelled:
            return None
        return mcnemar_test(self.counts["only_a"], self.counts["only_b"])


def count_outcomes(outcomes: Iterable[str], known: Iterable[str], *, scope: str) -> PageStatistics:
    """Count outcomes into the groups that ``known`` names, those with none among them."""
    counts = Counter(outcomes)
    return PageStatistics(scope, {outcome: counts[outcome] for outcome in known})
