"""r3d50 with its stem's batch norm, ReLU and SoftPool taken together: the same numbers, gradients and names."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from videosoft.errors import InputError
from videosoft.layers import SoftPool3d, create_pool3d, normalize_relu_pool
from videosoft.models import create_checkpoint_card, create_model, load_checkpoint

NAMES = ["r3d50", "r3d50_stergiou"]


class CountCalls(TorchFunctionMode):
    """Counts the calls of batch norm by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.norms += func is torch.nn.functional.batch_norm
        return func(*args, **(kwargs or {}))


def create_pair(name: str = "r3d50", **options: Any) -> tuple[nn.Module, nn.Module]:
    """The same network without and with a fused stem; its batch norm has seen other numbers than 0 and 1."""
    torch.manual_seed(0)
    separate = create_model(name, num_classes=3, pool="soft", width=0.0625, **options)
    with torch.no_grad():
        for parameter in separate.bn1.parameters():
            parameter.normal_(0.5)
        separate.bn1.running_mean.normal_()
        separate.bn1.running_var.uniform_(0.5, 2)
    fused = create_model(name, num_classes=3, pool="soft", width=0.0625, fuse_stem=True, **options)
    fused.load_state_dict(separate.state_dict())
    return separate, fused


def create_clip() -> torch.Tensor:
    return torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("options", [{}, {"pool_kernel": 2}, {"temperature": 4}], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_evaluation_gives_the_same_logits(name: str, options: dict[str, Any]) -> None:
    separate, fused = (network.eval() for network in create_pair(name, **options))
    with torch.no_grad(), CountCalls() as calls:
        found = fused(create_clip())
    norms = calls.norms
    with torch.no_grad(), CountCalls() as calls:
        expected = separate(create_clip())
    assert norms == calls.norms - 1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_and_statistics_are_the_same(name: str, is_training: bool) -> None:
    results = []
    for network in create_pair(name):
        network.train(is_training)
        clip = create_clip().requires_grad_()
        network(clip).square().sum().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        assert all(gradient is not None for gradient in gradients.values())
        results.append((clip.grad, gradients, dict(network.named_buffers())))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


def test_frozen_weights_and_a_gradient_of_the_clip() -> None:
    # As for saliency: evaluation, with a gradient, and none of the norm's own.
    gradients = []
    for network in create_pair():
        network.eval().requires_grad_(False)
        clip = create_clip().requires_grad_()
        with CountCalls() as calls:
            network(clip)[:, 1].sum().backward()
        gradients.append((clip.grad, calls.norms))
    assert gradients[1][1] == gradients[0][1] - 1
    torch.testing.assert_close(gradients[1][0], gradients[0][0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_state_dicts_are_the_same(name: str) -> None:
    separate, fused = create_pair(name)
    assert list(separate.state_dict()) == list(fused.state_dict())


def test_a_checkpoint_rebuilds_it(tmp_path: Path) -> None:
    _, fused = create_pair()
    card = create_checkpoint_card(
        model_name="r3d50",
        model_kwargs={"pool": "soft", "width": 0.0625, "fuse_stem": True},
        class_names=("a", "b", "c"),
        preprocessing={},
        data={},
    )
    state = {f"network.{name}": value for name, value in fused.state_dict().items()}
    torch.save({"state_dict": state, "videosoft": card}, tmp_path / "a.ckpt")
    loaded = load_checkpoint(tmp_path / "a.ckpt").network
    assert loaded.fuse_stem
    with torch.no_grad():
        torch.testing.assert_close(loaded(create_clip()), fused.eval()(create_clip()), rtol=0, atol=0)


@pytest.mark.parametrize("pool", ["max", "avg"])
def test_there_is_nothing_to_fuse_with_another_pool(pool: str) -> None:
    with pytest.raises(InputError, match=rf"fuse_stem=True belongs to pool='soft'.*{pool}"):
        create_model("r3d50", num_classes=2, pool=pool, width=0.0625, fuse_stem=True)


def change_nothing(norm: nn.Module) -> None:
    pass


def forget_affine(norm: nn.Module) -> None:
    norm.weight = norm.bias = None


def forget_statistics(norm: nn.Module) -> None:
    norm.running_mean = norm.running_var = None


@pytest.mark.parametrize("change", [change_nothing, forget_affine, forget_statistics])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_any_batch_norm(change: Callable[[nn.Module], None], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    norm, relu, pool = nn.BatchNorm3d(6, eps=0.1), nn.ReLU(inplace=True), SoftPool3d(3, 2, 1, temperature=1.5)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    change(norm)
    norm = norm.to(dtype).eval().requires_grad_(False)
    input = torch.randn(2, 6, 5, 7, 8, dtype=dtype)
    before = input.clone()
    found = normalize_relu_pool(input, norm, relu, pool)
    assert torch.equal(input, before)
    # One way rounds the norm's output to a half type, the other does not.
    tolerance = {"rtol": 3e-2, "atol": 3e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    assert found.dtype == dtype
    torch.testing.assert_close(found, pool(relu(norm(input))), **tolerance)


@pytest.mark.parametrize("name", ["bn1", "relu", "maxpool"])
def test_who_listens_to_a_module_hears_it(name: str) -> None:
    separate, fused = (network.eval() for network in create_pair())
    heard = []
    for network in (separate, fused):
        network.get_submodule(name).register_forward_hook(lambda *call: heard.append(call[-1].clone()))
        with torch.no_grad():
            network(create_clip())
    torch.testing.assert_close(heard[0], heard[1], rtol=0, atol=0)


def test_another_pool_put_in_its_place_is_taken() -> None:
    separate, fused = (network.eval() for network in create_pair())
    for network in (separate, fused):
        network.maxpool = create_pool3d("max", 3, 2, 1)
    with torch.no_grad():
        torch.testing.assert_close(fused(create_clip()), separate(create_clip()), rtol=0, atol=0)


@pytest.mark.slow
def test_it_is_compiled_and_exported() -> None:
    torch.manual_seed(0)

    class Stem(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.relu, self.pool = nn.BatchNorm3d(4), nn.ReLU(inplace=True), SoftPool3d((1, 2, 2))

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return normalize_relu_pool(input, self.norm, self.relu, self.pool)

    stem = Stem()
    input = torch.randn(2, 4, 3, 6, 8)
    for is_training in (True, False):
        stem.train(is_training)
        torch.compiler.reset()
        compiled = torch.compile(copy.deepcopy(stem), fullgraph=True)
        torch.testing.assert_close(compiled(input), copy.deepcopy(stem)(input))
    with torch.no_grad():
        program = torch.export.export(stem.eval(), (input,))
        torch.testing.assert_close(program.module()(input), stem(input))
