"""Class folders and nothing else: no list, no manifest."""

import csv
import shutil
from pathlib import Path

import pytest
from lightning_runs import LABELS, run_lightning

from videosoft.models import load_checkpoint


def test_class_folders_without_any_list_train(
    root: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(root, tmp_path / "data", ignore=shutil.ignore_patterns("*.csv"))
    arguments = ("--data.root", tmp_path / "data", "--trainer.max_epochs", "1", "--run.output", tmp_path / "runs")
    assert run_lightning(monkeypatch, "fit", "--config", config, *arguments) == 0
    folder = tmp_path / "runs" / "tiny" / "version_0"
    loaded = load_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert loaded.class_names == LABELS
    assert loaded.metadata["data"]["coverage"]["train"] == {"num_listed": 11, "num_found": 11}
    with (folder / "metrics.csv").open() as file:
        assert any(row["val/1x1_top1"] for row in csv.DictReader(file))
