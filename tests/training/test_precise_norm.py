"""Precise batch norm: the training goes on as without it, and several processes gather what one would."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
import yaml
from lightning_runs import LABELS, run_lightning, write_video

from videosoft.training import KineticsDataModule, NetworkConfig, PreciseBatchNorm, VideoClassifier

PRECISE = {"class_path": "videosoft.training.PreciseBatchNorm", "init_args": {"num_batches": 2}}
AVERAGING = {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging"}


def write_config(base: Path, path: Path, callbacks: list[dict], **trainer: object) -> Path:
    content = yaml.safe_load(base.read_text())
    content["run"]["output"] = str(path.parent)
    content["trainer"] |= {"callbacks": callbacks, **trainer}
    path.write_text(yaml.safe_dump(content))
    return path


def read_state(run_dir: Path) -> dict[str, torch.Tensor]:
    return torch.load(run_dir / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]


def train(root: Path, callbacks: list[L.Callback]) -> dict[str, torch.Tensor]:
    """Two epochs with dropout, whose draws come from torch's own generator."""
    data = KineticsDataModule(str(root), num_frames=8, short_side=32, crop=32, batch_size=4, num_workers=0, seed=3)
    torch.manual_seed(0)
    network = NetworkConfig(name="r3d50", pool="soft", width=0.0625, options={"dropout": 0.5})
    classifier = VideoClassifier(network, partial(torch.optim.SGD, lr=0.01))
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(classifier, datamodule=data)
    assert classifier.network is not None
    return classifier.network.state_dict()


def test_weights_become_the_same_with_and_without(root: Path) -> None:
    with_it, without = train(root, [PreciseBatchNorm(num_batches=2)]), train(root, [])
    differing = {name for name in with_it if not torch.equal(with_it[name], without[name])}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert differing == {name for name in with_it if name.endswith(statistics)}


@pytest.mark.slow
def test_two_processes_gather_what_one_does(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A learning rate of 0 leaves both with the same weights; the global batches are the same clips."""
    for split in ("train", "val"):
        for index in range(4):
            for label in LABELS:
                video = tmp_path / "data" / split / label / f"{label}{split}{index}_000000_000001.mp4"
                write_video(video, 9 + index, rising=label == LABELS[0])
    runs = {}
    for num_processes in (1, 2):
        path = write_config(
            config,
            tmp_path / f"of{num_processes}.yaml",
            [PRECISE],
            devices=num_processes,
            strategy="ddp_fork" if num_processes > 1 else "auto",
            max_steps=1,
            num_sanity_val_steps=0,
            val_check_interval=1,
        )
        runs[num_processes] = ["fit", "--config", str(path), "--data.root", str(tmp_path / "data")]
        runs[num_processes] += ["--data.batch_size", str(4 // num_processes), "--model.optimizer.init_args.lr", "0"]
    assert run_lightning(monkeypatch, *runs[1]) == 0
    command = [sys.executable, "-m", "videosoft", *runs[2]]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    states = [read_state(tmp_path / f"of{num_processes}" / "version_0") for num_processes in runs]
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(states[0][f"network.bn1.{name}"], states[1][f"network.bn1.{name}"])


def list_videos(root: Path, rows: list[str]) -> None:
    header = "label,youtube_id,time_start,time_end,split\n"
    for split in ("train", "val"):
        (root / f"{split}.csv").write_text(header + "".join(row.format(split=split) for row in rows))


def copy_videos(root: Path, copy: Path) -> Path:
    for split in ("train", "val"):
        copy.mkdir(exist_ok=True)
        (copy / split).symlink_to(root / split)
    return copy


GOOD, BROKEN = "brighter,brighter-{split}-0,0,1,{split}\n", "darker,empty-{split},0,1,{split}\n"
# Each row: the list, clips of a batch, exit code.
SINGLE = [([GOOD, "darker,darker-{split}-1,0,1,{split}\n"], 1, 0), ([GOOD, BROKEN], 2, 2)]


@pytest.mark.parametrize(("rows", "batch_size", "code"), SINGLE)
def test_batches_of_single_clips_come_to_an_end(
    rows: list[str],
    batch_size: int,
    code: int,
    root: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    list_videos(copy_videos(root, tmp_path / "data"), rows)
    path = write_config(config, tmp_path / "single.yaml", [PRECISE], max_epochs=1, num_sanity_val_steps=0)
    arguments = ["--data.root", tmp_path / "data", "--data.crop", "64", "--data.short_side", "64"]
    arguments += ["--data.batch_size", batch_size]
    assert run_lightning(monkeypatch, "fit", "--config", path, *arguments) == code
    if code:
        assert "no batch of the epoch has clips enough for batch norm" in capsys.readouterr().err


# Each row: callbacks, what the message must say.
BAD = [
    ([{**PRECISE, "init_args": {"num_batches": 0}}], "num_batches=0 must be at least 1"),
    ([PRECISE, AVERAGING], "list EMAWeightAveraging before PreciseBatchNorm"),
]


@pytest.mark.parametrize(("callbacks", "message"), BAD)
def test_bad_settings(
    callbacks: list[dict],
    message: str,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_config(config, tmp_path / "bad.yaml", callbacks)
    assert run_lightning(monkeypatch, "fit", "--config", path) == 2
    assert message in capsys.readouterr().err
