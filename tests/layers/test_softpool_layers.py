"""The modules: they do what the functions do, and survive copying, pickling and saving."""

import copy
import pickle

import pytest
import torch
from torch import nn

from videosoft.errors import InputError
from videosoft.layers import SoftPool1d, SoftPool2d, SoftPool3d, create_pool3d
from videosoft.ops import softpool1d, softpool2d, softpool3d

LAYERS = [(SoftPool1d, softpool1d, 1), (SoftPool2d, softpool2d, 2), (SoftPool3d, softpool3d, 3)]
OPTIONS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "temperature": 0.5, "gradient": "paper"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("layer", "function", "num_dims"), LAYERS)
def test_a_layer_is_its_function(layer, function, num_dims: int, options: dict[str, object]) -> None:
    input = torch.randn(2, 3, *(7,) * num_dims)
    torch.testing.assert_close(layer(**options)(input), function(input, **options), rtol=0, atol=0)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize(("layer", "function", "num_dims"), LAYERS)
def test_copies_are_the_same_layer(layer, function, num_dims: int, clone) -> None:
    original = layer(3, 2, 1, temperature=2.0, gradient="paper")
    copied = clone(original)
    input = torch.randn(2, 3, *(7,) * num_dims)
    assert repr(copied) == repr(original)
    assert torch.equal(copied(input), original(input))
    assert original.state_dict() == {}


def test_repr_says_what_differs_from_the_default() -> None:
    assert repr(SoftPool2d(2)) == "SoftPool2d(kernel_size=2, stride=2, padding=0)"
    assert repr(SoftPool3d((1, 3, 3), 2, (0, 1, 1), ceil_mode=True, temperature=0.5, gradient="paper")) == (
        "SoftPool3d(kernel_size=(1, 3, 3), stride=2, padding=(0, 1, 1), ceil_mode=True, temperature=0.5,"
        " gradient='paper')"
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("soft", SoftPool3d(3, 2, 1, ceil_mode=True)),
        ("max", nn.MaxPool3d(3, 2, 1, ceil_mode=True)),
        ("avg", nn.AvgPool3d(3, 2, 1, ceil_mode=True, count_include_pad=False)),
    ],
)
def test_create_pool3d(kind: str, expected: nn.Module) -> None:
    pool = create_pool3d(kind, 3, 2, 1, ceil_mode=True)
    input = torch.randn(1, 2, 5, 6, 7)
    assert type(pool) is type(expected)
    assert torch.equal(pool(input), expected(input))


@pytest.mark.parametrize("kind", ["soft", "max", "avg"])
def test_create_pool3d_refuses_the_same_windows_for_every_kind(kind: str) -> None:
    with pytest.raises(InputError, match="padding must be at most half"):
        create_pool3d(kind, 3, 2, 2)
    with pytest.raises(InputError, match="kernel_size must be"):
        create_pool3d(kind, 0)


def test_create_pool3d_names_the_kinds() -> None:
    with pytest.raises(InputError, match="'soft', 'max', 'avg', got 'softmax'"):
        create_pool3d("softmax", 2)
