"""What ends a run though its input is right, in words that say what to do: memory, disk, workers, SIGTERM."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
import torch

from videosoft.errors import InputError, first_line
from videosoft.training.checkpoints import find_newest_checkpoint
from videosoft.training.datamodule import KineticsDataModule

_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "Cannot allocate memory")
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def failures_as_input_errors(trainer: L.Trainer, data: KineticsDataModule, *, run_dir: Path | None) -> Iterator[None]:
    """While a trainer runs: what :func:`explain_failure` knows of.

    Raises:
        InputError: with its message.
    """
    try:
        yield
    except (RuntimeError, OSError, MemoryError) as error:
        message = explain_failure(error, data, num_accumulated=trainer.accumulate_grad_batches, run_dir=run_dir)
        if message is None:
            raise
        raise InputError(message) from error


def explain_failure(
    error: BaseException, data: KineticsDataModule, *, num_accumulated: int = 1, run_dir: Path | None = None
) -> str | None:
    """A message for an error of this kind; None for any other error.

    Args:
        error: what ended the run.
        data: what it read.
        num_accumulated: batches of a training step.
        run_dir: of a training, whose checkpoints one may go on from; None for what trains nothing.
    """
    text = str(error).strip()
    summary = first_line(error)
    if isinstance(error, OSError) and error.errno in _FULL_DISK:
        message = f"the disk is full ({summary}): free some space"
    elif isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in text for word in _MEMORY_WORDS):
        size, half = data.preprocessing, max(1, data.batch_size // 2)
        message = (
            f"out of memory ({summary[:200]}) with a batch size of {data.batch_size}, clips of {size.num_frames} x "
            f"{size.crop} x {size.crop}: "
        )
        if run_dir is None:
            return f"{message}try one of {half}: the results stay the same up to rounding."
        message += (
            f"try --data.batch_size {half} with --trainer.accumulate_grad_batches {2 * num_accumulated} (the same step "
            "in halves; batch norm sees fewer clips at once), on a GPU --trainer.precision bf16-mixed, or fewer "
            "frames; `lightning doctor` says what fits"
        )
    elif "DataLoader worker" in text and "signal: Terminated" in text:
        message = "SIGTERM, as a scheduler sends it to all processes of a job, has ended one that loads videos"
    elif "DataLoader worker" in text:
        message = (
            f"a process that loads videos has died ({summary[:200]}), most often for want of main memory or of "
            "shared memory (/dev/shm; docker run --shm-size): try fewer --data.num_workers or a smaller "
            "--data.batch_size"
        )
    else:
        return None
    if run_dir is None:
        return f"{message}."
    checkpoint = find_newest_checkpoint(run_dir) if run_dir.is_dir() else None
    return f"{message}. " + (
        f"--ckpt_path {run_dir} goes on from {checkpoint}." if checkpoint else "Nothing was saved yet."
    )
