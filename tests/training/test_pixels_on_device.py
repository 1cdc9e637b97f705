"""Colour jitter and erasing in the training process make the steps that the workers' make."""

import csv
from pathlib import Path

import pytest
from lightning_runs import run_lightning

SETTINGS = ["--data.augmentation.brightness", "0.5", "--data.augmentation.erasing_probability", "0.5"]


@pytest.mark.parametrize("num_repeats", ["1", "2"])
def test_a_training_makes_the_same_steps(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_repeats: str
) -> None:
    losses = []
    for number, on_device in enumerate(("false", "true")):
        code = run_lightning(
            monkeypatch,
            *("fit", "--config", config, "--run.output", tmp_path / str(number), "--trainer.deterministic", "true"),
            *("--trainer.max_epochs", "1", "--trainer.limit_val_batches", "0", "--data.num_repeats", num_repeats),
            *(*SETTINGS, "--data.augmentation.pixels_on_device", on_device),
        )
        assert code == 0
        [metrics] = (tmp_path / str(number)).rglob("metrics.csv")
        with metrics.open(newline="") as file:
            losses.append([row["train/loss"] for row in csv.DictReader(file) if row["train/loss"]])
    assert len(losses[0]) > 1
    assert losses[0] == losses[1]
