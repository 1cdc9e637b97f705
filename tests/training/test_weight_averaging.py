"""EMA and precise batch norm in one training: what is validated is what is saved, and a resumed one goes on exactly."""

import csv
from pathlib import Path

import pytest
import torch
import yaml
from lightning_runs import run_lightning

from videosoft.models import load_checkpoint
from videosoft.training import KineticsDataModule

EMA_DECAY, NUM_BATCHES, BATCH_SIZE = 0.6, 2, 4
STEPS_AN_EPOCH = 3  # 12 videos, of which one is missing

AVERAGING = {
    "class_path": "lightning.pytorch.callbacks.EMAWeightAveraging",
    "init_args": {"decay": EMA_DECAY},
}
PRECISE = {"class_path": "videosoft.training.PreciseBatchNorm", "init_args": {"num_batches": NUM_BATCHES}}


def write_config(base: Path, folder: Path, callbacks: list[dict]) -> Path:
    """The small config of all tests, with callbacks, dropout, and a schedule that does not ask for the last epoch."""
    folder.mkdir()
    recorder = {"class_path": "weights_probe.WeightRecorder", "init_args": {"folder": str(folder)}}
    content = yaml.safe_load(base.read_text())
    content["model"]["network"]["options"] = {"dropout": 0.5}
    content["model"]["schedule"] = {"kind": "multistep", "milestones": [2]}
    content["run"]["output"] = str(folder)
    content["trainer"]["callbacks"] = [*callbacks, recorder]
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def read_metric(run_dir: Path, name: str) -> dict[int, float]:
    with (run_dir / "metrics.csv").open() as file:
        return {int(row["epoch"]): float(row[name]) for row in csv.DictReader(file) if row[name]}


@pytest.fixture(scope="module")
def averaged(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fit of three epochs with both callbacks."""
    folder = tmp_path_factory.mktemp("averaged") / "run"
    path = write_config(config, folder, [AVERAGING, PRECISE])
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run_lightning(monkeypatch, "fit", "--config", path, "--trainer.max_epochs", "3") == 0
    return folder


def test_checkpoints_hold_the_average_and_the_weights_it_is_of(averaged: Path) -> None:
    steps = torch.load(averaged / "weights.pt", weights_only=True)
    assert len(steps) == 3 * STEPS_AN_EPOCH
    for name in ("best", "last"):
        checkpoint = torch.load(averaged / "tiny" / "version_0" / "checkpoints" / f"{name}.ckpt", weights_only=True)
        taken = steps[: checkpoint["global_step"]]
        for key, first in taken[0].items():
            average = first.double()
            for weights in taken[1:]:
                average = EMA_DECAY * average + (1 - EMA_DECAY) * weights[key].double()
            torch.testing.assert_close(checkpoint["state_dict"][key].double(), average, rtol=1e-5, atol=1e-7)
            assert torch.equal(checkpoint["current_model_state"][key], taken[-1][key])


def test_best_is_what_was_validated(averaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = averaged / "tiny" / "version_0" / "checkpoints" / "best.ckpt"
    epoch = torch.load(best, weights_only=True)["epoch"]
    arguments = ("--config", averaged / "tiny.yaml", "--run.output", tmp_path, "--ckpt_path", best)
    assert run_lightning(monkeypatch, "validate", *arguments) == 0
    for name in ("val/loss", "val/1x1_top1"):
        (validated,) = read_metric(tmp_path / "tiny" / "version_0", name).values()
        assert validated == read_metric(averaged / "tiny" / "version_0", name)[epoch]


def test_statistics_are_those_of_the_clips_under_the_averaged_weights(averaged: Path, root: Path) -> None:
    path = averaged / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    epoch = torch.load(path, weights_only=True)["epoch"]
    loaded = load_checkpoint(path)
    data = KineticsDataModule(
        str(root), num_frames=8, short_side=32, crop=32, batch_size=BATCH_SIZE, num_workers=0, seed=1,
        class_names=list(loaded.class_names),
    )  # fmt: skip
    data.setup("fit")
    batches = [batch["video"] for batch in data.create_training_loader(epoch=epoch) if len(batch["label"]) > 1]
    while len(batches) < NUM_BATCHES:
        batches *= 2
    mean, std = (torch.tensor(loaded.preprocessing[key])[:, None, None, None] for key in ("mean", "std"))
    clips = (torch.cat(batches[:NUM_BATCHES]).double() / 255 - mean) / std
    with torch.no_grad():
        activations = loaded.network.conv1.double()(clips).transpose(0, 1).flatten(1)
    expected = {"running_mean": activations.mean(1), "running_var": activations.var(1, unbiased=False)}
    for name, value in expected.items():
        torch.testing.assert_close(getattr(loaded.network.bn1, name).double(), value, rtol=1e-4, atol=1e-5)


def test_a_resumed_training_ends_in_the_same_checkpoint(
    averaged: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(config, tmp_path / "cut", [AVERAGING, PRECISE])
    base = ("fit", "--config", path, "--trainer.max_epochs")
    assert run_lightning(monkeypatch, *base, "2") == 0
    checkpoints = tmp_path / "cut" / "tiny" / "version_{}" / "checkpoints"
    assert run_lightning(monkeypatch, *base, "3", "--ckpt_path", str(checkpoints / "last.ckpt").format(0)) == 0
    whole = torch.load(averaged / "tiny" / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    resumed = torch.load(str(checkpoints / "last.ckpt").format(1), weights_only=True)
    for part in ("state_dict", "current_model_state", "averaging_state"):
        assert whole[part].keys() == resumed[part].keys()
        for key, value in whole[part].items():
            assert torch.equal(value, resumed[part][key]), key
    for key, state in whole["optimizer_states"][0]["state"].items():
        torch.testing.assert_close(resumed["optimizer_states"][0]["state"][key], state, rtol=0, atol=0)


def test_a_training_with_averages_is_not_resumed_without(
    averaged: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(config, tmp_path / "plain", [])
    last = averaged / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    arguments = ("--config", path, "--trainer.max_epochs", "4", "--ckpt_path", last)
    assert run_lightning(monkeypatch, "fit", *arguments) == 2
    assert "training with averaged weights: resume it with the callback" in capsys.readouterr().err
