"""`lightning fit|validate|test|predict` on small real videos, and on what users get wrong."""

import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from lightning_runs import LABELS, run_lightning, write_video
from torch import nn

from videosoft.data import ClipDraw, TrainingSampler
from videosoft.evaluation import read_predictions
from videosoft.models import export_weights, load_checkpoint, write_weight_file
from videosoft.training.callbacks import FailureLog


@pytest.fixture(scope="module")
def run_dir(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished fit of two epochs."""
    output = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run_lightning(monkeypatch, "fit", "--config", config, "--run.output", output) == 0
    return output / "tiny" / "version_0"


def test_fit_leaves_checkpoints_config_and_metrics(run_dir: Path, root: Path) -> None:
    loaded = load_checkpoint(run_dir / "checkpoints" / "best.ckpt")
    assert loaded.class_names == LABELS
    assert (loaded.preprocessing["num_frames"], loaded.preprocessing["crop"]) == (8, 32)
    assert loaded.metadata["recipe"]["model"]["optimizer"]["init_args"]["lr"] == 0.01
    assert loaded.metadata["data"]["coverage"]["train"] == {"num_listed": 12, "num_found": 11}
    last = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 1
    assert yaml.safe_load((run_dir / "config.yaml").read_text())["data"]["root"] == str(root)
    with (run_dir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(bool(row["val/1x1_top1"]) for row in rows) == 2
    assert any(row["train/loss"] for row in rows)
    assert any(row["clips_per_second"] for row in rows)


def test_fit_lists_broken_videos_each_once(run_dir: Path) -> None:
    with (run_dir / "failures.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = {"missing": "missing", "truncated": "unreadable", "empty": "unreadable", "short": "too_short"}
    # The training loader drops its last, incomplete batch, so that one or the other may not have been drawn.
    listed = {Path(row["path"]).stem.removesuffix("_000000_000001"): row["status"] for row in rows}
    assert len(listed) == len(rows)
    assert {f"{kind}-val": status for kind, status in expected.items()}.items() <= listed.items()
    assert all(status == expected[name.split("-")[0]] for name, status in listed.items())
    assert all(row["reason"] for row in rows)


def test_no_cell_of_the_failures_is_a_formula(tmp_path: Path) -> None:
    # Paths of videos in object storage are relative, and begin as their class does.
    sample = {"path": "=cmd()/a.mp4", "status": "unreadable", "reason": "@sum", "video_id": "a", "label": 0}
    batch: Any = {"label": torch.zeros(1), "samples": [], "failures": [sample]}
    trainer: Any = SimpleNamespace(log_dir=str(tmp_path), num_training_batches=2, world_size=1)
    log = FailureLog()
    log.on_train_batch_end(trainer, nn.Module(), None, batch, 0)  # type: ignore[arg-type]
    log.on_train_epoch_end(trainer, nn.Module())  # type: ignore[arg-type]
    with (tmp_path / "failures.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"status": "unreadable", "path": "'=cmd()/a.mp4", "reason": "'@sum"}]


def test_validation_on_the_training_videos_is_refused(
    root: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = list((root / "train").rglob("*-train-[0-9]_*.mp4"))
    (tmp_path / "list.txt").write_text("".join(f"{path.relative_to(root)} {path.parent.name}\n" for path in names))
    arguments = ("--run.output", tmp_path / "runs", "--data.annotations", tmp_path / "list.txt")
    assert run_lightning(monkeypatch, "fit", "--config", config, *arguments) == 2
    assert "the splits train and val are the same 8 videos" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_resume_continues_the_count_of_epochs(
    run_dir: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = run_dir / "checkpoints" / "last.ckpt"
    arguments = ("fit", "--config", config, "--run.output", tmp_path, "--trainer.max_epochs", "3", "--ckpt_path", last)
    assert run_lightning(monkeypatch, *arguments) == 0
    with (tmp_path / "tiny" / "version_0" / "metrics.csv").open() as file:
        epochs = {int(row["epoch"]) for row in csv.DictReader(file) if row["epoch"]}
    assert epochs == {2}


def test_test_writes_predictions_and_metrics(
    run_dir: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    best = run_dir / "checkpoints" / "best.ckpt"
    assert run_lightning(monkeypatch, "test", "--config", config, "--run.output", tmp_path, "--ckpt_path", best) == 0
    printed = capsys.readouterr().out
    assert "8 of 12 videos" in printed
    folder = tmp_path / "tiny" / "version_0"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["protocol"], metrics["num_videos"], metrics["num_evaluated"]) == ("2x3", 12, 8)
    table = read_predictions(folder / "predictions.parquet")
    assert table.class_names == LABELS
    assert table.checkpoint_hash == load_checkpoint(best).metadata["checkpoint_hash"]


def test_predict_prints_the_best_classes(
    run_dir: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    best = run_dir / "checkpoints" / "best.ckpt"
    assert run_lightning(monkeypatch, "predict", "--config", config, "--run.output", tmp_path, "--ckpt_path", best) == 0
    printed = capsys.readouterr().out
    assert "brighter-val-0_000000_000001.mp4: " in printed
    assert "missing-val_000000_000001.mp4: missing" in printed
    assert (tmp_path / "tiny" / "version_0" / "predictions.parquet").is_file()


def test_validate_runs_on_a_checkpoint(
    run_dir: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    best = run_dir / "checkpoints" / "best.ckpt"
    arguments = ("validate", "--config", config, "--run.output", tmp_path, "--ckpt_path", best)
    assert run_lightning(monkeypatch, *arguments) == 0
    assert "val/1x1_top1" in capsys.readouterr().out


def test_help_offers_what_works_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_lightning(monkeypatch, "fit", "--help") == 0
    offered = capsys.readouterr().out
    assert "--model.optimizer" in offered
    assert not re.search(r"--optimizer|--lr_scheduler|--run\.extends|trainer\.fit", offered)


# Each row: further arguments of `lightning fit`, what the message must say. {tmp} is an empty folder.
BAD_ARGUMENTS = [
    (["--data.root", "{tmp}/none"], r"none is not a folder"),
    (["--data.root", "{tmp}"], r"neither train\.csv nor a folder train/"),
    (["--data.batch_size", "0"], r"data\.batch_size=0"),
    (["--data.num_workers", "-1"], r"data\.num_workers=-1"),
    (["--data.crop", "40"], r"crop \(40\) must not exceed short_side \(32\)"),
    (["--data.test_views", "10by3"], r"views='10by3'"),
    (["--data.test_views", "10x2"], r"1 or 3 crops"),
    (["--data.bach_size", "4"], r"unknown key data\.bach_size\. Did you mean data\.batch_size\?"),
    (["--model.network.name", "r3d5"], r"unknown model 'r3d5'\. Did you mean r3d50"),
    (["--model.network.pool", "sft"], r"sft"),
    (["--model.network.pool_kernel", "0"], r"kernel_size.*0"),
    (["--model.network.options", "{{dropuot: 0.5}}"], r"no argument 'dropuot'.*'dropout'"),
    (["--model.label_smoothing", "1.5"], r"label_smoothing=1\.5"),
    (["--model.schedule.kind", "multistep"], r"milestones is empty"),
    (["--ckpt_path", "{tmp}/none.ckpt"], r"none\.ckpt does not exist"),
    (["--trainer.accelerator", "cuda"], r"(?i)cuda|gpu"),
    (["--trainer.acelerator", "cpu"], r"unknown key trainer\.acelerator\. Did you mean trainer\.accelerator\?"),
    (["--model.network.options", "{{width: 0.5}}"], r"options holds width: set network\.width"),
    (["--model.network.options", "{{dropout: abc}}"], r"r3d50 .*abc"),
    (["--model.network.options", "{{temperature: -1}}"], r"temperature must be a finite number >= 0.*-1"),
    (["--model.network.name", "x3d_xs"], r"pool='soft'.*x3d_xs has no pooling layer.*pooled_shortcuts"),
    (
        ["--model.network.name", "slowfast_r50", "--model.network.width", "0.125", "--data.num_frames", "6"],
        r"multiple of 4, got 6",
    ),
    (["--run.output", "{tmp}/file/runs"], r"output folder .*file/runs.* cannot be used"),
    (["--data.root", "{tmp}/one_class"], r"one_class has one class \(only\)"),
    (["--model.optimizer.init_args.lr", "-1"], r"model\.optimizer: .*-1"),
    (["--trainer.max_epochs", "-1"], r"the training has no end"),
    (["--trainer.max_epochs", "0"], r"max_epochs=0 trains nothing"),
    (["--trainer.max_steps", "0"], r"max_steps=0 trains nothing"),
    (["--trainer.val_check_interval", "1000"], r"val_check_interval=1000 .* an epoch has 3 \(12 videos, 4 clips"),
    (["--trainer.accumulate_grad_batches", "0"], r"accumulate_grad_batches=0: must be more than 0"),
    (["--trainer.check_val_every_n_epoch", "0"], r"check_val_every_n_epoch=0: must be more than 0"),
    (["--trainer.val_check_interval", "0"], r"val_check_interval=0: must be more than 0"),
    (["--trainer.precision", "bf16-true"], r"bf16-true is not known here.* choose 32-true, bf16-mixed or 16-mixed"),
    (["--trainer.accelerator", "tpu"], r"error: .*torch_xla"),
    (["--data.batch_size", "1"], r"does not take clips of 8 x 32 x 32 in batches of 1: Expected more than 1 value"),
    (["--trainer.accumulate_grad_batches", "4"], r"accumulate_grad_batches=4 .* an epoch has 3"),
    (["--optimizer", "torch.optim.SGD"], r"error: optimizer: a recipe says this by model\.optimizer"),
    (["--lr_scheduler", "torch.optim.lr_scheduler.ConstantLR"], r"error: lr_scheduler: .* by model\.schedule"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_bad_arguments_end_in_one_clear_message(
    arguments: list[str],
    message: str,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has the device that the case lacks")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "file").touch()
    for split in ("train", "val"):
        write_video(tmp_path / "empty" / "one_class" / split / "only" / "a_000000_000001.mp4", 12, rising=True)
    filled = [argument.format(tmp=tmp_path / "empty") for argument in arguments]
    code = run_lightning(monkeypatch, "fit", "--config", config, "--run.output", tmp_path / "runs", *filled)
    printed = capsys.readouterr().err
    assert code != 0
    assert "Traceback" not in printed
    assert re.search(message, printed), printed
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("metrics.csv"))
    assert not (tmp_path / "runs").exists()


OTHER_NETWORKS: list[tuple[list[str], str]] = [
    (["--model.network.width", "0.125"], r"'width': 0\.0625.*'width': 0\.125"),
    (["--model.network.name", "r3d50_stergiou"], r"holds r3d50 .* asks for r3d50_stergiou"),
    (["--model.network.pool", "max"], r"'pool': 'soft'.*'pool': 'max'"),
    (["--data.sampling_stride", "2"], r"other clips .*data\.sampling_stride 1, not 2"),
    (["--data.mean", "[0.5, 0.5, 0.5]"], r"other clips .*data\.mean \[.*\], not \[0\.5, 0\.5, 0\.5\]"),
]


@pytest.mark.parametrize(("arguments", "message"), OTHER_NETWORKS)
def test_a_checkpoint_of_another_network_or_preprocessing_is_refused(
    arguments: list[str],
    message: str,
    run_dir: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    best = run_dir / "checkpoints" / "best.ckpt"
    base = ("test", "--config", config, "--run.output", tmp_path, "--ckpt_path", best)
    assert run_lightning(monkeypatch, *base, *arguments) == 2
    assert re.search(message, capsys.readouterr().err)


OTHER_RECIPES = [
    (["--model.optimizer.init_args.lr", "0.02"], r"another recipe: model\.optimizer\.init_args\.lr 0\.01, not 0\.02\."),
    (["--model.optimizer", "AdamW"], r"class_path 'torch\.optim\.SGD', not 'torch\.optim\.AdamW'"),
    (["--model.schedule.warmup_epochs", "1"], r"model\.schedule\.warmup_epochs 0\.0, not 1\.0"),
    (["--data.batch_size", "5", "--model.label_smoothing", "0.1"], r"label_smoothing 0\.0, not 0\.1"),
]


@pytest.mark.parametrize(("arguments", "message"), OTHER_RECIPES)
def test_a_training_goes_on_with_its_own_recipe(
    arguments: list[str],
    message: str,
    run_dir: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = ("fit", "--config", config, "--run.output", tmp_path / "runs", "--ckpt_path", run_dir)
    assert run_lightning(monkeypatch, *base, *arguments) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_only_fit_goes_without_a_checkpoint(
    verb: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_lightning(monkeypatch, verb, "--config", config, "--run.output", tmp_path / "runs") == 2
    assert f"`lightning {verb}` needs a trained network: pass --ckpt_path" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("verb", "limit"),
    [("validate", "limit_val_batches"), ("test", "limit_test_batches"), ("predict", "limit_predict_batches")],
)
def test_no_batch_at_all_leaves_nothing(
    run_dir: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    limit: str,
) -> None:
    base = (verb, "--config", config, "--run.output", tmp_path / "runs")
    arguments = (f"--trainer.{limit}", "0.01", "--ckpt_path", run_dir / "checkpoints" / "best.ckpt")
    assert run_lightning(monkeypatch, *base, *arguments) == 2
    assert re.search(rf"trainer\.{limit}=0\.01 of \d+ batches is none: set at least", capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


def test_exported_weights_are_tested_like_their_checkpoint_but_not_resumed(
    run_dir: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    best, exported = run_dir / "checkpoints" / "best.ckpt", tmp_path / "weights.safetensors"
    write_weight_file(exported, export_weights(best, dtype=torch.float32))
    predictions = []
    for name, path in (("a", best), ("b", exported)):
        arguments = ("--config", config, "--run.output", tmp_path / name, "--ckpt_path", path)
        assert run_lightning(monkeypatch, "test", *arguments) == 0
        table = read_predictions(tmp_path / name / "tiny" / "version_0" / "predictions.parquet")
        predictions.append(table.rows.to_pylist())
    assert predictions[0] == predictions[1]
    capsys.readouterr()
    arguments = ("fit", "--config", config, "--run.output", tmp_path / "c", "--ckpt_path", exported)
    assert run_lightning(monkeypatch, *arguments) == 2
    assert "weights.safetensors holds weights only" in capsys.readouterr().err


def copy_with_empty_videos(root: Path, copy: Path, split: str) -> None:
    shutil.copytree(root, copy)
    for path in (copy / split).rglob("*.mp4"):
        path.write_bytes(b"")


def test_training_without_a_usable_video_fails(
    root: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_with_empty_videos(root, tmp_path / "data", "train")
    arguments = ("fit", "--config", config, "--run.output", tmp_path / "runs", "--data.root", tmp_path / "data")
    assert run_lightning(monkeypatch, *arguments) == 2
    assert "no training video of this epoch could be used" in capsys.readouterr().err
    assert (tmp_path / "runs" / "tiny" / "version_0" / "failures.csv").is_file()
    assert not list(tmp_path.rglob("*.ckpt"))


def test_validation_without_a_usable_video_does_not_cost_the_training(
    root: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_with_empty_videos(root, tmp_path / "data", "val")
    arguments = ("fit", "--config", config, "--run.output", tmp_path / "runs", "--data.root", tmp_path / "data")
    assert run_lightning(monkeypatch, *arguments) == 0
    folder = tmp_path / "runs" / "tiny" / "version_0"
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    with (folder / "metrics.csv").open() as file:
        assert {row["val/1x1_top1"] for row in csv.DictReader(file)} <= {"", "nan"}


def test_a_test_without_a_usable_video_fails_and_lists_them(
    run_dir: Path,
    root: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy_with_empty_videos(root, tmp_path / "data", "val")
    base = ("test", "--config", config, "--run.output", tmp_path / "runs", "--data.root", tmp_path / "data")
    assert run_lightning(monkeypatch, *base, "--ckpt_path", run_dir / "checkpoints" / "best.ckpt") == 2
    assert "none of the 12 videos could be evaluated" in capsys.readouterr().err
    table = read_predictions(tmp_path / "runs" / "tiny" / "version_0" / "predictions.parquet")
    assert set(table.rows["status"].to_pylist()) == {"unreadable", "missing"}
    _, *rest = base
    arguments = ("predict", *rest, "--run.version", "predicted", "--ckpt_path", run_dir / "checkpoints" / "best.ckpt")
    assert run_lightning(monkeypatch, *arguments) == 2
    assert "none of the 12 videos could be predicted" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "tiny" / "predicted" / "predictions.parquet").exists()


def test_a_saved_config_keeps_the_name_of_its_run(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--config", run_dir / "config.yaml", "--ckpt_path", run_dir / "checkpoints" / "best.ckpt")
    assert run_lightning(monkeypatch, "test", *arguments, "--run.output", tmp_path) == 0
    assert (tmp_path / "tiny" / "version_0" / "metrics.json").is_file()


def write_list(root: Path, rows: list[list[object]]) -> None:
    with (root / "val.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["label", "youtube_id", "time_start", "time_end", "split"], *rows])


def test_labels_follow_the_checkpoint_and_unknown_ones_are_refused(
    run_dir: Path,
    config: Path,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A list with only the second class still labels it 1; a class that the checkpoint lacks is named with its line."""
    best = run_dir / "checkpoints" / "best.ckpt"
    (tmp_path / "val").symlink_to(root / "val")
    write_list(tmp_path, [["darker", "darker-val-0", 0, 1, "val"]])
    base = ("test", "--config", config, "--data.root", tmp_path, "--ckpt_path", best)
    assert run_lightning(monkeypatch, *base, "--run.output", tmp_path / "a") == 0
    table = read_predictions(tmp_path / "a" / "tiny" / "version_0" / "predictions.parquet")
    assert table.class_names == LABELS
    write_list(tmp_path, [["darkest", "darker-val-0", 0, 1, "val"]])
    capsys.readouterr()
    assert run_lightning(monkeypatch, *base, "--run.output", tmp_path / "b") == 2
    assert "val.csv:2: label 'darkest' is not among the 2 class names; nearest: 'darker'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ckpt_path", "CONFIG"], "is not a checkpoint|damaged"),
        (["--run.name", "../../elsewhere"], "run.name='../../elsewhere': must be the name of a folder"),
        (["--run.version", "/tmp/elsewhere"], "run.version='/tmp/elsewhere': must be"),
        (["--trainer.limit_train_batches", "0"], "limit_train_batches=0 trains nothing"),
        (["--trainer.overfit_batches", "2"], "overfit_batches: training clips are drawn anew"),
        (
            ["--trainer.limit_train_batches", "0.1"],
            r"limit_train_batches=0\.1 of \d batches is none: set at least 0\.\d",
        ),
        (["--trainer.limit_val_batches", "0.1"], r"limit_val_batches=0\.1 of \d batches is none"),
        (["--model.optimizer.init_args.lr", ".nan"], "the learning rate is nan"),
    ],
)
def test_wrong_runs_leave_nothing(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    arguments = [str(config) if argument == "CONFIG" else argument for argument in arguments]
    output = tmp_path / "deep" / "runs"
    assert run_lightning(monkeypatch, "fit", "--config", config, "--run.output", output, *arguments) == 2
    printed = capsys.readouterr().err
    assert re.search(message, printed)
    assert "Traceback" not in printed
    assert not output.exists()


def test_a_trial_leaves_no_card(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_lightning(monkeypatch, "fit", "--config", config, "--trainer.fast_dev_run", "true") == 0
    assert not list(tmp_path.rglob("recipe_card*"))


def test_accuracy_is_logged_where_max_steps_ends_an_epoch(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the last batch, and before any step that is logged."""
    arguments = ["--run.output", tmp_path, "--trainer.max_steps", "2", "--trainer.log_every_n_steps", "50"]
    assert run_lightning(monkeypatch, "fit", "--config", config, *arguments) == 0
    with (tmp_path / "tiny" / "version_0" / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["step"] == "1"
    assert 0 <= float(row["train/top1"]) <= 1


def test_accuracy_is_logged_where_the_last_batch_of_an_epoch_is_broken(
    root: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And before any step that is logged."""
    (tmp_path / "data").mkdir()
    names = ("brighter,brighter-{}-0", "darker,darker-{}-0", "darker,empty-{}", "darker,truncated-{}")
    for split in ("train", "val"):
        (tmp_path / "data" / split).symlink_to(root / split)
        rows = [f"{name.format(split)},0,1,{split}" for name in names]
        (tmp_path / "data" / f"{split}.csv").write_text(
            "\n".join(["label,youtube_id,time_start,time_end,split", *rows])
        )
    seed = next(
        seed
        for seed in range(1000)
        if all({draw.video for draw in deal_last_batch(seed, epoch)} == {2, 3} for epoch in range(2))
    )
    arguments = ["--data.root", tmp_path / "data", "--data.batch_size", "2", "--data.seed", str(seed)]
    arguments += ["--run.output", tmp_path, "--trainer.log_every_n_steps", "50"]
    assert run_lightning(monkeypatch, "fit", "--config", config, *arguments) == 0
    with (tmp_path / "tiny" / "version_0" / "metrics.csv").open() as file:
        assert len([row for row in csv.DictReader(file) if row["train/top1"]]) == 2


def deal_last_batch(seed: int, epoch: int) -> list[ClipDraw]:
    sampler = TrainingSampler(4, 2, seed=seed)
    sampler.set_epoch(epoch)
    return list(sampler)[-1]


def test_stopping_early_by_a_metric_that_is_none_is_said_with_those_that_are(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    callbacks = [{"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "val/top1"}}]
    arguments = ["--run.output", tmp_path, "--trainer.callbacks", json.dumps(callbacks)]
    assert run_lightning(monkeypatch, "fit", "--config", config, *arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: Early stopping conditioned on metric `val/top1` which is not available.")
    assert "`val/1x1_top1`" in last
