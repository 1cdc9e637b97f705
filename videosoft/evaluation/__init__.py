"""From logits to conclusions: views averaged, predictions kept, metrics, significance.  No Lightning here."""

from videosoft.evaluation.average import average_views
from videosoft.evaluation.mcnemar import McNemarResult, mcnemar_test
from videosoft.evaluation.metrics import compute_metrics, format_metrics, write_metrics
from videosoft.evaluation.predictions import PredictionTable, read_predictions, write_predictions

__all__ = [
    "McNemarResult",
    "PredictionTable",
    "average_views",
    "compute_metrics",
    "format_metrics",
    "mcnemar_test",
    "read_predictions",
    "write_metrics",
    "write_predictions",
]
