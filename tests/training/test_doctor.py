"""`lightning doctor`: sound runs pass, doomed ones are named and exit non-zero."""

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest
import torch
from lightning_runs import run_lightning
from torch import nn

from videosoft.models import create_model
from videosoft.training.doctor import environment
from videosoft.training.doctor.data import DecodeRate
from videosoft.training.doctor.memory import estimate_largest_batch, measure_saved_bytes
from videosoft.training.doctor.speed import judge_feeding

FAST = ("--doctor.num_videos", "12", "--doctor.seconds", "0.1")


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))


def test_without_a_config_it_describes_the_installation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_lightning(monkeypatch, "doctor") == 0
    printed = capsys.readouterr().out
    assert f"torch {torch.__version__.partition('+')[0]}" in printed
    assert "softpool         cpu: " in printed
    assert "lightning script" in printed


def test_help_is_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_lightning(monkeypatch, "doctor", "--help") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: lightning doctor [")
    assert "nothing is written" in printed
    assert "--doctor.seconds" in printed


def test_a_sound_run(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_lightning(monkeypatch, "doctor", "--config", config, *FAST) == 0
    lines = capsys.readouterr().out.splitlines()
    topics = {line[6:22].strip(): line for line in lines}
    assert "11 of 12 videos (1 missing), 91.7%, of 2 classes" in topics["train videos"]
    assert "8 of 12 videos could be used" in topics["decoding"]
    assert topics["batch size"].startswith("ok ")
    assert topics["epoch"].startswith("ok ")
    assert lines[-1].startswith("the run would work: ")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.root", "/nowhere"], "FAIL  data and network data root /nowhere is not a folder"),
        (["--data.batch_size", "100000000"], "lower --data.batch_size"),
        (["--data.num_frames", "100"], "none of 12 training videos could be used"),
        (["--model.network.name", "r3d51"], "unknown model 'r3d51'. Did you mean r3d50"),
        (["--run.output", "/dev/null"], "FAIL  run's folder     output folder /dev/null/"),
        (["--trainer.precision", "bf16-true"], "FAIL  precision        trainer.precision: bf16-true is not known"),
        (["--trainer.max_epochs", "0"], "FAIL  training         trainer.max_epochs=0 trains nothing"),
        (
            ["--trainer.strategy", "fsdp2", "--trainer.precision", "16-mixed"],
            "FAIL  training         trainer.precision: 16-",
        ),
        (["--trainer.limit_val_batches", "0.001"], "FAIL  training         trainer.limit_val_batches=0.001 of"),
    ],
)
def test_a_doomed_run(
    config: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_lightning(monkeypatch, "doctor", "--config", config, *FAST, *arguments) == 1
    printed = capsys.readouterr().out
    assert message in printed
    assert "the run would FAIL: 1 failed" in printed


def test_broken_videos_are_named(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*FAST, "--data.num_frames", "100")
    assert run_lightning(monkeypatch, "doctor", "--config", config, *arguments) == 1
    assert "brighter-train-0_000000_000001.mp4: 12 frames, but a clip spans 100" in capsys.readouterr().out


def test_no_videos_to_try_are_refused(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_lightning(monkeypatch, "doctor", "--config", config, "--doctor.num_videos", "0") == 2


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    # per_worker and training are clips/s; expected: rate of one device, and what to do.
    ("per_worker", "training", "num_workers", "num_devices", "shares_cores", "rate", "advice"),
    [
        (10, 15, 2, 1, False, 15, None),
        (10, 25, 2, 1, False, 20, "3 workers would feed it"),
        (10, 100, 4, 1, False, 40, "it would take 10 cores a device (4 are here)"),
        (10, 100, 8, 1, False, 40, "it would take 10 cores a device (4 are here)"),  # more workers than cores
        (10, 15, 8, 1, False, 15, "more than 4 workers a device only take memory"),
        (10, 40, 4, 2, False, 20, "it would take 4 cores a device (4 are here)"),
        (30, 10, 0, 1, False, 7.5, "1 workers would feed it"),  # they take turns
        (10, 10, 4, 1, True, 8, None),  # a quarter of the cores decodes
    ],
)
def test_feeding(
    per_worker: float,
    training: float,
    num_workers: int,
    num_devices: int,
    shares_cores: bool,
    rate: float,
    advice: str | None,
) -> None:
    feeding, epoch = judge_feeding(
        DecodeRate(per_worker, num_tried=10, num_usable=9),
        training,
        num_workers=num_workers,
        num_videos=1000,
        num_devices=num_devices,
        shares_cores=shares_cores,
    )
    assert (feeding.severity == "warn") == (advice is not None)
    assert (advice or "") in feeding.text
    assert f"at {rate * num_devices:.1f} clips/s" in epoch.text
    seconds = 900 / (rate * num_devices)
    assert (f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min") in epoch.text


def test_saved_bytes_of_a_known_network() -> None:
    # A linear layer keeps its input, a ReLU its output, the loss its log-softmax and its labels (8 bytes each).
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)).to("meta")
    expected = 5 * (6 * 4 + 4 * 4 + 3 * 4 + 8) + 4 * 4 * 3  # and the transposed weight of the second layer
    assert measure_saved_bytes(network, (6,), 5) == pytest.approx(expected, abs=64)


def test_estimated_batch_grows_with_memory() -> None:
    with torch.device("meta"):
        network = create_model("r3d50", num_classes=700)
    shape = (3, 16, 112, 112)
    assert estimate_largest_batch(network, shape, 10**8) == 0
    small, large = (estimate_largest_batch(network, shape, num_gib * 2**30) for num_gib in (8, 16))
    # Measured on a CPU: 177 MiB a clip, from the peak of processes that train 2 and 4 clips.
    assert large - small == pytest.approx(8 * 1024 / 177, rel=0.15)


@pytest.mark.parametrize(
    ("content", "owners", "severity", "text"),
    [
        ("from videosoft.cli import main", ["videosoft"], "ok", "is ours"),
        ("from videosoft.cli import main", ["lightning-sdk", "videosoft"], "note", "the last one wins"),
        ("from lightning_sdk.cli", ["lightning-sdk", "videosoft"], "warn", "is that of lightning-sdk: python -m pip"),
        (None, ["videosoft"], "warn", "there is none: python -m pip install --force-reinstall"),
    ],
)
def test_script_owner(
    content: str | None,
    owners: list[str],
    severity: str,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if content is not None:
        script = tmp_path / "lightning"
        script.write_text(content)
        script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(environment, "_find_script_claims", lambda: owners)
    finding = environment._check_script_owner()
    assert finding.severity == severity
    assert text in finding.text


def test_malicious_versions_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.6.2" if name == "lightning" else real(name))
    failed = [finding for finding in environment.check_environment() if finding.severity == "FAIL"]
    assert [finding.text for finding in failed] == [
        "lightning 2.6.2 is a malicious upload: pip install --upgrade lightning"
    ]
