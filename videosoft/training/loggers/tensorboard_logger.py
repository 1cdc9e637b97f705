"""TensorBoard's event files."""

from collections.abc import Sequence
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import TensorBoardLogger

from videosoft.errors import InputError
from videosoft.training.loggers.tolerant import Picture, TolerantLogger


class RunTensorBoardLogger(TolerantLogger, TensorBoardLogger):
    """TensorBoard's events of a run.

    Raises:
        InputError: from ``experiment``, which is the start, when they cannot be written.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        try:
            return super().experiment
        except OSError as error:
            raise InputError(f"TensorBoard cannot log to {self.log_dir}: {error.strerror or error}") from error

    def log_picture(self, key: str, picture: Picture, step: int) -> None:
        self._attempt(lambda: self.experiment.add_image(key, picture, step, dataformats="HWC"))

    def log_stills(
        self, key: str, stills: Sequence[Picture], captions: Sequence[str], sheet: Picture, step: int
    ) -> None:
        self.log_picture(key, sheet, step)
