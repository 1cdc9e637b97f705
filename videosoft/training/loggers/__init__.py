"""Where the numbers and pictures of a run go: metrics.csv always, Weights & Biases and TensorBoard beside it."""

from videosoft.training.loggers.creation import WandbChoice, create_csv_logger, create_loggers
from videosoft.training.loggers.metrics_csv import MetricsCsvLogger
from videosoft.training.loggers.tolerant import TolerantLogger

__all__ = ["MetricsCsvLogger", "TolerantLogger", "WandbChoice", "create_csv_logger", "create_loggers"]
