"""FSDP2 on two processes: the training, the checkpoints and the evaluation of one process; every network can be cut."""

import copy
import csv
import json
import math
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import scale_probe
import torch
import torch.distributed
import yaml
from lightning_runs import run_lightning, write_video
from test_scale import run_in_new_process
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from videosoft.models import create_model, load_checkpoint
from videosoft.training.fully_sharded import find_units

# Small enough that the probe network's two layers are gathered one after the other.
SHARDED = {"class_path": "videosoft.training.FullyShardedStrategy", "init_args": {"unit_size": 10}}


def prepare_fit(config: Path, folder: Path, *, num_processes: int, end: dict[str, Any] | None = None) -> list[str]:
    """A fit of the probe network, four clips a step, clipped gradients, two groups of parameters, broken videos."""
    folder.mkdir(exist_ok=True)
    # It spoils nothing: a process that is started anew comes to know the probe network by it.
    callbacks: list[dict[str, Any]] = [{"class_path": "scale_probe.SpoilLoss", "init_args": {"steps": []}}]
    if end is not None:
        callbacks.append({"class_path": "resume_probe.SignalAt", "init_args": end})
    content = yaml.safe_load(config.read_text())
    content["run"].update(output=str(folder / "runs"), name="sharded", hard_clips=0)
    content["model"].update(network={"name": scale_probe.NAME}, undecayed=["norms", "biases"])
    content["model"]["optimizer"]["init_args"].update(lr=0.5, weight_decay=0.01)
    content["data"]["batch_size"] = 4 // num_processes
    content["trainer"].update(
        max_epochs=4,
        devices=num_processes,
        strategy=SHARDED if num_processes > 1 else "auto",
        gradient_clip_val=0.2,
        callbacks=callbacks,
    )
    path = folder / "sharded.yaml"
    path.write_text(yaml.safe_dump(content))
    return ["fit", "--config", str(path)]


def find_run(folder: Path) -> Path:
    return folder / "runs" / "sharded" / "version_0"


def read_metric(folder: Path, name: str) -> dict[str, float]:
    """Step -> value."""
    with (find_run(folder) / "metrics.csv").open() as file:
        return {row["step"]: float(row[name]) for row in csv.DictReader(file) if row[name]}


def load(folder: Path, name: str = "last.ckpt") -> dict[str, Any]:
    return torch.load(find_run(folder) / "checkpoints" / name, weights_only=True)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As many threads as the other processes have: the sums of a convolution depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """A run in this process leaves its rendezvous there, whose port others would then take."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def config(config: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a good video after the broken ones: of two processes the first one's last validation batch is all broken."""
    folder = tmp_path_factory.mktemp("uneven")
    shutil.copytree(root, folder / "data")
    write_video(folder / "data" / "val" / "darker" / "darker-val-last_000000_000001.mp4", 12, rising=False)
    with (folder / "data" / "val.csv").open("a", newline="") as file:
        csv.writer(file).writerow(["darker", "darker-val-last", 0, 1, "val"])
    content = yaml.safe_load(config.read_text())
    content["data"]["root"] = str(folder / "data")
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def one(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run_lightning(monkeypatch, *prepare_fit(config, folder, num_processes=1)) == 0
    return folder


@pytest.mark.slow
def test_two_processes_train_terminate_go_on_and_test_as_one(
    config: Path, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the order of float32 sums differs; also on one process goes on what was sharded."""
    cut, resumed, whole = tmp_path / "cut", tmp_path / "resumed", tmp_path / "whole"
    end = {"number": int(signal.SIGTERM), "hook": "on_train_batch_start", "step": 6, "rank": 1}
    code, log = run_in_new_process(tmp_path, prepare_fit(config, cut, num_processes=2, end=end))
    assert code == 128 + signal.SIGTERM, log
    assert load(cut)["global_step"] == 7
    code, log = run_in_new_process(
        tmp_path, [*prepare_fit(config, resumed, num_processes=2), "--ckpt_path", str(find_run(cut))]
    )
    assert code == 0, log
    assert run_lightning(monkeypatch, *prepare_fit(config, whole, num_processes=1), "--ckpt_path", find_run(cut)) == 0

    losses = list(read_metric(one, "train/loss").values())
    assert len(losses) == 12
    assert max(losses) - min(losses) > 0.05
    # The loss of the step that a signal comes in is not logged, but made: the next ones fit.
    told_apart = {"train/loss": 1e-5, "train/gradient_norm": 1e-4, "val/loss": 1e-4, "val/1x1_top1": 0}
    for later in (resumed, whole):
        for metric, tolerance in told_apart.items():
            expected = read_metric(one, metric)
            found = {**read_metric(cut, metric), **read_metric(later, metric)}
            assert expected.keys() - found.keys() <= {"6"}
            assert found == pytest.approx({step: expected[step] for step in found}, rel=tolerance, abs=1e-6)
        # Names, numbers of the optimiser's parameters and what it keeps of each are those of one process.
        for key in ("state_dict", "optimizer_states"):
            torch.testing.assert_close(load(later)[key], load(one)[key], rtol=1e-4, atol=5e-5)
    assert max(read_metric(one, "train/gradient_norm").values()) > 0.2  # some are clipped

    best = find_run(resumed) / "checkpoints" / "best.ckpt"
    loaded = load_checkpoint(best)
    assert loaded.network(torch.zeros(1, 3, 8, 32, 32)).shape == (1, 2)
    assert loaded.metadata["recipe"]["trainer"]["strategy"]["class_path"].endswith("FullyShardedStrategy")
    assert json.loads((find_run(resumed) / "recipe_card.json").read_text())["model"]["name"] == scale_probe.NAME
    verb = ["test", "--config", str(find_run(resumed) / "config.yaml"), "--ckpt_path", str(best)]
    code, log = run_in_new_process(tmp_path, [*verb, "--run.version", "two"])
    assert code == 0, log
    alone = ["--trainer.devices", "1", "--trainer.strategy", "auto", "--run.version", "one"]
    assert run_lightning(monkeypatch, *verb, *alone) == 0
    tables = []
    for version in ("one", "two"):
        (path,) = find_run(resumed).with_name(version).rglob("predictions.parquet")
        tables.append(pq.read_table(path).to_pylist())
    columns = ("video_id", "status", "prediction", "probabilities", "logits")
    assert [[row[column] for column in columns] for row in tables[0]] == [
        [row[column] for column in columns] for row in tables[1]
    ]
    assert [row["status"] for row in tables[0]].count("ok") == 9


# Each row: what is added to a recipe, what the message must say.
REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"callbacks": [{"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging"}]},
        "trainer.callbacks: EMAWeightAveraging copies the whole network",
    ),
    ({"precision": "16-mixed"}, "choose 32-true or bf16-mixed"),
    ({"strategy": {"class_path": "lightning.pytorch.strategies.ModelParallelStrategy"}}, "use trainer.strategy: fsdp2"),
    ({"sync_batchnorm": True}, "trainer.sync_batchnorm: true needs GPUs"),
    (
        {"strategy": {"class_path": "videosoft.training.FullyShardedStrategy", "init_args": {"unit_size": 0}}},
        "unit_size",
    ),
]


@pytest.mark.parametrize(("trainer", "message"), REFUSED)
def test_what_does_not_go_together_is_refused(
    trainer: dict[str, Any],
    message: str,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = yaml.safe_load(config.read_text())
    content["run"]["output"] = str(tmp_path / "runs")
    content["trainer"].update({"strategy": "fsdp2", **trainer})
    path = tmp_path / "refused.yaml"
    path.write_text(yaml.safe_dump(content))
    try:
        assert run_lightning(monkeypatch, "fit", "--config", path) == 2
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    assert message in capsys.readouterr().err


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """A group of this process alone."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


# One of each family: network, width, clip.
NETWORKS = [
    ("r3d50", 0.0625, (8, 32, 32)),
    ("slowfast_r50", 0.125, (32, 32, 32)),
    ("x3d_xs", 0.25, (4, 64, 64)),
    ("r2plus1d_r50", 0.125, (4, 32, 32)),
]


@pytest.mark.parametrize(("name", "width", "clip"), NETWORKS)
def test_a_network_in_parts_computes_what_it_computes_whole(
    name: str, width: float, clip: tuple[int, ...], mesh: DeviceMesh
) -> None:
    torch.manual_seed(0)
    whole = create_model(name, num_classes=3, width=width)
    cut = copy.deepcopy(whole)
    num_parameters = sum(parameter.numel() for parameter in whole.parameters())
    units = find_units(cut, math.ceil(num_parameters / 8))
    assert len(units) > 2
    assert units[-1] is cut
    for unit in units:
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)
    video = torch.rand(2, 3, *clip)
    gradients = []
    for network in (whole, cut):
        torch.manual_seed(1)  # dropout
        network(video).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert isinstance(cut, FSDPModule)
    for expected, found in zip(*gradients, strict=True):
        assert torch.equal(found.full_tensor(), expected)
