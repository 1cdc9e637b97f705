"""From logits to conclusions: views averaged, predictions kept, metrics, significance.  No Lightning here."""

from videosoft.evaluation.average import average_views
from videosoft.evaluation.calibration import Calibration, compute_calibration
from videosoft.evaluation.confusion import compute_confusion, list_confused_pairs, write_confusion
from videosoft.evaluation.mcnemar import McNemarResult, mcnemar_test
from videosoft.evaluation.metrics import compute_metrics, describe_repeated, format_metrics, write_metrics
from videosoft.evaluation.predictions import (
    PredictionTable,
    iterate_predictions,
    read_predictions,
    write_predictions,
)
from videosoft.evaluation.report import write_evaluation

__all__ = [
    "Calibration",
    "McNemarResult",
    "PredictionTable",
    "average_views",
    "compute_calibration",
    "compute_confusion",
    "compute_metrics",
    "describe_repeated",
    "format_metrics",
    "iterate_predictions",
    "list_confused_pairs",
    "mcnemar_test",
    "read_predictions",
    "write_confusion",
    "write_evaluation",
    "write_metrics",
    "write_predictions",
]
