"""What the Kinetics-700 recipes resolve to, against what their sources say, copied from these by hand."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from videosoft.cli import main
from videosoft.models import create_model
from videosoft.recipes import find_packaged_configs
from videosoft.training.optimization import group_parameters
from videosoft.training.schedules import ScheduleConfig, compute_rate_factor


@dataclass(frozen=True)
class Source:
    """The optimiser of a published recipe, and the learning rates of some epochs."""

    clips_a_step: int
    epochs: int
    weight_decay: float
    rates: dict[float, float]
    nesterov: bool = True
    decays_norms: bool = True
    dropout: float = 0.5
    precise_batches: int = 0
    zero_last_norms: bool = False
    clip_gradients: float | None = None
    pretrained: str | None = None


# configs/Kinetics/pytorchvideo/*.yaml; the rates are those of slowfast/utils/lr_policy.py at these epochs.
PYSLOWFAST = Source(
    clips_a_step=64,
    epochs=196,
    weight_decay=1e-4,
    rates={0: 0.01, 17: 0.05137857, 34: 0.09275714, 98: 0.05, 147: 0.01464466, 196: 0},
    decays_norms=False,
    precise_batches=200,
    zero_last_norms=True,
)
X3D = Source(
    clips_a_step=128,
    epochs=300,
    weight_decay=5e-5,
    rates={0: 0.01, 35: 0.09667902, 150: 0.05, 225: 0.01464466, 300: 0},
    decays_norms=False,
    precise_batches=200,
    zero_last_norms=True,
)
MMACTION2 = Source(
    clips_a_step=256,
    epochs=150,
    weight_decay=1e-4,
    rates={0: 0.004, 5: 0.022, 10: 0.04, 89.9: 0.04, 90: 0.004, 130: 0.0004},
    nesterov=False,
    clip_gradients=40,
    pretrained="resnet50-11ad3fa6.pth",
)
HARA = Source(
    clips_a_step=128,
    epochs=200,
    weight_decay=1e-3,
    rates={0: 0.1, 49.9: 0.1, 50: 0.01, 100: 0.001, 150: 0.0001},
    nesterov=False,
    dropout=0,
)
SRTG = Source(
    clips_a_step=32,
    epochs=130,
    weight_decay=1e-4,
    rates={0: 0.1, 39.9: 0.1, 40: 0.01, 70: 0.001, 95: 0.0001},
    dropout=0,
)

# Each row: network and settings as in the recipe's name, network, clip (frames, stride, short side, crop), source.
SOURCES = [
    ("r3d50", "r3d50", (16, 1, 128, 112), HARA),
    ("r3d50_stergiou", "r3d50_stergiou", (16, 5, 256, 224), SRTG),
    ("slow_r50_4x16", "slow_r50", (4, 16, 256, 224), PYSLOWFAST),
    ("slow_r50_8x8", "slow_r50", (8, 8, 256, 224), PYSLOWFAST),
    ("slow_r50_4x16_imagenet", "slow_r50", (4, 16, 256, 224), MMACTION2),
    ("slow_r50_8x8_imagenet", "slow_r50", (8, 8, 256, 224), MMACTION2),
    ("slowfast_r50", "slowfast_r50", (32, 2, 256, 224), PYSLOWFAST),
    ("r2plus1d_r50", "r2plus1d_r50", (16, 4, 256, 224), PYSLOWFAST),
    ("csn_r101", "csn_r101", (32, 2, 256, 224), PYSLOWFAST),
    ("x3d_s", "x3d_s", (13, 6, 182, 160), X3D),
    ("x3d_m", "x3d_m", (16, 5, 256, 224), X3D),
]


def test_every_recipe_has_its_source_here() -> None:
    names = {name.removesuffix("_softpool_kinetics700.yaml") for name in find_packaged_configs()}
    assert {name for name in names if not name.endswith(".yaml")} == {row[0] for row in SOURCES}


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], dict[str, Any]]:
    def print_config(name: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["lightning", "fit", "--config", name, "--print_config"])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        assert stop.value.code in (0, None), printed.err
        return yaml.safe_load(printed.out)

    return print_config


@pytest.mark.parametrize(("name", "network", "clip", "source"), SOURCES, ids=[row[0] for row in SOURCES])
def test_a_recipe_is_that_of_its_source(
    name: str, network: str, clip: tuple, source: Source, resolve: Callable[[str], dict[str, Any]]
) -> None:
    config = resolve(f"{name}_softpool_kinetics700.yaml")
    model, data, trainer = config["model"], config["data"], config["trainer"]
    assert tuple(data[key] for key in ("num_frames", "sampling_stride", "short_side", "crop")) == clip
    assert model["network"]["name"] == network
    assert model["network"]["pretrained"] == source.pretrained
    assert trainer["max_epochs"] == source.epochs
    assert trainer["gradient_clip_val"] == source.clip_gradients
    # On one device the rate is the published one; with more it grows with the clips of a step.
    assert data["batch_size"] == model["reference_batch_size"] == source.clips_a_step
    assert trainer["accumulate_grad_batches"] == 1

    built = create_model(network, num_classes=5, pool="max", width=0.125)
    assert model["optimizer"]["class_path"] == "torch.optim.SGD"
    optimizer = torch.optim.SGD(group_parameters(built, model["undecayed"]), **model["optimizer"]["init_args"])
    norms = [layer for layer in built.modules() if isinstance(layer, nn.BatchNorm3d)]
    ids = {id(parameter) for norm in norms for parameter in norm.parameters()}
    for group in optimizer.param_groups:
        assert (group["momentum"], group["dampening"], group["nesterov"]) == (0.9, 0, source.nesterov)
        for parameter in group["params"]:
            decays = source.decays_norms or id(parameter) not in ids
            assert group["weight_decay"] == (source.weight_decay if decays else 0)

    schedule = ScheduleConfig(**model["schedule"])
    rate = optimizer.param_groups[0]["lr"]
    rates = {epoch: rate * compute_rate_factor(schedule, epoch, source.epochs) for epoch in source.rates}
    assert rates == pytest.approx(source.rates, abs=1e-8)

    precise = [item for item in trainer["callbacks"] or [] if item["class_path"].endswith("PreciseBatchNorm")]
    assert sum(item["init_args"]["num_batches"] for item in precise) == source.precise_batches
    assert max((layer.p for layer in built.modules() if isinstance(layer, nn.Dropout)), default=0) == source.dropout
    # What the recipe's own options change, these too are.
    assert "dropout" not in model["network"]["options"]
    if source.pretrained is None:
        assert any(not norm.weight.any() for norm in norms) == source.zero_last_norms
