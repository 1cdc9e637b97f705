"""Videos whose clips repeat frames are counted: while training, after a test, and by predict."""

import json
from pathlib import Path

import pytest
from lightning_runs import run_lightning

WORDS = "had frames repeated (shorter than a clip, or of a lower rate)"


def test_they_are_counted_where_they_are_used(
    root: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each split of the small data set has one video of 3 frames beside those of 12; a clip has 8."""
    base = ("--config", config, "--run.output", tmp_path, "--data.short_videos", "loop")
    with caplog.at_level("INFO"):
        assert run_lightning(monkeypatch, "fit", *base, "--trainer.max_epochs", "2") == 0
    # One of the training and one of the validation; in the second epoch both are known.
    counts = [message.split()[0] for message in caplog.messages if message.endswith(WORDS)]
    assert counts == ["2"]
    last = tmp_path / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    capsys.readouterr()
    assert run_lightning(monkeypatch, "test", *base, "--run.version", "test", "--ckpt_path", last) == 0
    assert f"1 of them {WORDS}" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "tiny" / "test" / "metrics.json").read_text())
    assert (metrics["num_evaluated"], metrics["num_repeated"]) == (9, 1)
    short = root / "val" / "darker" / "short-val_000000_000001.mp4"
    good = root / "val" / "darker" / "darker-val-0_000000_000001.mp4"
    options = ("--short_videos", "loop", "--views", "2x1", "--num_workers", "0", "--output", tmp_path / "predicted")
    assert run_lightning(monkeypatch, "predict", "--ckpt_path", last, "--video", good, short, *options) == 0
    assert f"1 of them {WORDS}" in capsys.readouterr().out


def test_without_repeats_nothing_is_said(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    base = ("--config", config, "--run.output", tmp_path, "--trainer.max_epochs", "1")
    with caplog.at_level("INFO"):
        assert run_lightning(monkeypatch, "fit", *base) == 0
    assert WORDS not in caplog.text
