"""Fresh weights: what changes and what does not."""

import pytest
import torch
from planted_scorers import LinearClipNetwork
from torch import nn

from videosoft.errors import InputError
from videosoft.explain.scores import compute_rank_correlation, list_cascade, randomize_weights
from videosoft.models import create_model


class WithToken(nn.Module):
    """A network with a parameter of its own beside a norm and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(5 + 0.1 * torch.randn(1000))
        self.conv = nn.Conv3d(3, 4, 1)
        self.norm = nn.BatchNorm3d(4)
        nn.init.constant_(self.norm.weight, 3.0)
        self.norm.running_mean.fill_(7.0)
        self.eval()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("r3d50", ["fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"]),
        ("slow_r50", [f"blocks.{number}" for number in (5, 4, 3, 2, 1, 0)]),
    ],
)
def test_cascade_goes_from_the_output_down(name: str, expected: list[str]) -> None:
    assert list_cascade(create_model(name, num_classes=3, width=0.125)) == expected


def test_all_weights_change_and_the_network_does_not() -> None:
    network = WithToken()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(11)
    expected_next = torch.rand(1)
    torch.manual_seed(11)
    randomized = randomize_weights(network, seed=0)
    assert torch.equal(torch.rand(1), expected_next)  # the program's random state is as it was
    assert not randomized.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    state = randomized.state_dict()
    assert not torch.equal(state["conv.weight"], before["conv.weight"])
    assert torch.equal(state["norm.weight"], torch.ones(4))
    assert torch.equal(state["norm.running_mean"], torch.zeros(4))
    assert not torch.equal(state["token"], before["token"])
    assert state["token"].mean() == pytest.approx(5, abs=0.02)
    assert state["token"].std() == pytest.approx(0.1, rel=0.1)


def test_draws_depend_on_the_seed_alone() -> None:
    network = create_model("r3d50", num_classes=3, width=0.125)
    states = [randomize_weights(network, seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["fc.weight"], states[2]["fc.weight"])


def test_only_the_named_layers_change() -> None:
    network = create_model("r3d50", num_classes=3, width=0.125)
    before, after = network.state_dict(), randomize_weights(network, 0, ["fc", "layer4"]).state_dict()
    changed = {
        name for name in before if before[name].is_floating_point() and not torch.equal(before[name], after[name])
    }
    assert {name.split(".")[0] for name in changed} == {"fc", "layer4"}
    convolutions = {name for name in before if name.startswith("layer4") and before[name].ndim == 5}
    assert convolutions <= changed


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(InputError, match="layer 'head' is not in WithToken"):
        randomize_weights(WithToken(), 0, ["head"])


def test_a_map_of_what_was_learned_does_not_survive() -> None:
    generator = torch.Generator().manual_seed(0)
    network = LinearClipNetwork(torch.randn(2, 3, 4, 8, 8, generator=generator))
    clips = torch.rand(1, 3, 4, 8, 8, generator=generator)
    randomized = randomize_weights(network, seed=3)
    assert isinstance(randomized, LinearClipNetwork)
    before, after = (
        model.attribute(clips, torch.zeros_like(clips), torch.tensor([1]))[0] for model in (network, randomized)
    )
    assert abs(compute_rank_correlation(before, after)) < 0.2
