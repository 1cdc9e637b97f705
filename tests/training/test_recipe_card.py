"""The recipe card: the same in the run's folder and in its checkpoints, printed, and harmless."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from lightning_runs import run_lightning

from videosoft.models import create_model, format_card, load_checkpoint
from videosoft.training.recipe_card import describe_checkout


@pytest.fixture(scope="module")
def run_dir(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        arguments = ("--run.output", output, "--trainer.max_epochs", "1", "--trainer.limit_val_batches", "0")
        assert run_lightning(monkeypatch, "fit", "--config", config, *arguments) == 0
    return output / "tiny" / "version_0"


def test_folder_and_checkpoint_hold_the_same_card(run_dir: Path) -> None:
    card = json.loads((run_dir / "recipe_card.json").read_text())
    last = run_dir / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["videosoft"] == card
    network = create_model("r3d50", num_classes=2, pool="soft", width=0.0625)
    assert card["size"]["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert card["size"]["input"] == [3, 8, 32, 32]
    assert card["size"]["multiply_adds"] > 1e6
    assert {"videosoft", "torch", "python", "lightning", "decord2", "cuda"} <= card["versions"].keys()
    assert card["data"]["coverage"]["train"] == {"num_listed": 12, "num_found": 11}
    assert len(card["data"]["manifest_hash"]["train"]) == 64
    assert card["recipe"]["trainer"]["max_epochs"] == 1
    assert load_checkpoint(last).metadata["recipe"] == card["recipe"]


def test_the_page_says_it_for_readers(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (run_dir / "recipe_card.md").read_text()
    for text in (
        "# Recipe card: r3d50",
        "| input | 3 x 8 x 32 x 32",
        "| data, train | 11 of 12 videos",
        "max_epochs: 1",
    ):
        assert text in page
    last = run_dir / "checkpoints" / "last.ckpt"
    capsys.readouterr()
    assert run_lightning(monkeypatch, "card", last) == 0
    assert capsys.readouterr().out.strip() == page.strip()
    assert run_lightning(monkeypatch, "card", last, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((run_dir / "recipe_card.json").read_text())


def test_older_cards_are_printed_and_hostile_ones_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = {"model": {"name": "a|b"}, "class_names": ["\x1b[2J", "<script>", "x\ny"], "preprocessing": {"crop": 112}}
    page = format_card(card)
    assert "| preprocessing, crop | 112 |" in page
    assert "a\\|b" in page
    assert "\x1b" not in page
    assert "\\<script>" in page
    assert "x y" in page
    for content, message in (({"a": torch.ones(1)}, "no recipe card"), ({"videosoft": {"size": {"x": 1}}}, "damaged")):
        torch.save(content, tmp_path / "file.ckpt")
        assert run_lightning(monkeypatch, "card", tmp_path / "file.ckpt") == 2
        assert message in capsys.readouterr().err


def test_a_checkout_is_described(tmp_path: Path) -> None:
    assert describe_checkout(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "file").write_text("1")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], check=True)
    checkout = describe_checkout(tmp_path)
    assert checkout is not None
    assert len(checkout["revision"]) == 40
    assert not checkout["is_dirty"]
    (tmp_path / "file").write_text("2")
    assert describe_checkout(tmp_path) == {"revision": checkout["revision"], "is_dirty": True}
