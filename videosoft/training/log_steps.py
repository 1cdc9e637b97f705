"""When a callback should measure what is logged."""

import lightning as L


def is_logged(trainer: L.Trainer, num_steps: int) -> bool:
    """Whether what is logged reaches the loggers after so many steps of the optimizer, by ``log_every_n_steps``."""
    interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set without a declaration
    return interval > 0 and num_steps % interval == 0
