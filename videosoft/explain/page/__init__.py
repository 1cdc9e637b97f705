"""One HTML file to look at: clips of one model, or of two side by side, sorted by who is right."""

from videosoft.explain.page.content import OUTCOMES, PageClip, PageModel, sort_outcome
from videosoft.explain.page.export_clips import describe_models, iterate_clips, list_shown_videos
from videosoft.explain.page.judged_videos import JudgedVideos, judge_predictions
from videosoft.explain.page.statistics import PageStatistics, count_outcomes
from videosoft.explain.page.writing import PageWriter

__all__ = [
    "OUTCOMES",
    "JudgedVideos",
    "PageClip",
    "PageModel",
    "PageStatistics",
    "PageWriter",
    "count_outcomes",
    "describe_models",
    "iterate_clips",
    "judge_predictions",
    "list_shown_videos",
    "sort_outcome",
]
