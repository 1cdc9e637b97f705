"""Saliency Tubes against a planted linear model in numpy, and against gradients on a real network."""

import numpy as np
import pytest
import torch
from planted_networks import PlantedNetwork, create_clips, create_planted_network
from torch import nn

from videosoft.errors import InputError
from videosoft.explain import Target, create_method
from videosoft.explain.methods import RESIDUAL_TOLERANCE
from videosoft.models import create_model

TUBES = create_method("saliency_tubes")


@pytest.mark.parametrize("size", [(1, 1, 1), (4, 6, 5), (3, 7, 9)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("versus", [None, 1])
def test_tube_is_the_weighted_sum_of_the_activation(size: tuple[int, int, int], bias: bool, versus: int | None) -> None:
    network = create_planted_network(bias=bias)
    clips = create_clips(2, 3, *size)
    activation, weight = clips.double().numpy(), network.head["fc"].weight.detach().double().numpy()
    offsets = network.head["fc"].bias.detach().double().numpy() if bias else np.zeros(4)

    tubes = TUBES(network, clips, [Target(2, versus), Target(3, versus)])

    assert network.num_forwards == 2
    assert [(tube.target, tube.versus) for tube in tubes] == [(2, versus), (3, versus)]
    for n, tube in enumerate(tubes):
        expected, offset = np.zeros(size), offsets[tube.target]
        for channel in range(3):
            expected += weight[tube.target, channel] * activation[n, channel]
            if versus is not None:
                expected -= weight[versus, channel] * activation[n, channel]
        if versus is not None:
            offset -= offsets[versus]
        np.testing.assert_allclose(tube.map.numpy(), expected, rtol=1e-6, atol=1e-6)
        assert tube.tube.dtype == torch.float32
        np.testing.assert_allclose(tube.tube.numpy(), expected, rtol=1e-6, atol=1e-6)  # the sizes are the same
        assert tube.logit == pytest.approx(expected.mean() + offset, abs=1e-6)
        assert tube.residual < 1e-6
        assert (tube.layer, tube.method, tube.unit) == ("features", "saliency_tubes", "logits")


def test_negative_evidence_stays_negative() -> None:
    network = PlantedNetwork(torch.tensor([[-1.0, -2.0, 0.0]]), None)
    tube = TUBES(network, torch.ones(1, 3, 2, 2, 2), [Target(0)])[0]
    assert torch.equal(tube.map, torch.full((2, 2, 2), -3.0))


def test_another_head_shows_in_the_residual() -> None:
    network = create_planted_network(pool="max")
    clip = create_clips(1, 3, 4, 5, 5, seed=2)
    fc = network.head["fc"]
    mean, largest = clip.numpy()[0].mean((1, 2, 3)), clip.numpy()[0].max((1, 2, 3))
    expected = abs(float(fc.weight[1].detach().numpy() @ (mean - largest)))
    tube = TUBES(network, clip, [Target(1)])[0]
    assert tube.residual == pytest.approx(expected, rel=1e-5)
    assert tube.residual > RESIDUAL_TOLERANCE
    assert any("miss the logit by" in warning for warning in tube.warnings)


def test_a_later_in_place_operation_does_not_reach_the_map() -> None:
    network = create_planted_network()
    network.register_module("relu", nn.ReLU(inplace=True))
    network.forward = lambda clips: network.head["fc"](network.relu(network.features(clips)).mean((2, 3, 4)))
    clip = create_clips(1, 3, 2, 4, 4, seed=4)
    expected = np.einsum("c,cthw->thw", network.head["fc"].weight[0].detach().numpy(), clip[0].numpy())
    np.testing.assert_allclose(TUBES(network, clip, [Target(0)])[0].map.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("pool", ["soft", "max"])
def test_r3d50_tube_is_gradient_times_activation(pool: str) -> None:
    """For average pooling + linear, M = THW * sum_i (dlogit/dA_i) * A_i: an identity that autograd checks."""
    torch.manual_seed(0)
    network = create_model("r3d50", num_classes=5, pool=pool, width=0.125).eval()
    clip = torch.randn(1, 3, 16, 64, 64)
    tube = TUBES(network, clip, [Target(3)])[0]

    kept = []
    handle = network.get_submodule(network.feature_layer).register_forward_hook(
        lambda module, inputs, output: kept.append(output)
    )
    logits = network(clip)
    handle.remove()
    activation = kept[0]
    (gradient,) = torch.autograd.grad(logits[0, 3], activation)
    num_positions = activation[0, 0].numel()
    expected = (num_positions * gradient * activation).sum(dim=1)[0].detach()

    torch.testing.assert_close(tube.map, expected, rtol=1e-4, atol=1e-5)
    assert float(tube.map.std()) > 1e-3
    assert tube.tube.shape == (16, 64, 64)
    assert tube.residual < 1e-5
    assert tube.logit == pytest.approx(float(logits[0, 3].detach()), abs=1e-5)
    assert tube.warnings == ("one map for the whole clip: T' = 1",)
    torch.testing.assert_close(tube.tube[0], tube.tube[15])


def change_network(**attributes: object) -> nn.Module:
    network = create_planted_network()
    for name, value in attributes.items():
        setattr(network, name, value)
    return network


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        (change_network(classifier_layer=None), None),  # nobody says which layer is the head
        (change_network(classifier_layer="features"), None),  # the one named is no linear layer
        (change_network(feature_layer=None), "features"),
        (change_network(classifier_layer="spare", spare=nn.Linear(7, 4)), None),  # takes other channels
        (change_network(classifier_layer="spare", spare=nn.Linear(3, 9)), None),  # gives other logits
    ],
)
def test_a_head_that_is_not_known_is_read_by_gradients(network: nn.Module, layer: str | None) -> None:
    clips = create_clips(2, 3, 3, 4, 5)
    expected = TUBES(create_planted_network(), clips, [Target(1), Target(3, 0)])
    tubes = TUBES(network, clips, [Target(1), Target(3, 0)], layer)
    for tube, reference in zip(tubes, expected, strict=True):
        torch.testing.assert_close(tube.map, reference.map, atol=1e-5, rtol=1e-4)
        assert tube.logit == reference.logit


def test_another_layer_is_read_by_gradients() -> None:
    """Without biases behind the layer the map's mean is the logit, at every layer."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv3d(3, 5, 3, bias=False), nn.ReLU(), nn.Conv3d(5, 6, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool3d(1)
    )
    network.extend([nn.Flatten(), nn.Linear(6, 4)])
    network.feature_layer, network.classifier_layer = "3", "6"
    clips = create_clips(2, 3, 6, 7, 8)
    for layer in ("0", "1", "2", "3"):
        tubes = TUBES(network.eval(), clips, [Target(2), Target(0)], layer)
        assert max(tube.residual for tube in tubes) < 1e-5
        assert tubes[0].layer == layer
    message = "attribute 'feature_layer'"
    del network.feature_layer
    with pytest.raises(InputError, match=message):
        TUBES(network, clips)
