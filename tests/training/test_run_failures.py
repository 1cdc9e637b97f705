"""A full disk, memory that does not suffice, workers that die: what the run says, and what is left of it."""

import errno
import re
import resource
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_runs import run_lightning
from test_scale import find_run, load_last, prepare_fit

from videosoft.training.checkpoints import AtomicCheckpointIO, find_damage
from videosoft.training.run_failures import explain_failure

DATA: Any = SimpleNamespace(batch_size=32, preprocessing=SimpleNamespace(num_frames=16, crop=112))

FAILURES = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), "batch_size 16 .*batches 4 "),
    (
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"),
        "a batch size of 32, clips",
    ),
    (MemoryError(), r"out of memory \(MemoryError\)"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "fewer --data.num_workers"),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."), "--shm-size"),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated."), "^SIGTERM, .* has ended one that"),
    (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
]


@pytest.mark.parametrize(("error", "message"), FAILURES)
def test_failures_are_explained(tmp_path: Path, error: Exception, message: str) -> None:
    explained = explain_failure(error, DATA, num_accumulated=2, run_dir=tmp_path / "run")
    assert explained is not None
    assert re.search(message, explained)
    assert explained.endswith("Nothing was saved yet.")
    AtomicCheckpointIO().save_checkpoint({}, tmp_path / "run" / "checkpoints" / "last.ckpt")
    explained = explain_failure(error, DATA, num_accumulated=2, run_dir=tmp_path / "run")
    assert explained is not None
    assert f"--ckpt_path {tmp_path / 'run'} goes on from" in explained


def test_an_evaluation_has_no_checkpoint_to_go_on_from() -> None:
    explained = explain_failure(torch.OutOfMemoryError("CUDA out of memory."), DATA)
    assert explained is not None
    assert explained.endswith("try one of 16: the results stay the same up to rounding.")
    explained = explain_failure(OSError(errno.ENOSPC, "No space left on device"), DATA)
    assert explained == "the disk is full ([Errno 28] No space left on device): free some space."


def test_other_errors_are_left_alone(tmp_path: Path) -> None:
    for error in (RuntimeError("shapes differ"), FileNotFoundError(errno.ENOENT, "missing")):
        assert explain_failure(error, DATA, num_accumulated=1, run_dir=tmp_path) is None


def test_a_full_disk_ends_the_run_and_leaves_its_last_checkpoint(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    callbacks = [{"class_path": "scale_probe.FillDisk", "init_args": {"step": 4}}]
    arguments = prepare_fit(config, tmp_path, callbacks=callbacks, checkpoint_every=2)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        assert run_lightning(monkeypatch, *arguments) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    printed = capsys.readouterr().err
    assert "File too large" in printed
    assert "Traceback" not in printed
    assert f"--ckpt_path {find_run(tmp_path)} goes on" in printed
    folder = find_run(tmp_path) / "checkpoints"
    assert {path.name: find_damage(path) for path in folder.iterdir()} == {
        "last.ckpt": None,
        "last-previous.ckpt": None,
    }
    assert load_last(tmp_path)["global_step"] == 4
