"""Did it help?  Evaluations of the same videos compared: paired tests, intervals, classes, sources, seeds."""

from videosoft.evaluation.comparison.comparing import Side, compare_sides
from videosoft.evaluation.comparison.files import write_comparison, write_report
from videosoft.evaluation.comparison.matching import MatchedOutcomes, match_outcomes
from videosoft.evaluation.comparison.outcomes import Outcomes, reduce_predictions
from videosoft.evaluation.comparison.paired_counts import PairedCounts, compute_tango_interval
from videosoft.evaluation.comparison.published_tables import judge_published_table, read_published_table
from videosoft.evaluation.comparison.reading import is_pickle, read_outcomes
from videosoft.evaluation.comparison.video_lists import VideoList, read_video_list
from videosoft.evaluation.comparison.wording import format_comparison, format_published_table

__all__ = [
    "MatchedOutcomes",
    "Outcomes",
    "PairedCounts",
    "Side",
    "VideoList",
    "compare_sides",
    "compute_tango_interval",
    "format_comparison",
    "format_published_table",
    "is_pickle",
    "judge_published_table",
    "match_outcomes",
    "read_outcomes",
    "read_published_table",
    "read_video_list",
    "reduce_predictions",
    "write_comparison",
    "write_report",
]
