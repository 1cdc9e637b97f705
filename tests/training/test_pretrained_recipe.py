"""`model.network.pretrained`: a recipe that starts from weights, says so once, and needs them only then."""

import json
import logging
from pathlib import Path

import pytest
import torch
from lightning_runs import run_lightning
from torch import nn

from videosoft.data import read_class_names
from videosoft.errors import InputError
from videosoft.models import create_model, load_checkpoint

KWARGS = {"pool": "soft", "width": 0.0625}


def create_weights(path: Path, num_classes: int = 2) -> nn.Module:
    torch.manual_seed(7)
    network = create_model("r3d50", num_classes=num_classes, **KWARGS)
    torch.save(network.state_dict(), path)
    return network


def test_a_fit_starts_from_weights_and_goes_on_without_them(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = tmp_path / "weights.pth"
    source = create_weights(weights, num_classes=3)
    (tmp_path / "names.json").write_text(json.dumps(["darker", "other", "brighter"]))
    common = ("--config", config, "--run.output", tmp_path / "runs", "--model.network.pretrained", weights)
    common = (*common, "--model.network.pretrained_head", "by_name")
    common = (*common, "--model.network.pretrained_classes", tmp_path / "names.json")
    still = ("--model.optimizer.init_args.lr", "0", "--trainer.max_epochs", "1")
    with caplog.at_level(logging.INFO):
        assert run_lightning(monkeypatch, "fit", *common, *still) == 0
    said = [record.message for record in caplog.records if "weights.pth" in record.message]
    assert said == [
        f"{weights} (state_dict): 320 of 320 tensors fit; the classifier is of the same classes, its rows put into the "
        f"network's order\n  2 reshaped: fc.weight 3x128 -> 2x128, fc.bias 3 -> 2"
    ]
    last = tmp_path / "runs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    loaded = load_checkpoint(last)
    # Without a learning rate the weights are still those; `brighter` comes before `darker` here.
    torch.testing.assert_close(loaded.network.conv1.weight, source.conv1.weight)
    torch.testing.assert_close(loaded.network.fc.weight, source.fc.weight[[2, 0]])
    assert loaded.metadata["recipe"]["model"]["network"]["pretrained"] == str(weights)

    weights.unlink()
    caplog.clear()
    assert run_lightning(monkeypatch, "fit", *common, *still[:2], "--trainer.max_epochs", "2", "--ckpt_path", last) == 0
    assert run_lightning(monkeypatch, "test", *common, "--ckpt_path", last) == 0
    assert not [record for record in caplog.records if "weights.pth" in record.message]
    capsys.readouterr()
    assert run_lightning(monkeypatch, "fit", *common) == 2
    assert "model.network.pretrained: " in capsys.readouterr().err


MISFITS = [
    (["--model.network.pretrained", "{tmp}/none.pth"], "none.pth does not exist"),
    (["--model.network.pretrained", "{tmp}/weights.pth"], "Only the classifier differs: head='fresh'"),
    (["--model.network.pretrained", "{tmp}/weights.pth"], "In a recipe head is model.network.pretrained_head"),
    (
        ["--model.network.pretrained", "{tmp}/weights.pth", "--model.network.width", "0.125"],
        "another architecture or width",
    ),
    (
        ["--model.network.pretrained", "{tmp}/weights.pth", "--model.network.pretrained_classes", "{tmp}/none.txt"],
        "class names {tmp}/none.txt cannot be read",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), MISFITS)
def test_weights_that_do_not_fit_are_refused_before_there_is_a_run(
    arguments: list[str],
    message: str,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    create_weights(tmp_path / "weights.pth", num_classes=3)
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    assert run_lightning(monkeypatch, "fit", "--config", config, "--run.output", tmp_path / "runs", *filled) == 2
    printed = capsys.readouterr().err
    assert message.format(tmp=tmp_path) in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "runs").exists()


NAMES = [
    ("a.txt", "run\n  long jump \n\n", ("run", "long jump")),
    ("a.txt", "\ufeffrun\r\njump", ("run", "jump")),
    ("a.json", '["run", "jump"]', ("run", "jump")),
    # pytorchvideo's kinetics_classnames.json, and Something-Something's labels.json.
    ("a.json", '{"\\"long jump\\"": 1, "run": 0}', ("run", "long jump")),
    ("a.json", '{"jump": "1", "run": "0"}', ("run", "jump")),
]


@pytest.mark.parametrize(("name", "text", "expected"), NAMES)
def test_files_of_class_names(name: str, text: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_class_names(tmp_path / name) == expected


BAD_NAMES = [
    ("a.json", b"{", "are not JSON"),
    ("a.json", b"[" * 100_000, "are not JSON"),
    ("a.json", b"3", "must be a list of names"),
    ("a.json", b"[]", "must be a list of names"),
    ("a.json", b"[1]", "must be a list of names"),
    ("a.json", b"{}", "must be a list of names"),
    ("a.json", b'{"run": 1}', "the indices must be 0 to 0"),
    ("a.json", b'{"run": null}', "the indices must be 0 to 0"),
    ("a.json", b'{"run": 0, "jump": 0}', "the indices must be 0 to 1"),
    ("a.txt", b"\n", "must be a list of names"),
    ("a.txt", b"\xff\xfe", "cannot be read"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_NAMES)
def test_files_that_are_no_class_names(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_class_names(tmp_path / name)
