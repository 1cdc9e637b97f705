"""Swapping poolings in networks that were not made for it."""

import dataclasses

import pytest
import torch
import torchvision
from torch import nn

from videosoft.errors import InputError
from videosoft.layers import ReplacedPooling, SoftPool1d, SoftPool2d, SoftPool3d, replace_pooling


class TinyVideoNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 4, 3, padding=1)
        self.maxpool = nn.MaxPool3d(3, 2, 1)
        self.layers = nn.Sequential(nn.Conv3d(4, 4, 1), nn.AvgPool3d(2, ceil_mode=True))
        self.avgpool = nn.AdaptiveAvgPool3d(1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.avgpool(self.layers(self.maxpool(self.conv1(input)))).flatten(1)


def create_vision_model(name: str) -> nn.Module:
    options = {"init_weights": False, "aux_logits": False} if name == "inception_v3" else {}
    with torch.device("meta"):  # shapes are enough here, weights take time
        return getattr(torchvision.models, name)(weights=None, **options)


@pytest.mark.parametrize(
    ("name", "size", "stem", "all_names"),
    [
        ("resnet18", 64, "maxpool", ["maxpool"]),
        ("inception_v3", 128, "maxpool1", ["maxpool1", "maxpool2"]),
        (
            "densenet121",
            64,
            "features.pool0",
            ["features.pool0", *(f"features.transition{i}.pool" for i in (1, 2, 3))],
        ),
    ],
)
def test_vision_models(name: str, size: int, stem: str, all_names: list[str]) -> None:
    model = create_vision_model(name).eval()
    input = torch.empty(1, 3, size, size, device="meta")
    expected = model(input).shape
    (replaced,) = replace_pooling(model)
    assert replaced.name == stem
    assert replaced.before.startswith("MaxPool2d(kernel_size=3, stride=2")
    assert replaced.after.startswith("SoftPool2d(kernel_size=3, stride=2")
    assert isinstance(model.get_submodule(stem), SoftPool2d)
    assert model(input).shape == expected
    assert [entry.name for entry in replace_pooling(model, "avg", where="all")] == all_names
    assert model(input).shape == expected


def test_every_part_of_the_window_is_kept() -> None:
    model = nn.Sequential(
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)), nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool1d(4)
    )
    assert replace_pooling(model, "soft", "all") == [
        ReplacedPooling(
            "0",
            "MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), dilation=1, ceil_mode=False)",
            "SoftPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))",
        ),
        ReplacedPooling(
            "1",
            "AvgPool2d(kernel_size=3, stride=2, padding=1)",
            "SoftPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)",
        ),
        ReplacedPooling(
            "2",
            "MaxPool1d(kernel_size=4, stride=4, padding=0, dilation=1, ceil_mode=False)",
            "SoftPool1d(kernel_size=4, stride=4, padding=0)",
        ),
    ]
    assert [type(module) for module in model] == [SoftPool3d, SoftPool2d, SoftPool1d]


@pytest.mark.parametrize("to", ["soft", "max", "avg"])
def test_pool_kernel_gives_the_published_form(to: str) -> None:
    model = TinyVideoNet()
    replace_pooling(model, to, pool_kernel=2)
    assert (model.maxpool.kernel_size, model.maxpool.stride, model.maxpool.padding) == (2, 2, 0)
    assert model(torch.randn(2, 3, 8, 16, 16)).shape == (2, 4)


def test_average_pooling_leaves_padding_out() -> None:
    model = TinyVideoNet()
    replace_pooling(model, "avg")
    torch.testing.assert_close(model.maxpool(torch.ones(1, 1, 5, 5, 5)), torch.ones(1, 1, 3, 3, 3))


@pytest.mark.parametrize(
    ("where", "expected"), [("stem", ["maxpool"]), ("all", ["maxpool", "layers.1"]), (r"^layers\.", ["layers.1"])]
)
def test_where_chooses_by_place_or_name(where: str, expected: list[str]) -> None:
    model = TinyVideoNet()
    assert [entry.name for entry in replace_pooling(model, "soft", where)] == expected
    assert isinstance(model.avgpool, nn.AdaptiveAvgPool3d)


def test_there_and_back_is_the_network_it_was() -> None:
    model = TinyVideoNet().eval()
    input = torch.randn(1, 3, 6, 8, 8)
    before = model(input)
    replace_pooling(model, "soft")
    assert not torch.allclose(model(input), before)
    assert not model.maxpool.training
    replace_pooling(model, "max")
    assert torch.equal(model(input), before)


def test_a_shared_pooling_is_swapped_wherever_it_is_used() -> None:
    pool = nn.MaxPool2d(2)
    model = nn.Sequential(pool, pool)
    assert [entry.name for entry in replace_pooling(model, where="all")] == ["0", "1"]
    assert isinstance(model[1], SoftPool2d)


def test_the_report_cannot_be_changed() -> None:
    (entry,) = replace_pooling(TinyVideoNet())
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.name = "other"


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        (TinyVideoNet(), {"to": "softmax"}, ["'soft', 'max', 'avg'", "'softmax'"]),
        (TinyVideoNet(), {"where": "pool9"}, ["'pool9'", "maxpool (MaxPool3d)", "layers.1 (AvgPool3d)"]),
        (TinyVideoNet(), {"where": "("}, ["'stem'", "regular expression", "'('"]),
        (TinyVideoNet(), {"pool_kernel": 0}, ["kernel_size", "got 0"]),
        (nn.Sequential(nn.ReLU()), {}, ["there are: none"]),
        (nn.MaxPool2d(2), {}, ["itself a MaxPool2d"]),
        (nn.Sequential(nn.MaxPool2d(2, dilation=2)), {}, ["0 is MaxPool2d", "dilation=2"]),
        (nn.Sequential(nn.MaxPool2d(2, return_indices=True)), {}, ["return_indices=True"]),
        (nn.Sequential(nn.AvgPool2d(2, divisor_override=3)), {}, ["divisor_override=3"]),
    ],
)
def test_wrong_requests_are_named(model: nn.Module, arguments: dict[str, object], words: list[str]) -> None:
    before = repr(model)
    with pytest.raises(InputError) as error:
        replace_pooling(model, **arguments)
    for word in words:
        assert word in str(error.value)
    assert repr(model) == before


def test_a_softpool_that_stays_one_keeps_its_temperature_and_gradient() -> None:
    network = nn.Sequential(SoftPool3d(2, temperature=4, gradient="paper"))
    (replaced,) = replace_pooling(network, to="soft", pool_kernel=3)
    assert replaced.after == ("SoftPool3d(kernel_size=3, stride=2, padding=0, temperature=4, gradient='paper')")
