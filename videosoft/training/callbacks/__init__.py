"""What a run reports besides its metrics, one callback a file."""

from videosoft.training.callbacks.clip_rate import ClipRate
from videosoft.training.callbacks.confusion_log import ConfusionLog
from videosoft.training.callbacks.failure_log import FailureLog
from videosoft.training.callbacks.gpu_memory import GpuMemory
from videosoft.training.callbacks.gradient_norm import GradientNorm
from videosoft.training.callbacks.hard_clips import HardClips
from videosoft.training.callbacks.network_summary import NetworkSummary
from videosoft.training.callbacks.nonfinite_guard import NonFiniteGuard, NonFinitePolicy
from videosoft.training.callbacks.prediction_writer import PredictionWriter
from videosoft.training.callbacks.progress_bar import TrainingProgressBar
from videosoft.training.callbacks.recipe_card_writer import RecipeCardWriter
from videosoft.training.callbacks.step_seed import StepSeed

__all__ = [
    "ClipRate",
    "ConfusionLog",
    "FailureLog",
    "GpuMemory",
    "GradientNorm",
    "HardClips",
    "NetworkSummary",
    "NonFiniteGuard",
    "NonFinitePolicy",
    "PredictionWriter",
    "RecipeCardWriter",
    "StepSeed",
    "TrainingProgressBar",
]
