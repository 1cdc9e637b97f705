"""Which checkpoint to go on with: a file that is named, a run's newest whole one, or that of the newest run."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from videosoft.errors import InputError
from videosoft.training.checkpoints.names import BEST_NAME, CHECKPOINTS_FOLDER, LAST_NAME, PREVIOUS_NAME

NEWEST_RUN = "last"

_TO_GO_ON_WITH = (LAST_NAME, PREVIOUS_NAME)
_TO_EVALUATE = (BEST_NAME, LAST_NAME, PREVIOUS_NAME)


def find_damage(path: Path) -> str | None:
    """What is wrong with a file of ``torch.save``, in words; None if it is whole.

    Every byte is read: torch itself notices a file that was cut off, but not one with wrong bytes in the middle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except zipfile.BadZipFile:
        return "it was cut off, or is no checkpoint at all"
    except Exception as error:  # a damaged archive fails in any way there is
        return f"it cannot be read ({str(error) or type(error).__name__})"
    return f"its bytes have changed since it was written (in {wrong})" if wrong is not None else None


def find_newest_checkpoint(run_dir: Path, names: Sequence[str] = _TO_GO_ON_WITH) -> Path | None:
    """The first of ``names`` in a run's folder that is whole; damaged ones are named."""
    for folder in (run_dir / CHECKPOINTS_FOLDER, run_dir):
        for path in (folder / name for name in names):
            if not path.is_file():
                continue
            if (damage := find_damage(path)) is None:
                return path
            rank_zero_info(f"{path} is left out: {damage}")
    return None


def resolve_checkpoint(named: str | Path, *, runs_dir: Path, to_go_on: bool) -> Path | None:
    """The file that ``--ckpt_path`` means.

    Args:
        named: a file, a run's folder, or ``last`` for the newest run that has a checkpoint.
        runs_dir: folder of the runs of this name, for ``last``.
        to_go_on: whether the training is to go on, rather than its best network to be evaluated.

    Returns:
        None for ``last`` when the training is to go on and there is nothing to go on with: a script that is started
        again and again says the same each time.

    Raises:
        InputError: there is no such checkpoint, or none that is whole; the message names the one before.
    """
    names = _TO_GO_ON_WITH if to_go_on else _TO_EVALUATE
    path = Path(named)
    if str(named) == NEWEST_RUN and not path.exists():
        for run_dir in _sort_runs(runs_dir):
            if (found := find_newest_checkpoint(run_dir, names)) is not None:
                rank_zero_info(f"the last checkpoint of {runs_dir}: {found}")
                return found
        if to_go_on:
            rank_zero_info(f"{runs_dir} has no checkpoint yet: the training begins")
            return None
        raise InputError(f"--ckpt_path {NEWEST_RUN}: no run in {runs_dir} has a whole checkpoint.")
    if path.is_dir():
        if (found := find_newest_checkpoint(path, names)) is None:
            raise InputError(f"{path} holds no whole checkpoint ({', '.join(names)}).")
        rank_zero_info(f"the checkpoint of {path}: {found}")
        return found
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist or is not a file.")
    # Weights without a training are in other formats, too, which whoever reads them checks.
    if (damage := find_damage(path) if path.suffix == ".ckpt" else None) is not None:
        others = [other for other in (path.with_name(name) for name in names) if other != path and other.is_file()]
        whole = next((other for other in others if find_damage(other) is None), None)
        advice = (
            f"{whole}, written before it, is whole: pass that one." if whole else "No other checkpoint lies beside it."
        )
        raise InputError(f"checkpoint {path} is damaged: {damage}. {advice}")
    return path


def _sort_runs(runs_dir: Path) -> list[Path]:
    """Folders of runs that have a checkpoint, by the time of their newest one, the newest first."""
    times = {}
    for folder in runs_dir.glob(f"*/{CHECKPOINTS_FOLDER}"):
        if written := [path.stat().st_mtime for path in folder.glob("*.ckpt")]:
            times[folder.parent] = max(written)
    return sorted(times, key=lambda folder: times[folder], reverse=True)
