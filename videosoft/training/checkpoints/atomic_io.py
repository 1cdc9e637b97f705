"""Writing a checkpoint so that at any moment, whatever dies, a whole one is there."""

import contextlib
import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from videosoft.atomic_files import replace_when_done
from videosoft.errors import InputError
from videosoft.training.checkpoints.names import LAST_NAME, PREVIOUS_NAME


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the place, has the bytes reach the disk, and only then lets them take the place of an older file.

    An older ``last.ckpt`` stays as ``last-previous.ckpt``. Lightning's own way goes through the system's folder for
    temporary files and does not wait for the disk: a power cut or a full disk can leave half a file.

    Raises:
        InputError: the file cannot be written, because the disk is full for instance; older files are untouched.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replace_when_done(path) as temporary_path:
                with temporary_path.open("wb") as file:
                    _save_to_file(checkpoint, file)
                    file.flush()
                    os.fsync(file.fileno())
                if path.name == LAST_NAME and path.exists():
                    _keep_under_other_name(path, path.with_name(PREVIOUS_NAME))
            _wait_for_folder(path.parent)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}. {_untouched(path)}") from error
        except InputError as error:
            raise InputError(f"{error}. {_untouched(path)}") from error


def save_checkpoint(trainer: L.Trainer, path: Path) -> None:
    """Write a checkpoint, in all processes of the run at once; an error of the writing one ends them all.

    Raises:
        InputError: in the process that writes: it could not.
        SystemExit: in the others, then.
    """
    failure: InputError | None = None
    try:
        trainer.save_checkpoint(path, weights_only=False)
    except InputError as error:
        failure = error
        trainer.strategy.barrier("Trainer.save_checkpoint")  # where the others wait
    has_failed = trainer.strategy.broadcast(failure is not None)
    if failure is not None:
        raise failure
    if has_failed:
        raise SystemExit(2)


def _untouched(path: Path) -> str:
    return f"Earlier checkpoints are as they were: --ckpt_path {path.parent.parent} goes on from the last one."


def _save_to_file(checkpoint: dict[str, Any], file: Any) -> None:
    try:
        torch.save(checkpoint, file)
    except RuntimeError as error:
        # torch's writer covers up what the file said by a complaint of its own.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__context__
        if cause is None:
            raise
        raise cause from error


def _keep_under_other_name(path: Path, other: Path) -> None:
    """Let ``other`` be the file at ``path``, which stays there as well where the file system has hard links."""
    link = other.with_name(f".link-{os.getpid()}-{other.name}")
    try:
        os.link(path, link)
    except OSError:
        path.replace(other)
        return
    try:
        link.replace(other)
    finally:
        with contextlib.suppress(OSError):  # gone, unless the line above failed
            link.unlink()


def _wait_for_folder(folder: Path) -> None:
    """Have the folder's new names reach the disk, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
