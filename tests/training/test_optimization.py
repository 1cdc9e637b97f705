"""The optimiser's options: against weight decay worked out by hand, and against a bare PyTorch loop."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning_runs import run_lightning
from torch import nn
from torch.nn import functional as F

from videosoft.data import normalize_clip
from videosoft.errors import InputError
from videosoft.models import create_model
from videosoft.training import KineticsDataModule, NetworkConfig, ScheduleConfig, VideoClassifier
from videosoft.training.optimization import check_optimizer, group_parameters

RATE, DECAY = 0.5, 0.1


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 2, 1)
        self.norm = nn.BatchNorm3d(2)
        self.group_norm = nn.GroupNorm(1, 2)
        self.fc = nn.Linear(2, 2)
        self.tied = nn.Linear(2, 2, bias=False)
        self.tied.weight = self.fc.weight
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(2))


NORMS = {"norm.weight", "norm.bias", "group_norm.weight", "group_norm.bias"}
BIASES = {"conv.bias", "fc.bias"}


@pytest.mark.parametrize(
    ("undecayed", "spared"),
    [((), set()), (("norms",), NORMS), (("biases",), BIASES), (("norms", "biases"), NORMS | BIASES)],
)
def test_weight_decay_spares_what_it_is_told_to(undecayed: Any, spared: set[str]) -> None:
    layers = Layers()
    optimizer = torch.optim.SGD(group_parameters(layers, undecayed), lr=RATE, weight_decay=DECAY)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    untouched = spared | {"frozen.weight", "frozen.bias"}
    for name, parameter in layers.named_parameters():
        expected = 1.0 if name in untouched else 1 - RATE * DECAY
        assert torch.equal(parameter, torch.full_like(parameter, expected)), name


def train_by_hand(
    data: KineticsDataModule, network: nn.Module, *, num_accumulated: int, clip_norm: float | None, rate: float
) -> nn.Module:
    """An epoch of SGD with momentum as one would write it without any framework."""
    spared = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    norms = [parameter for module in spared for parameter in module.parameters()]
    others = [parameter for parameter in network.parameters() if not any(parameter is norm for norm in norms)]
    groups = [{"params": others}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9, weight_decay=DECAY)
    mean, std = data.preprocessing.mean, data.preprocessing.std
    network.train()
    batches = list(data.create_training_loader(epoch=0))
    for number, batch in enumerate(batches, start=1):
        if len(batch["label"]) > 1 or not batch["failures"]:
            logits = network(normalize_clip(batch["video"], mean, std))
            (F.cross_entropy(logits, batch["label"]) / num_accumulated).backward()
        if number % num_accumulated == 0 or number == len(batches):
            if clip_norm is not None:
                nn.utils.clip_grad_norm_([*others, *norms], clip_norm)
            optimizer.step()
            optimizer.zero_grad()
    return network


@pytest.mark.parametrize(("num_accumulated", "clip_norm"), [(1, None), (1, 0.5), (2, None), (4, 0.5)])
def test_an_epoch_is_what_a_bare_loop_makes_of_it(root: Path, num_accumulated: int, clip_norm: float | None) -> None:
    """Broken videos included: with two clips a batch, some batches have one or none left and are left out."""
    size, rate = 2, 0.02
    data = KineticsDataModule(
        str(root), num_frames=8, short_side=32, crop=32, batch_size=size, num_workers=0, val_split="val", seed=3
    )
    torch.manual_seed(0)
    classifier = VideoClassifier(
        NetworkConfig(name="r3d50", pool="soft", width=0.0625),
        optimizer=lambda groups: torch.optim.SGD(groups, lr=rate, momentum=0.9, weight_decay=DECAY),
        schedule=ScheduleConfig(kind="multistep", milestones=[9]),
        undecayed=("norms",),
        reference_batch_size=8,
    )
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        accumulate_grad_batches=num_accumulated,
        gradient_clip_val=clip_norm,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(classifier, datamodule=data)
    assert any(len(batch["label"]) < 2 for batch in data.create_training_loader(epoch=0))

    torch.manual_seed(0)
    network = create_model("r3d50", num_classes=2, pool="soft", width=0.0625)
    start = [parameter.clone() for parameter in network.parameters()]
    scaled = rate * size * num_accumulated / 8
    train_by_hand(data, network, num_accumulated=num_accumulated, clip_norm=clip_norm, rate=scaled)
    assert not all(torch.equal(a, b) for a, b in zip(start, network.parameters(), strict=True))
    assert classifier.network is not None
    for (name, ours), expected in zip(classifier.network.named_parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, expected), name


# Each row: clips of a batch as asked for, accumulated batches, clips of a batch of 12 videos, the rate for 32 is 0.01.
SCALED = [(4, 2, 4, 0.0025), (100, 1, 12, 0.00375)]


@pytest.mark.parametrize(("batch_size", "num_accumulated", "num_clips", "rate"), SCALED)
def test_the_scaled_learning_rate_is_printed_with_its_numbers(
    batch_size: int,
    num_accumulated: int,
    num_clips: int,
    rate: float,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    arguments = ("--model.reference_batch_size", "32", "--trainer.accumulate_grad_batches", num_accumulated)
    arguments = (*arguments, "--data.batch_size", batch_size)
    last = tmp_path / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    with caplog.at_level("INFO"):
        assert run_lightning(monkeypatch, "fit", "--config", config, "--run.output", tmp_path, *arguments) == 0
    total = num_clips * num_accumulated
    assert (
        f"learning rate 0.01 x {total} / 32 = {rate}: a step has {total} clips "
        f"({num_clips} a batch x {num_accumulated} accumulated x 1 devices)"
    ) in caplog.text
    (state,) = torch.load(last, weights_only=True)["optimizer_states"]
    assert math.isclose(state["param_groups"][0]["initial_lr"], rate)


def test_a_training_is_not_resumed_with_other_parameter_groups(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("fit", "--config", config, "--run.output", tmp_path, "--trainer.max_epochs")
    assert run_lightning(monkeypatch, *base, "1") == 0
    last = tmp_path / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    code = run_lightning(monkeypatch, *base, "2", "--ckpt_path", last, "--model.undecayed", "[norms, biases]")
    assert code == 2
    assert "resume with the model.undecayed that it was trained with" in capsys.readouterr().err


def test_sync_batch_norm_on_a_cpu_is_refused() -> None:
    trainer: Any = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu")), lightning_module=nn.SyncBatchNorm(2)
    )
    with pytest.raises(InputError, match=r"sync_batchnorm: true needs GPUs"):
        check_optimizer(torch.optim.SGD([nn.Parameter(torch.ones(1))]), trainer)
