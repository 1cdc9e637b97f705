"""Checkpoint files: whole or not at all, the one before kept, damage seen, the right one found."""

import math
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from videosoft.errors import InputError
from videosoft.training.checkpoints import AtomicCheckpointIO, BestCheckpoint, find_damage, resolve_checkpoint


def write(path: Path, value: float, num_values: int = 10_000) -> Path:
    AtomicCheckpointIO().save_checkpoint({"value": value, "weights": torch.full((num_values,), value)}, path)
    return path


def read(path: Path) -> float:
    return torch.load(path, weights_only=True)["value"]


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Writing beyond so many bytes of a file fails, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("has_hard_links", [True, False])
def test_the_last_one_but_one_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_hard_links: bool) -> None:
    if not has_hard_links:

        def refuse(*paths: Path) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "link", refuse)
    for value in range(4):
        write(tmp_path / "last.ckpt", value)
        write(tmp_path / "best.ckpt", value)
    assert {path.name: read(path) for path in tmp_path.iterdir()} == {
        "best.ckpt": 3,
        "last.ckpt": 3,
        "last-previous.ckpt": 2,
    }


def test_a_full_disk_leaves_the_older_files_as_they_were(tmp_path: Path) -> None:
    for value in range(2):
        write(tmp_path / "last.ckpt", value)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with largest_file(20_000), pytest.raises(InputError, match=r"cannot write .*last\.ckpt: File too large"):
        write(tmp_path / "last.ckpt", 2)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = [(cut_off, "it was cut off"), (empty, "it was cut off"), (change_a_byte, "its bytes have changed")]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_damage_is_seen_and_the_one_before_is_named_or_taken(
    tmp_path: Path, damage: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs" / "version_0"
    last, previous = run / "checkpoints" / "last.ckpt", run / "checkpoints" / "last-previous.ckpt"
    for value in range(2):
        assert find_damage(write(last, value)) is None
    damage(last)
    with pytest.raises(InputError, match=f"last.ckpt is damaged: {message}.* {previous}, written before it, is whole"):
        resolve_checkpoint(last, runs_dir=tmp_path, to_go_on=True)
    assert resolve_checkpoint(run, runs_dir=tmp_path, to_go_on=True) == previous
    damage(previous)
    with pytest.raises(InputError, match="No other checkpoint lies beside it"):
        resolve_checkpoint(last, runs_dir=tmp_path, to_go_on=True)
    with pytest.raises(InputError, match="holds no whole checkpoint"):
        resolve_checkpoint(run, runs_dir=tmp_path, to_go_on=True)


def test_last_is_that_of_the_newest_run_that_has_one(tmp_path: Path) -> None:
    assert resolve_checkpoint("last", runs_dir=tmp_path, to_go_on=True) is None
    with pytest.raises(InputError, match="has a whole checkpoint"):
        resolve_checkpoint("last", runs_dir=tmp_path, to_go_on=False)
    paths = []
    for age, run in ((30, "version_10"), (20, "version_2"), (10, "version_3")):
        paths.append(write(tmp_path / run / "checkpoints" / "last.ckpt", age))
        now = paths[-1].stat().st_mtime
        os.utime(paths[-1], (now - age, now - age))
    (tmp_path / "version_4" / "checkpoints").mkdir(parents=True)
    assert resolve_checkpoint("last", runs_dir=tmp_path, to_go_on=True) == paths[2]
    cut_off(paths[2])
    assert resolve_checkpoint("last", runs_dir=tmp_path, to_go_on=True) == paths[1]


def test_evaluation_takes_the_best_of_a_run(tmp_path: Path) -> None:
    last = write(tmp_path / "checkpoints" / "last.ckpt", 1)
    assert resolve_checkpoint(tmp_path, runs_dir=tmp_path, to_go_on=False) == last
    best = write(tmp_path / "checkpoints" / "best.ckpt", 0)
    assert resolve_checkpoint(tmp_path, runs_dir=tmp_path, to_go_on=False) == best
    assert resolve_checkpoint(tmp_path, runs_dir=tmp_path, to_go_on=True) == last


class FakeTrainer(SimpleNamespace):
    """As much of a Trainer as a checkpoint callback asks for."""

    def __init__(self, callback: BestCheckpoint, global_step: int = 0) -> None:
        super().__init__(
            state=SimpleNamespace(fn=TrainerFn.FITTING),
            sanity_checking=False,
            is_global_zero=True,
            strategy=SimpleNamespace(broadcast=lambda value: value),
            callback=callback,
            global_step=global_step,
            callback_metrics={},
        )

    def save_checkpoint(self, path: Path, weights_only: bool) -> None:
        callbacks = {self.callback.state_key: self.callback.state_dict()}
        AtomicCheckpointIO().save_checkpoint({"global_step": self.global_step, "callbacks": callbacks}, path)

    def validate(self, score: float) -> None:
        self.global_step += 1
        self.callback_metrics = {"val/1x1_top1": torch.tensor(score)}
        self.callback.on_validation_end(self, None)  # type: ignore[arg-type]


def find_step(folder: Path) -> int:
    return torch.load(folder / "best.ckpt", weights_only=True)["global_step"]


# Each row: accuracies of the validations after steps 1, 2, ...; the steps that best.ckpt holds after each of them.
SCORES = [
    ([0.2, 0.5, 0.5, 0.4, 0.6], [1, 2, 2, 2, 5]),
    ([math.nan, math.nan, 0.0, math.nan], [1, 1, 3, 3]),
]


@pytest.mark.parametrize(("scores", "steps"), SCORES)
def test_the_best_is_kept_over_runs(tmp_path: Path, scores: list[float], steps: list[int]) -> None:
    """However often the training is interrupted: here after each validation."""
    resumed = None
    for index, score in enumerate(scores):
        folder = tmp_path / f"run{index}"
        callback = BestCheckpoint(folder, resumed=resumed)
        trainer = FakeTrainer(callback, global_step=index)
        callback.on_train_start(trainer, None)  # type: ignore[arg-type]
        trainer.validate(score)
        assert find_step(folder) == steps[index]
        resumed = folder / "last.ckpt"


def test_a_best_of_later_steps_does_not_count(tmp_path: Path) -> None:
    callback = BestCheckpoint(tmp_path / "first")
    FakeTrainer(callback, global_step=7).validate(0.9)
    other = BestCheckpoint(tmp_path / "second", resumed=tmp_path / "first" / "last-previous.ckpt")
    trainer = FakeTrainer(other, global_step=4)
    other.on_train_start(trainer, None)  # type: ignore[arg-type]
    trainer.validate(0.3)
    assert find_step(tmp_path / "second") == 5


@pytest.mark.parametrize("content", [None, {"global_step": 1}, {"global_step": 1, "callbacks": {"BestCheckpoint": 3}}])
def test_a_best_that_says_nothing_does_not_count(tmp_path: Path, content: dict[str, Any] | None) -> None:
    earlier = tmp_path / "first" / "best.ckpt"
    earlier.parent.mkdir()
    if content is None:
        earlier.write_text("not a checkpoint")
    else:
        torch.save(content, earlier)
    callback = BestCheckpoint(tmp_path / "second", resumed=earlier.with_name("last.ckpt"))
    trainer = FakeTrainer(callback, global_step=4)
    callback.on_train_start(trainer, None)  # type: ignore[arg-type]
    trainer.validate(0.0)
    assert find_step(tmp_path / "second") == 5
