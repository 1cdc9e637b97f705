"""What the processes of one run do together, and what only the first of them does."""

from collections.abc import Callable
from typing import Any, TypeVar

import lightning as L
import torch.distributed

from videosoft.errors import InputError

_Result = TypeVar("_Result")


def gather_rows(trainer: L.Trainer, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bring the rows of all processes to the first one, in the order of the processes; the others get an empty list."""
    if trainer.world_size == 1:
        return rows
    gathered: list[Any] | None = [None] * trainer.world_size if trainer.is_global_zero else None
    torch.distributed.gather_object(rows, gathered)
    return [row for part in gathered or () for row in part]


def run_on_first(trainer: L.Trainer, work: Callable[[], _Result]) -> _Result | None:
    """Do something in the first process only, while the others wait for it; they get None.

    Raises:
        InputError: ``work`` did, in the first process.
        SystemExit: it did, in the others: nobody waits for a process that has given up.
    """
    result: _Result | None = None
    error: InputError | None = None
    if trainer.is_global_zero:
        try:
            result = work()
        except InputError as raised:
            error = raised
    has_failed = trainer.strategy.broadcast(error is not None)
    if error is not None:
        raise error
    if has_failed:
        raise SystemExit(2)
    return result
