"""What a run reports besides its metrics, one callback a file."""

from videosoft.training.callbacks.clip_rate import ClipRate
from videosoft.training.callbacks.failure_log import FailureLog
from videosoft.training.callbacks.prediction_writer import PredictionWriter

__all__ = ["ClipRate", "FailureLog", "PredictionWriter"]
