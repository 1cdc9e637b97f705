"""One HTML file to look at: clips of two models sorted by who is right, with players that move together."""

from videosoft.explain.page.content import OUTCOMES, PageClip, PageModel, sort_outcome
from videosoft.explain.page.statistics import PageStatistics, count_outcomes
from videosoft.explain.page.writing import PageWriter

__all__ = ["OUTCOMES", "PageClip", "PageModel", "PageStatistics", "PageWriter", "count_outcomes", "sort_outcome"]
