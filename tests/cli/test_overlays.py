"""The overlays for several devices and nodes, and the commands of docs/scaling.md that use them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from videosoft.cli import main
from videosoft.recipes import find_packaged_overlays, resolve_configs

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "scaling.md").read_text()
BLOCKS = [block for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) if "fit --config" in block]


def print_config(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> dict[str, Any]:
    """What the parser makes of ``lightning fit`` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["lightning", "fit", *arguments, "--print_config"])
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    assert stop.value.code in (0, None), printed.err
    return yaml.safe_load(printed.out)


def test_overlays_are_listed_and_found_by_their_name(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    overlays = find_packaged_overlays()
    assert (
        set(overlays)
        == {f"overlays/{path.name}" for path in (REPOSITORY / "configs" / "overlays").glob("*.yaml")}
        == {"overlays/ddp.yaml", "overlays/fsdp2.yaml", "overlays/nodes.yaml"}
    )
    monkeypatch.setattr(sys, "argv", ["lightning", "configs"])
    assert main() == 0
    printed = capsys.readouterr().out
    for name, path in overlays.items():
        assert re.search(rf"^{name} +\w", printed, re.MULTILINE)
        assert resolve_configs(["fit", "--config", name]) == ["fit", "--config", str(path)]


def collect_arguments(block: str, folder: Path) -> list[str]:
    """What `lightning fit` is given when the commands are run with stand-ins for the launchers."""
    for name in ("lightning", "srun", "torchrun"):
        script = folder / name
        script.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", block], env=environment, capture_output=True, text=True, check=True)
    words = done.stdout.splitlines()
    return words[words.index("fit") + 1 :]


@pytest.mark.parametrize("block", BLOCKS)
def test_the_commands_of_the_page_are_parsed(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = print_config(monkeypatch, capsys, *collect_arguments(block, tmp_path))
    trainer = config["trainer"]
    assert (trainer["accelerator"], trainer["devices"], trainer["sync_batchnorm"]) == ("gpu", "auto", True)
    assert trainer["strategy"] == ("fsdp2" if "fsdp2" in block else "ddp")
    assert config["model"]["network"]["pool"] == "soft"
    num_nodes = int((re.search(r"nodes[ =](\d+)", block) or [0, "1"])[1])
    assert trainer["num_nodes"] == num_nodes
    # Hara's batch, on as many devices as the page speaks of.
    assert config["data"]["batch_size"] * 8 * num_nodes == 128
    assert config["run"]["checkpoint_every"] == (500 if num_nodes > 1 else None)


def test_the_page_has_a_command_for_each_case() -> None:
    assert len(BLOCKS) == 4
