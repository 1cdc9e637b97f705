"""A misspelled key: the nearest known ones are named, and the file and line where it stands."""

from pathlib import Path

import pytest
from lightning_runs import run_lightning

# Each row: content of the config, what the message must say; {} is the config's path.
UNKNOWN_KEYS = [
    ("data:\n  root: x\n  bach_size: 3\n", "unknown key data.bach_size ({}:3). Did you mean data.batch_size?"),
    ("model:\n  network: {{pol: soft}}\n", "unknown key model.network.pol ({}:2). Did you mean model.network.pool?"),
    ("modle:\n  network:\n    pool: soft\n", "unknown key modle.network.pool ({}:3). Did you mean model.network.pool?"),
    (
        "data: {{root: x, augmentation: {{horizontal_flipp: true}}}}\n",
        "unknown key data.augmentation.horizontal_flipp ({}:1). Did you mean data.augmentation.horizontal_flip?",
    ),
    # Right, but in another section.
    ("model:\n  batch_size: 3\n", "unknown key model.batch_size ({}:2). Did you mean data.batch_size?"),
    ("run:\n  ouput: x\n", "unknown key run.ouput ({}:2). Did you mean run.output?"),
    ("trainer:\n  max_epoch: 3\n", "unknown key trainer.max_epoch ({}:2). Did you mean trainer.max_epochs or "),
    (
        "model:\n  optimizer:\n    class_path: torch.optim.SGD\n    init_args:\n      momentom: 0.9\n",
        "unknown key model.optimizer.init_args.momentom ({}:5). Did you mean model.optimizer.init_args.momentum?",
    ),
    ("data:\n  root: x\n  qqqqqq: 3\n", "unknown key data.qqqqqq ({}:3).\n"),
]


@pytest.mark.parametrize(("content", "message"), UNKNOWN_KEYS)
def test_in_a_config(
    content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content.format())
    assert run_lightning(monkeypatch, "fit", "--config", path) == 2
    printed = capsys.readouterr().err
    assert message.format(path) in printed
    assert "Traceback" not in printed


def test_in_the_base_of_a_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "base.yaml").write_text("data:\n  rot: x\n")
    (tmp_path / "over.yaml").write_text("run: {extends: [base.yaml]}\n")
    assert run_lightning(monkeypatch, "fit", "--config", tmp_path / "over.yaml") == 2
    assert f"unknown key data.rot ({tmp_path / 'base.yaml'}:2). Did you mean data.root?" in capsys.readouterr().err


ARGUMENTS = [
    (["--model.network.pol", "max"], "unknown key model.network.pol. Did you mean model.network.pool?"),
    (["--model.network.pol=max"], "unknown key model.network.pol. Did you mean model.network.pool?"),
    (["--batch_size", "3"], "unknown key batch_size. Did you mean data.batch_size?"),
    (["--model.optimizer.lrr", "1"], "unknown key model.optimizer.init_args.lrr. Did you mean "),
    # Another error is left as it is.
    (["--model.network.pool", "median"], "Expected a typing.Literal['soft', 'max', 'avg']. Got value: median"),
]


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS)
def test_on_the_command_line(
    arguments: list[str],
    message: str,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_lightning(monkeypatch, "fit", "--config", config, *arguments) == 2
    assert message in capsys.readouterr().err
