"""The same training on one process and on two, broken videos included; losses that are NaN."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scale_probe
import torch
import yaml
from lightning_runs import run_lightning

from videosoft.models import load_checkpoint


def prepare_fit(
    config: Path, folder: Path, *, num_processes: int = 1, callbacks: list[dict[str, Any]] | None = None, **run: Any
) -> list[str]:
    """The arguments of a fit of the probe network, four clips a step, one of three listed videos broken."""
    content = yaml.safe_load(config.read_text())
    content["run"].update(output=str(folder / "runs"), name="scale", hard_clips=0, **run)
    content["model"]["network"] = {"name": scale_probe.NAME}
    content["model"]["optimizer"]["init_args"]["lr"] = 0.5
    content["data"]["batch_size"] = 4 // num_processes
    recorder = {"class_path": "resume_probe.StepRecorder", "init_args": {"folder": str(folder)}}
    spoiler = {"class_path": "scale_probe.SpoilLoss", "init_args": {"steps": []}}
    content["trainer"].update(
        max_epochs=4,
        devices=num_processes,
        strategy="ddp" if num_processes > 1 else "auto",
        limit_val_batches=0,
        callbacks=[recorder, *(callbacks or [spoiler])],
    )
    folder.mkdir(exist_ok=True)
    path = folder / "scale.yaml"
    path.write_text(yaml.safe_dump(content))
    return ["fit", "--config", str(path)]


def run_in_new_process(folder: Path, arguments: list[str]) -> tuple[int, str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.run(
        [sys.executable, "-m", "videosoft", *arguments],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )
    return process.returncode, process.stdout


def find_run(folder: Path) -> Path:
    return folder / "runs" / "scale" / "version_0"


def read_losses(folder: Path) -> list[float]:
    with (find_run(folder) / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def read_steps(folder: Path, rank: int) -> list[list[str]]:
    lines = (folder / f"rank{rank}.jsonl").read_text().splitlines()
    return [json.loads(line)["videos"] for line in lines]


def load_last(folder: Path) -> dict[str, Any]:
    return torch.load(find_run(folder) / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def one(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run_lightning(monkeypatch, *prepare_fit(config, folder)) == 0
    return folder


@pytest.mark.slow
def test_two_processes_train_as_one(config: Path, one: Path, tmp_path: Path) -> None:
    """Also in steps in which one of them has no usable video; only the order of float32 sums differs."""
    code, log = run_in_new_process(tmp_path, prepare_fit(config, tmp_path, num_processes=2))
    assert code == 0, log
    ranks = [read_steps(tmp_path, rank) for rank in range(2)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == read_steps(one, 0)
    assert any(not videos for rank in ranks for videos in rank)
    losses = read_losses(tmp_path)
    assert len(losses) == 12
    assert max(losses) - min(losses) > 0.05
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(read_losses(one)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(load_last(tmp_path)["state_dict"], load_last(one)["state_dict"], rtol=1e-4, atol=5e-5)
    loaded = load_checkpoint(find_run(tmp_path) / "checkpoints" / "last.ckpt")
    assert loaded.network(torch.zeros(1, 3, 8, 32, 32)).shape == (1, 2)


@pytest.mark.slow
def test_two_processes_stop_together_at_a_loss_that_is_not_a_number(config: Path, tmp_path: Path) -> None:
    spoil = {"class_path": "scale_probe.SpoilLoss", "init_args": {"steps": [5], "rank": 1}}
    code, log = run_in_new_process(tmp_path, prepare_fit(config, tmp_path, num_processes=2, callbacks=[spoil]))
    assert code == 2, log
    assert "error: the loss of step 5 is nan" in log
    assert "Traceback" not in log
    folder = find_run(tmp_path) / "nonfinite"
    assert {path.name for path in folder.iterdir()} == {"clips.json", "rank0.pt", "rank1.pt", "state.ckpt"}


def test_a_loss_that_is_not_a_number_stops_the_training_before_the_weights_change(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil = {"class_path": "scale_probe.SpoilLoss", "init_args": {"steps": [5]}}
    arguments = prepare_fit(config, tmp_path, callbacks=[spoil], checkpoint_every=5)
    assert run_lightning(monkeypatch, *arguments) == 2
    printed = capsys.readouterr().err
    assert "the loss of step 5 is nan (learning rate 0." in printed
    folder = find_run(tmp_path) / "nonfinite"
    clips = json.loads((folder / "clips.json").read_text())
    assert (clips["step"], clips["epoch"], clips["losses"]) == (5, 1, ["nan"])
    assert clips["clips"]
    assert {"video_id", "path", "label_name", "seed"} <= clips["clips"][0].keys()
    assert clips["clips"][0]["video_id"] in printed
    (batch,) = torch.load(folder / "rank0.pt", weights_only=True)
    assert len(batch["video"]) == len(clips["clips"])
    state = torch.load(folder / "state.ckpt", weights_only=True)
    last = load_last(tmp_path)
    torch.testing.assert_close(state["state_dict"], last["state_dict"], rtol=0, atol=0)
    assert all(values.isfinite().all() for values in last["state_dict"].values())


def test_steps_are_left_out_on_request(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights, momentum and batch norm's statistics stay as they were; so many in a row are too many."""
    spoil = {"class_path": "scale_probe.SpoilLoss", "init_args": {"steps": [3, 4]}}
    arguments = prepare_fit(config, tmp_path, callbacks=[spoil], checkpoint_every=1, nonfinite="skip", max_skips=2)
    arguments += ["--model.network", '{"name": "r3d50", "width": 0.0625}', "--trainer.max_steps", "5"]
    assert run_lightning(monkeypatch, *arguments) == 0
    checkpoints = find_run(tmp_path) / "checkpoints"
    states = [torch.load(checkpoints / name, weights_only=True) for name in ("last-previous.ckpt", "last.ckpt")]
    assert [state["global_step"] for state in states] == [4, 5]
    torch.testing.assert_close(states[0]["optimizer_states"][0]["state"], states[1]["optimizer_states"][0]["state"])
    torch.testing.assert_close(states[0]["state_dict"], states[1]["state_dict"], rtol=0, atol=0)
    assert all(values.isfinite().all() for values in states[1]["state_dict"].values())
    capsys.readouterr()
    arguments = prepare_fit(config, tmp_path, callbacks=[spoil], nonfinite="skip", max_skips=1)
    assert run_lightning(monkeypatch, *arguments) == 2
    assert "the loss of step 4 is nan" in capsys.readouterr().err
