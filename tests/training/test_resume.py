"""End a training anywhere, resume it, and see it go on exactly: the same videos, draws and weights, bit by bit."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import yaml
from lightning_runs import run_lightning

NUM_VIDEOS, NUM_EPOCHS, STEPS_PER_EPOCH, CHECKPOINT_EVERY = 17, 3, 4, 2

# How it ends -> what sends which signal where; exit code; steps that the last checkpoint holds.
ENDS: dict[str, tuple[dict[str, Any], int, int]] = {
    "killed in an epoch": (
        {"number": signal.SIGKILL, "hook": "on_train_batch_start", "step": 7},
        -signal.SIGKILL,
        6,
    ),
    "killed in a validation": (
        {"number": signal.SIGKILL, "hook": "on_validation_start", "step": 8},
        -signal.SIGKILL,
        8,
    ),
    "terminated with its workers": (
        {"number": signal.SIGTERM, "hook": "on_train_batch_start", "step": 6, "to_group": True},
        128 + signal.SIGTERM,
        7,
    ),
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    rows = [["label", "youtube_id", "time_start", "time_end", "split"]]
    for index in range(NUM_VIDEOS):
        label = ("odd", "even")[index % 2]
        path = root / "train" / label / f"video{index}_000000_000001.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            # x264's mb-tree reads beyond frames that small: one file in a hundred would differ.
            stream = container.add_stream("libx264", rate=25, options={"x264-params": "mbtree=0"})
            stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv420p"
            for _ in range(12):
                image = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        rows.append([label, f"video{index}", "0", "1", "train"])
    with (root / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    """As many threads as the other processes have: the sums of a convolution depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def prepare_fit(
    root: Path,
    folder: Path,
    *,
    num_processes: int = 1,
    num_workers: int = 0,
    end: dict[str, Any] | None = None,
    more_callbacks: Sequence[dict[str, Any]] = (),
    **trainer_options: Any,
) -> list[str]:
    """The arguments of a `lightning fit` with the recorder; the folder gets the config, the records and the run."""
    folder.mkdir(exist_ok=True)
    callbacks: list[dict[str, Any]] = [
        *more_callbacks,
        {"class_path": "resume_probe.StepRecorder", "init_args": {"folder": str(folder)}},
    ]
    if end is not None:
        callbacks.append({"class_path": "resume_probe.SignalAt", "init_args": {**end, "number": int(end["number"])}})
    config = {
        "seed_everything": 4,
        "run": {"wandb": "off", "checkpoint_every": CHECKPOINT_EVERY, "output": str(folder / "runs")},
        "model": {
            "network": {"name": "r3d50", "pool": "soft", "width": 0.0625, "options": {"dropout": 0.5}},
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.01, "momentum": 0.9}},
        },
        "data": {
            "root": str(root),
            "val_split": "train",
            "num_frames": 4,
            "short_side": 32,
            "crop": 32,
            "batch_size": 4 // num_processes,
            "num_workers": num_workers,
        },
        "trainer": {
            "max_epochs": NUM_EPOCHS,
            "accelerator": "cpu",
            "deterministic": True,
            "devices": num_processes,
            "strategy": "ddp" if num_processes > 1 else "auto",
            "enable_progress_bar": False,
            "limit_val_batches": 1,
            "num_sanity_val_steps": 0,
            "callbacks": callbacks,
            **trainer_options,
        },
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return ["fit", "--config", str(path)]


def run_in_new_process(folder: Path, arguments: list[str]) -> int:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "videosoft", *arguments],
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=(folder / "log.txt").open("ab"),
        stderr=subprocess.STDOUT,
    )
    code = process.wait(timeout=300)
    with contextlib.suppress(ProcessLookupError):  # what a killed process leaves behind: its fellows, its workers
        os.killpg(process.pid, signal.SIGKILL)
    return code


def read_steps(folder: Path, rank: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"rank{rank}.jsonl").read_text().splitlines()]


def find_run(folder: Path) -> Path:
    return folder / "runs" / "config" / "version_0"


def read_validations(folder: Path) -> list[tuple[int, str, str, str]]:
    """Steps done by then, epoch, loss and accuracy."""
    with (find_run(folder) / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/loss"]]
    return [(int(row["step"]) + 1, row["epoch"], row["val/loss"], row["val/1x1_top1"]) for row in rows]


def assert_same_end(resumed: Path, whole: Path, *, num_saved: int) -> None:
    """The checkpoints of two runs hold the same numbers: weights, optimiser, schedule, epochs.

    All validations that the first ``num_saved`` steps had not come to are in the log, with the same result.
    """
    validations = read_validations(resumed)
    assert validations == [row for row in read_validations(whole) if row[0] >= num_saved]
    assert validations
    for name in ("last.ckpt", "best.ckpt"):
        ends = [torch.load(find_run(run) / "checkpoints" / name, weights_only=True) for run in (resumed, whole)]
        for key in ("epoch", "global_step", "lr_schedulers"):
            assert ends[0][key] == ends[1][key], (name, key)
        for key in ("state_dict", "optimizer_states"):
            torch.testing.assert_close(ends[0][key], ends[1][key], rtol=0, atol=0)


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nobody killed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run_lightning(monkeypatch, *prepare_fit(root, folder)) == 0
    return folder


@pytest.mark.parametrize("how", ENDS)
def test_a_training_that_ended_goes_on_exactly(
    root: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Ended with two workers, resumed without."""
    end, code, num_saved = ENDS[how]
    cut, resumed = tmp_path / "cut", tmp_path / "resumed"
    arguments = prepare_fit(root, cut, num_workers=2, end=end)
    assert run_in_new_process(cut, arguments) == code, (cut / "log.txt").read_text()
    assert run_lightning(monkeypatch, *prepare_fit(root, resumed), "--ckpt_path", find_run(cut)) == 0
    expected = read_steps(whole)
    assert len(expected) == NUM_EPOCHS * STEPS_PER_EPOCH
    assert len({step["pixels"] for step in expected}) == len(expected)
    assert read_steps(cut)[:num_saved] == expected[:num_saved]
    assert read_steps(resumed) == expected[num_saved:]
    assert read_validations(cut) == [row for row in read_validations(whole) if row[0] < end["step"]]
    assert_same_end(resumed, whole, num_saved=num_saved)


def test_averaged_weights_and_precise_statistics_go_on_exactly(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in a validation, whose statistics the resumed training has to take anew."""
    callbacks = [
        {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.6}},
        {"class_path": "videosoft.training.PreciseBatchNorm", "init_args": {"num_batches": 2}},
    ]
    whole, cut, resumed = (tmp_path / name for name in ("whole", "cut", "resumed"))
    assert run_lightning(monkeypatch, *prepare_fit(root, whole, more_callbacks=callbacks)) == 0
    end, code, num_saved = ENDS["killed in a validation"]
    arguments = prepare_fit(root, cut, more_callbacks=callbacks, end=end | {"hook": "on_validation_epoch_start"})
    assert run_in_new_process(cut, arguments) == code, (cut / "log.txt").read_text()
    arguments = prepare_fit(root, resumed, more_callbacks=callbacks)
    assert run_lightning(monkeypatch, *arguments, "--ckpt_path", find_run(cut)) == 0
    assert_same_end(resumed, whole, num_saved=num_saved)
    ends = [torch.load(find_run(run) / "checkpoints" / "last.ckpt", weights_only=True) for run in (resumed, whole)]
    for key in ("current_model_state", "averaging_state"):
        torch.testing.assert_close(ends[0][key], ends[1][key], rtol=0, atol=0)


def test_two_processes_go_on_exactly_where_one_was_terminated(root: Path, tmp_path: Path) -> None:
    whole, cut, resumed = (tmp_path / name for name in ("whole", "cut", "resumed"))
    arguments = prepare_fit(root, whole, num_processes=2)
    assert run_in_new_process(whole, arguments) == 0, (whole / "log.txt").read_text()
    end = {"number": signal.SIGTERM, "hook": "on_train_batch_start", "step": 6, "rank": 1}
    arguments = prepare_fit(root, cut, num_processes=2, end=end)
    assert run_in_new_process(cut, arguments) == 128 + signal.SIGTERM, (cut / "log.txt").read_text()
    arguments = [*prepare_fit(root, resumed, num_processes=2), "--ckpt_path", str(find_run(cut))]
    assert run_in_new_process(resumed, arguments) == 0, (resumed / "log.txt").read_text()
    for rank in range(2):
        assert read_steps(resumed, rank) == read_steps(whole, rank)[7:]
    assert_same_end(resumed, whole, num_saved=7)


# Each row: what sends which signal where, further trainer options, exit code, steps that the last checkpoint holds.
SIGNALS: list[tuple[dict[str, Any], dict[str, Any], int, int]] = [
    ({"number": signal.SIGINT, "hook": "on_train_batch_start", "step": 0}, {}, 128 + signal.SIGINT, 1),
    ({"number": signal.SIGINT, "hook": "on_validation_batch_start", "step": 4}, {}, 128 + signal.SIGINT, 4),
    (
        {"number": signal.SIGTERM, "hook": "on_train_batch_start", "step": 0},
        {"accumulate_grad_batches": 3},
        128 + signal.SIGTERM,
        1,
    ),
    ({"number": signal.SIGUSR1, "hook": "on_train_batch_start", "step": 1}, {}, 128 + signal.SIGUSR1, 2),
]


@pytest.mark.parametrize(("end", "options", "code", "num_saved"), SIGNALS)
def test_a_signal_ends_the_training_after_its_step(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    end: dict[str, Any],
    options: dict[str, Any],
    code: int,
    num_saved: int,
) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    if end["number"] == signal.SIGUSR1:
        pretend_slurm(tmp_path, monkeypatch)
    assert run_lightning(monkeypatch, *prepare_fit(root, tmp_path, end=end, **options)) == code
    last = torch.load(find_run(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == num_saved
    printed = capfd.readouterr().err
    assert f"ended after step {num_saved}; --ckpt_path {find_run(tmp_path)} goes on from there" in printed
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    if end["number"] == signal.SIGUSR1:
        assert (tmp_path / "scontrol.txt").read_text() == "requeue 71234\n"
        assert "SLURM job 71234: put back into the queue" in printed


# Each row: verb, where Ctrl-C is pressed, and how often.
AT_ONCE = [
    ("fit", {"hook": "on_before_backward", "step": 3, "times": 2}),
    ("fit", {"hook": "on_validation_batch_start", "step": 4, "times": 2}),
    ("validate", {"hook": "on_validation_batch_start", "step": 0}),
]


@pytest.mark.parametrize(("verb", "end"), AT_ONCE)
def test_a_run_that_ends_at_once_says_so_in_one_line(
    root: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    verb: str,
    end: dict[str, Any],
) -> None:
    before = signal.getsignal(signal.SIGINT)
    _, *arguments = prepare_fit(root, tmp_path, end={"number": signal.SIGINT, **end})
    checkpoint = [] if verb == "fit" else ["--ckpt_path", find_run(whole)]
    try:
        assert run_lightning(monkeypatch, verb, *arguments, *checkpoint) == 130
    finally:
        signal.signal(signal.SIGINT, before)  # the process would have ended: Lightning leaves Ctrl-C without effect
    printed = capfd.readouterr().err
    assert printed.rstrip().splitlines()[-1] == "interrupted"
    assert "KeyboardInterrupt" not in printed
    if verb == "fit":
        # The step that was cut is not in it.
        last = torch.load(find_run(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)
        assert last["global_step"] == {3: 2, 4: 4}[end["step"]]


def pretend_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job with one task, and an `scontrol` that writes down what it is told."""
    for name, value in (("NTASKS", 1), ("JOB_ID", 71234), ("PROCID", 0), ("LOCALID", 0), ("NODEID", 0)):
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    script = folder / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >> {folder}/scontrol.txt\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
