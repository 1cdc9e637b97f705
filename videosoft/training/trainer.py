"""Lightning's Trainer, whose limits mean in a config what they say there."""

from typing import Any

import lightning as L
from jsonargparse.typing import ClosedUnitInterval


class Trainer(L.Trainer):
    """Lightning's Trainer with limits that a config can say: 1 is one batch, 1.0 is all of them.

    Lightning's own type is ``Union[int, float, None]``. Python keeps unions, and takes those that differ in their order
    alone for one: where something in the process had ``Union[float, int, None]`` first, the parser makes 1.0 of 1.

    Args:
        limit_train_batches: batches of an epoch to train on, as a number (1) or as a share (1.0); null: all.
        limit_val_batches: batches to validate on.
        limit_test_batches: batches to test on.
        limit_predict_batches: batches to predict.
    """

    def __init__(
        self,
        *,
        limit_train_batches: int | ClosedUnitInterval | None = None,
        limit_val_batches: int | ClosedUnitInterval | None = None,
        limit_test_batches: int | ClosedUnitInterval | None = None,
        limit_predict_batches: int | ClosedUnitInterval | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            limit_train_batches=limit_train_batches,
            limit_val_batches=limit_val_batches,
            limit_test_batches=limit_test_batches,
            limit_predict_batches=limit_predict_batches,
            **kwargs,
        )
