"""Training and evaluation with Lightning."""

from videosoft.training.classifier import NetworkConfig, VideoClassifier
from videosoft.training.datamodule import KineticsDataModule
from videosoft.training.fully_sharded import FullyShardedStrategy
from videosoft.training.precise_norm import PreciseBatchNorm
from videosoft.training.schedules import ScheduleConfig

__all__ = [
    "FullyShardedStrategy",
    "KineticsDataModule",
    "NetworkConfig",
    "PreciseBatchNorm",
    "ScheduleConfig",
    "VideoClassifier",
]
