"""A logger that fails must not end a training of days."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_info

Picture = npt.NDArray[np.uint8]  # (H, W, 3)


class TolerantLogger(Logger):
    """For the bases of a logger: a failure after its start is a warning, and the logger gets nothing more.

    What cannot be written from the start is the user's error (an :class:`InputError` of ``experiment``).
    """

    _has_failed = False

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._attempt(super().log_metrics, metrics, step)  # type: ignore[safe-super]

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._attempt(super().log_hyperparams, params, *args, **kwargs)  # type: ignore[safe-super]

    def save(self) -> None:
        self._attempt(super().save)

    def finalize(self, status: str) -> None:
        self._attempt(super().finalize, status)

    @abstractmethod
    def log_picture(self, key: str, picture: Picture, step: int) -> None:
        """Show a picture, uint8 (H, W, 3)."""

    @abstractmethod
    def log_stills(
        self, key: str, stills: Sequence[Picture], captions: Sequence[str], sheet: Picture, step: int
    ) -> None:
        """Show pictures with a line of text each; or ``sheet``, which has them all, where pictures have no text."""

    def _attempt(self, action: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        if self._has_failed:
            return
        try:
            action(*args, **kwargs)
        except Exception as error:  # of the logger's library, its service, the network, the disk
            self._has_failed = True
            rank_zero_info(
                f"warning: {type(self).__name__} cannot log any more ({error!r}); the run goes on without it."
            )
