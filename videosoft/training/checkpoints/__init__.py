"""A run's checkpoint files: written whole or not at all, found again, the last ones and the best one kept."""

from videosoft.training.checkpoints.atomic_io import AtomicCheckpointIO, save_checkpoint
from videosoft.training.checkpoints.best import BestCheckpoint
from videosoft.training.checkpoints.finding import find_damage, find_newest_checkpoint, resolve_checkpoint
from videosoft.training.checkpoints.interruption import SaveOnSignal
from videosoft.training.checkpoints.last import LastCheckpoint
from videosoft.training.checkpoints.names import CHECKPOINTS_FOLDER

__all__ = [
    "CHECKPOINTS_FOLDER",
    "AtomicCheckpointIO",
    "BestCheckpoint",
    "LastCheckpoint",
    "SaveOnSignal",
    "find_damage",
    "find_newest_checkpoint",
    "resolve_checkpoint",
    "save_checkpoint",
]
