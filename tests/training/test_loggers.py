"""What a fit leaves in its loggers, and what happens where they cannot write."""

import csv
import json
import logging
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
import pytest
from lightning.pytorch.loggers import CSVLogger
from lightning_runs import run_lightning
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb_files import read_wandb_file

from videosoft.errors import InputError
from videosoft.training.console import silence_advertisements
from videosoft.training.loggers import TolerantLogger
from videosoft.training.loggers.metrics_csv import MetricsCsvLogger
from videosoft.training.loggers.wandb_logger import RunWandbLogger

LOGGED = {
    "train/loss",
    "train/top1",
    "train/gradient_norm",
    "val/loss",
    "val/1x1_top1",
    "val/1x1_top5",
    "lr-SGD",
    "clips_per_second",
    "data_wait_percent",
}


class Messages(logging.Handler):
    """What Lightning's log says: it does not reach the root, where pytest listens."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def count(self, part: str) -> int:
        return sum(part in text for text in self.texts)


@pytest.fixture
def messages() -> Iterator[Messages]:
    log, handler = logging.getLogger("lightning.pytorch.utilities.rank_zero"), Messages()
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.fixture
def no_wandb_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no_netrc"))


@pytest.fixture(scope="module")
def run_dir(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished fit of two epochs with all loggers, without a key of wandb."""
    output = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        monkeypatch.delenv("WANDB_MODE", raising=False)
        monkeypatch.setenv("NETRC", str(output / "no_netrc"))
        loggers = ("--run.wandb", "auto", "--run.tensorboard", "true")
        assert run_lightning(monkeypatch, "fit", "--config", config, "--run.output", output, *loggers) == 0
    return output / "tiny" / "version_0"


def test_metrics_csv_has_all_metrics(run_dir: Path) -> None:
    with (run_dir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {name for row in rows for name, value in row.items() if value} >= LOGGED


def test_tensorboard_has_all_metrics(run_dir: Path) -> None:
    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) >= LOGGED
    assert len(events.Scalars("val/1x1_top1")) == 2
    assert len(events.Images("val/hard_clips")) == len(events.Images("val/confusion_matrix")) == 2


def test_the_wandb_folder_is_complete(run_dir: Path) -> None:
    (folder,) = (run_dir / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    records = read_wandb_file(file)
    kinds = {record.WhichOneof("record_type") for record in records}
    assert kinds >= {"header", "run", "config", "history", "summary", "exit"}
    keys = {key for record in records for item in record.history.item for key in (item.key, *item.nested_key)}
    assert keys >= LOGGED
    (run,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert run.display_name == "tiny/version_0"
    configured = {item.key: json.loads(item.value_json) for record in records for item in record.config.update}
    assert configured["model"]["optimizer"]["init_args"]["lr"] == 0.01
    images = [record.files.files[0].path for record in records if record.WhichOneof("record_type") == "files"]
    assert all(any(name in path for path in images) for name in ("hard_clips", "confusion_matrix"))
    assert all((folder / "files" / path).is_file() for path in images)
    # Files of artifacts lie in the user's home, and would be missed by `wandb sync` on another machine.
    assert "artifact" not in kinds
    assert [record.exit.exit_code for record in records if record.WhichOneof("record_type") == "exit"] == [0]


def test_online_needs_a_key(
    config: Path,
    tmp_path: Path,
    no_wandb_key: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("--run.output", tmp_path / "runs", "--run.wandb", "online")
    assert run_lightning(monkeypatch, "fit", "--config", config, *arguments) == 2
    assert "no key of wandb is configured" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_no_logger_at_all_is_refused(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--run.output", tmp_path / "runs", "--trainer.logger", "false")
    assert run_lightning(monkeypatch, "fit", "--config", config, *arguments) == 2
    assert "a run always writes its metrics.csv" in capsys.readouterr().err


@pytest.mark.parametrize("is_required", [True, False])
def test_wandb_that_cannot_begin(is_required: bool, tmp_path: Path, messages: Messages) -> None:
    (tmp_path / "wandb").touch()  # a file where its folder should be
    logger = RunWandbLogger("name", tmp_path, mode="offline", is_required=is_required)
    if is_required:
        with pytest.raises(InputError, match=r"wandb cannot begin: .*--run\.wandb off"):
            _ = logger.experiment
        return
    _ = logger.experiment
    logger.log_metrics({"a": 1.0}, 0)
    logger.finalize("success")
    assert messages.count("the run goes on without wandb") == 1


KILLED_SERVICE = """
import sys, psutil
from pathlib import Path
from videosoft.training.loggers.wandb_logger import RunWandbLogger

logger = RunWandbLogger("name", Path(sys.argv[1]), mode="offline", is_required=True)
logger.log_metrics({"a": 1.0}, 0)
killed = [child for child in psutil.Process().children(recursive=True) if "wandb" in child.name()]
for child in killed:
    child.kill()
psutil.wait_procs(killed)
for step in range(20):
    logger.log_metrics({"a": 1.0}, step)
logger.finalize("success")
print("the training went on after", len(killed) > 0)
"""


@pytest.mark.slow
def test_a_service_of_wandb_that_dies_costs_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_SERVICE, str(tmp_path)]
    # Without the address of the service that this process may have by now.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert "the training went on after True" in done.stdout
    assert done.stderr.count("RunWandbLogger cannot log any more") == 1


class FailingLogger(TolerantLogger, CSVLogger):
    num_calls = 0

    def save(self) -> None:
        FailingLogger.num_calls += 1
        raise TypeError("a library's own mistake")

    def log_picture(self, key: str, picture: object, step: int) -> None: ...

    def log_stills(self, *args: object) -> None: ...


def test_a_logger_that_fails_is_asked_once(tmp_path: Path, messages: Messages) -> None:
    logger = FailingLogger(tmp_path, flush_logs_every_n_steps=1)
    for step in range(3):
        logger.log_metrics({"a": 1.0}, step)
    logger.finalize("success")
    assert FailingLogger.num_calls == 1
    assert messages.count("FailingLogger cannot log any more") == 1


@contextmanager
def limit_file_size(num_bytes: int) -> Iterator[None]:
    """As on a disk that is full: what goes beyond is an OSError, after what still fitted was written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("names", [("loss",), ("loss", "lr")])
def test_a_full_disk_tears_no_row_of_metrics_csv(names: tuple[str, ...], tmp_path: Path, messages: Messages) -> None:
    """With a new column, for which the whole file is written anew, and without."""
    logger = MetricsCsvLogger(tmp_path, name="tiny", flush_logs_every_n_steps=1)
    path = Path(logger.log_dir, "metrics.csv")
    logger.log_metrics({"loss": 0.0}, 0)
    before = path.read_text()
    with limit_file_size(len(before) + 3):
        for step in range(1, 4):
            logger.log_metrics(dict.fromkeys(names, float(step)), step)
    assert path.read_text() == before
    assert messages.count("metrics.csv") == 1
    logger.finalize("success")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["loss"]) for row in rows] == [("0", "0.0"), ("1", "1.0"), ("2", "2.0"), ("3", "3.0")]
    assert set(rows[0]) == {"step", *names}


def test_lightning_does_not_advertise(messages: Messages) -> None:
    silence_advertisements()
    L.Trainer(accelerator="cpu", logger=False)
    assert messages.count("GPU available") == 1
    assert messages.count("Tip") == 0
