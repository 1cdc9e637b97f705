"""The 3-D ResNets against Hara's own weights, outputs and names, and against published sizes."""

import json
from pathlib import Path

import pytest
import torch

from videosoft.errors import InputError
from videosoft.layers import SoftPool3d
from videosoft.models import create_model, load_pretrained

PARITY_WEIGHTS = "parity/hara_r3d50_w0125.pt"
PARITY_KEYS = "parity/hara_r3d50_k700_keys.json"


@pytest.mark.real_data
def test_hara_weights_reproduce_haras_logits(shared_dir: Path) -> None:
    path = shared_dir / PARITY_WEIGHTS
    content = torch.load(path, weights_only=True)
    network = create_model("r3d50", num_classes=content["n_classes"], width=content["widen_factor"]).eval()
    report = load_pretrained(network, path)
    assert report.source == "hara"
    with torch.no_grad():
        logits = network(content["input"])
    assert (logits - content["logits"]).abs().max() < 1e-4


@pytest.mark.real_data
def test_names_and_shapes_are_those_of_haras_kinetics_700_checkpoint(shared_dir: Path) -> None:
    expected = json.loads((shared_dir / PARITY_KEYS).read_text())
    with torch.device("meta"):
        network = create_model("r3d50", num_classes=700)
    assert {name: list(value.shape) for name, value in network.state_dict().items()} == expected


STEM_POOLS = [
    ("r3d50", {"pool": "soft"}, "SoftPool3d", (3, 3, 3), (1, 1, 1)),
    ("r3d50", {"pool": "soft", "pool_kernel": 2}, "SoftPool3d", (2, 2, 2), (0, 0, 0)),
    ("slow_r50", {"pool": "soft"}, "SoftPool3d", (1, 3, 3), (0, 1, 1)),
    ("slow_r50", {"pool": "soft", "pool_kernel": 2}, "SoftPool3d", (1, 2, 2), (0, 0, 0)),
    ("r3d50", {"pool": "max"}, "MaxPool3d", (3, 3, 3), (1, 1, 1)),
    ("r3d50", {"pool": "avg"}, "AvgPool3d", (3, 3, 3), (1, 1, 1)),
]


@pytest.mark.parametrize(("name", "kwargs", "kind", "kernel", "padding"), STEM_POOLS)
def test_stem_pool(name: str, kwargs: dict, kind: str, kernel: tuple, padding: tuple) -> None:
    network = create_model(name, num_classes=2, width=0.0625, **kwargs)
    (pool,) = (
        module for key, module in network.named_modules() if type(module).__name__ == kind and "blocks.5" not in key
    )

    def as_triple(size: int | tuple) -> tuple:
        return tuple(size) if isinstance(size, tuple | list) else (size,) * 3

    assert as_triple(pool.kernel_size) == kernel
    assert as_triple(pool.padding) == padding
    if kind == "AvgPool3d":
        assert pool.count_include_pad is False


@pytest.mark.parametrize("name", ["r3d50", "r3d50_stergiou", "slow_r50"])
@pytest.mark.parametrize("pool_kernel", [None, 2])
def test_temperature_reaches_the_stem_pool(name: str, pool_kernel: int | None) -> None:
    network = create_model(name, num_classes=2, width=0.0625, pool="soft", temperature=4, pool_kernel=pool_kernel)
    (pool,) = (module for module in network.modules() if isinstance(module, SoftPool3d))
    assert pool.temperature == 4


BAD_ARGUMENTS = [
    ("r3d5", {}, r"unknown model 'r3d5'.*Did you mean r3d50"),
    ("resnet", {}, r"Known models: .*r3d50, r3d50_stergiou, .*slow_r50"),
    ("r3d50", {"pool": "mean"}, r"'soft', 'max', 'avg', got 'mean'"),
    ("r3d50", {"pool_kernal": 2}, r"no argument 'pool_kernal'.*'pool_kernel'"),
    ("r3d50", {"pool_kernel": 0}, r"kernel_size.*0"),
    ("r3d50", {"width": 0}, r"width=0"),
    ("r3d50", {"width": 0.001}, r"leaves no channel"),
    ("r3d50", {"num_classes": 0}, r"num_classes=0"),
    ("r3d50", {"dropout": 1.5}, r"dropout=1.5"),
    ("r3d50", {"pool": "soft", "temperature": -1}, r"temperature must be a finite number >= 0.*-1"),
    ("r3d50", {"pool": "max", "temperature": 4}, r"temperature=4 belongs to pool='soft'.*pool='max'"),
    ("slow_r50", {"pool": "avg", "temperature": 4}, r"temperature=4 belongs to pool='soft'.*pool='avg'"),
    ("slow_r50", {"width": 0.001}, r"leaves no channel"),
]


@pytest.mark.parametrize(("name", "kwargs", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_named(name: str, kwargs: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_model(name, **{"num_classes": 2, **kwargs})


@pytest.mark.parametrize("name", ["r3d50", "r3d50_stergiou"])
def test_zero_init_makes_every_bottleneck_its_shortcut(name: str) -> None:
    network = create_model(name, num_classes=2, width=0.0625, zero_init_last_norm=True).eval()
    block = network.layer2[1]
    x = torch.randn(1, block.conv1.in_channels, 2, 4, 4).relu()
    torch.testing.assert_close(block(x), x)
    assert create_model(name, num_classes=2, width=0.0625).layer2[1].bn3.weight.abs().min() == 1
