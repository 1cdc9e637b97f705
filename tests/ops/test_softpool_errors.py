"""Wrong arguments: each message names the argument, its value and what is allowed."""

import math

import pytest
import torch

from videosoft.errors import InputError
from videosoft.layers import SoftPool1d, SoftPool2d, SoftPool3d
from videosoft.ops import softpool1d, softpool2d, softpool3d

INPUT = torch.zeros(1, 2, 4, 6, 6)

WRONG_ARGUMENTS = [
    ({"kernel_size": 0}, ["kernel_size", "got 0", ">= 1"]),
    ({"kernel_size": (2, 0, 2)}, ["kernel_size", "(2, 0, 2)", ">= 1"]),
    ({"kernel_size": -3}, ["kernel_size", "got -3"]),
    ({"kernel_size": 2.0}, ["kernel_size", "got 2.0", "integer"]),
    ({"kernel_size": "2"}, ["kernel_size", "got '2'"]),
    ({"kernel_size": (2, 2)}, ["kernel_size", "(2, 2)", "length 2", "tuple of 3"]),
    ({"kernel_size": 2, "stride": -1}, ["stride", "got -1", ">= 1"]),
    ({"kernel_size": 2, "stride": 0}, ["stride", "got 0", ">= 1"]),
    ({"kernel_size": 2, "stride": (1, 2, 3, 4)}, ["stride", "(1, 2, 3, 4)", "tuple of 3"]),
    ({"kernel_size": 2, "padding": -1}, ["padding", "got -1", ">= 0"]),
    ({"kernel_size": 3, "padding": 2}, ["padding=2", "kernel_size=3", "at most half", "(1, 1, 1)"]),
    ({"kernel_size": (1, 3, 3), "padding": 1}, ["padding=1", "(0, 1, 1)"]),
    ({"kernel_size": 2, "temperature": -0.5}, ["temperature", "-0.5", ">= 0"]),
    ({"kernel_size": 2, "temperature": math.nan}, ["temperature", "nan", "finite"]),
    ({"kernel_size": 2, "temperature": math.inf}, ["temperature", "inf", "finite"]),
    ({"kernel_size": 2, "temperature": 10**400}, ["temperature", "finite"]),
    ({"kernel_size": 2**31 - 1, "padding": 2**30 - 1}, ["kernel_size", "at most 16777216 cells", "got 2147483647"]),
    ({"kernel_size": 2**31}, ["kernel_size", "below 2^31"]),
    ({"kernel_size": (1, 2**12 + 1, 2**12)}, ["kernel_size", "cells", "(1, 4097, 4096)"]),
    ({"kernel_size": 2, "stride": 10**30}, ["stride", "below 2^31"]),
    ({"kernel_size": 2, "temperature": "hot"}, ["temperature", "'hot'"]),
    ({"kernel_size": 2, "gradient": "true"}, ["gradient", "'true'", "'exact'", "'paper'"]),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG_ARGUMENTS, ids=str)
def test_wrong_arguments_are_named(arguments: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InputError) as function_error:
        softpool3d(INPUT, **arguments)
    with pytest.raises(InputError) as layer_error:
        SoftPool3d(**arguments)
    for error in (function_error, layer_error):
        for word in words:
            assert word in str(error.value)


@pytest.mark.parametrize(
    ("pool", "input", "kernel_size", "words"),
    [
        (softpool3d, torch.zeros(2, 3, 4), 2, ["5 dimensions (N, C, T, H, W)", "got 3", "(2, 3, 4)"]),
        (softpool3d, torch.zeros(1, 1, 1, 2, 3, 4), 2, ["got 6"]),
        (softpool2d, torch.zeros(4, 4), 2, ["4 dimensions (N, C, H, W)", "got 2"]),
        (softpool1d, torch.zeros(4), 2, ["3 dimensions (N, C, W)", "got 1"]),
        (softpool3d, torch.zeros(1, 2, 4, 6, 6, dtype=torch.int64), 2, ["torch.int64", "torch.float32"]),
        (softpool3d, torch.zeros(1, 2, 4, 6, 6, dtype=torch.bool), 2, ["torch.bool"]),
        (softpool3d, torch.zeros(1, 2, 4, 6, 6, dtype=torch.complex64), 2, ["torch.complex64"]),
        (softpool3d, INPUT.to_sparse(), 2, ["dense", "torch.sparse_coo"]),
        (softpool2d, torch.zeros(1, 2, 4, 4).to_mkldnn(), 2, ["dense", "torch._mkldnn"]),
        (softpool2d, torch.nested.nested_tensor([torch.zeros(2, 4, 4)]), 2, ["dense", "nested"]),
        (softpool2d, torch.quantize_per_tensor(torch.zeros(1, 2, 4, 4), 0.1, 0, torch.quint8), 2, ["torch.quint8"]),
        (softpool3d, INPUT, 7, ["too small", "(4, 6, 6)", "kernel_size=(7, 7, 7)"]),
        (softpool3d, torch.zeros(1, 2, 0, 6, 6), 2, ["too small", "(0, 6, 6)"]),
        (softpool3d, [1.0, 2.0], 2, ["torch.Tensor", "list"]),
    ],
)
def test_wrong_inputs_are_named(pool, input: torch.Tensor, kernel_size: int, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        pool(input, kernel_size)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(("layer", "num_dims"), [(SoftPool1d, 1), (SoftPool2d, 2), (SoftPool3d, 3)])
def test_layers_check_the_length_of_tuples(layer, num_dims: int) -> None:
    with pytest.raises(InputError, match=f"tuple of {num_dims}"):
        layer((2,) * (num_dims + 1))
