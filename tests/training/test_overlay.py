"""A run of a recipe that extends another: its name, and a config that needs no other file."""

import shutil
from pathlib import Path

import pytest
import yaml
from lightning_runs import run_lightning

from videosoft.models import load_checkpoint


def test_a_run_of_an_overlay_is_complete(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    shutil.copy(config, recipes / "base.yaml")
    overlay = {"run": {"extends": ["base.yaml"]}, "model": {"network": {"pool": "avg"}}, "trainer": {"max_epochs": 1}}
    (recipes / "over.yaml").write_text(yaml.safe_dump(overlay))
    arguments = ("--config", recipes / "over.yaml", "--run.output", tmp_path / "runs")
    assert run_lightning(monkeypatch, "fit", *arguments) == 0
    folder = tmp_path / "runs" / "over" / "version_0"
    resolved = yaml.safe_load((folder / "config.yaml").read_text())
    assert resolved["run"]["name"] == "over"
    assert "extends" not in resolved["run"]
    assert resolved["model"]["network"]["pool"] == "avg"
    assert resolved["data"]["crop"] == yaml.safe_load(config.read_text())["data"]["crop"]
    last = folder / "checkpoints" / "last.ckpt"
    assert load_checkpoint(last).metadata["recipe"]["model"] == resolved["model"]
    shutil.rmtree(recipes)
    arguments = ("--config", folder / "config.yaml", "--run.output", tmp_path / "tests", "--ckpt_path", last)
    assert run_lightning(monkeypatch, "test", *arguments) == 0
    assert (tmp_path / "tests" / "over" / "version_0" / "metrics.json").is_file()
