"""Saliency Tubes against a planted linear model in numpy, and against gradients on a real network."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain import RESIDUAL_TOLERANCE, compute_saliency_tube, compute_saliency_tubes
from videosoft.models import create_model


class PlantedNetwork(nn.Module):
    """The activation is the clip itself, so that numpy knows it; the head is average (or max) pooling + linear."""

    feature_layer = "features"
    classifier_layer = "head.fc"

    def __init__(self, weight: Tensor, bias: Tensor | None, pool: str = "avg") -> None:
        super().__init__()
        self.features = nn.Identity()
        self.head = nn.ModuleDict({"fc": nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)})
        self.head["fc"].weight.data = weight
        if bias is not None:
            self.head["fc"].bias.data = bias
        self.pool = pool
        self.num_forwards = 0
        self.eval()

    def forward(self, clips: Tensor) -> Tensor:
        self.num_forwards += 1
        activation = self.features(clips)
        pooled = activation.mean((2, 3, 4)) if self.pool == "avg" else activation.amax((2, 3, 4))
        return self.head["fc"](pooled)


def create_planted_network(num_classes: int = 4, *, bias: bool = True, pool: str = "avg") -> PlantedNetwork:
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(num_classes, 3, generator=generator)
    return PlantedNetwork(weight, torch.randn(num_classes, generator=generator) if bias else None, pool)


@pytest.mark.parametrize("size", [(1, 1, 1), (4, 6, 5), (3, 7, 9)])
@pytest.mark.parametrize("bias", [True, False])
def test_tube_is_the_weighted_sum_of_the_activation(size: tuple[int, int, int], bias: bool) -> None:
    network = create_planted_network(bias=bias)
    clips = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    targets = [[2, 0], [3]]
    activation, weight = clips.double().numpy(), network.head["fc"].weight.detach().double().numpy()

    tubes = compute_saliency_tubes(network, clips, targets)

    assert network.num_forwards == 1
    assert [[tube.target for tube in clip_tubes] for clip_tubes in tubes] == targets
    for n, clip_targets in enumerate(targets):
        for tube, target in zip(tubes[n], clip_targets, strict=True):
            expected = np.zeros(size)
            for channel in range(3):
                expected += weight[target, channel] * activation[n, channel]
            np.testing.assert_allclose(tube.map.numpy(), expected, rtol=1e-6, atol=1e-6)
            assert tube.tube.dtype == torch.float32
            np.testing.assert_allclose(tube.tube.numpy(), expected, rtol=1e-6, atol=1e-6)  # the sizes are the same
            expected_logit = expected.mean() + (float(network.head["fc"].bias[target].detach()) if bias else 0.0)
            assert tube.logit == pytest.approx(expected_logit, abs=1e-6)
            assert tube.residual < 1e-6
            assert (tube.layer, tube.method) == ("features", "saliency_tubes")


def test_negative_evidence_stays_negative() -> None:
    network = PlantedNetwork(torch.tensor([[-1.0, -2.0, 0.0]]), None)
    tube = compute_saliency_tube(network, torch.ones(1, 3, 2, 2, 2), 0)
    assert torch.equal(tube.map, torch.full((2, 2, 2), -3.0))


def test_target_none_is_each_clips_prediction() -> None:
    network = create_planted_network()
    clips = torch.randn(5, 3, 2, 3, 3, generator=torch.Generator().manual_seed(3))
    predictions = network(clips).argmax(dim=1).tolist()
    assert len(set(predictions)) > 1
    tubes = compute_saliency_tubes(network, clips, None)
    assert [clip_tubes[0].target for clip_tubes in tubes] == predictions
    assert [clip_tubes[0].prediction for clip_tubes in tubes] == predictions


def test_another_head_shows_in_the_residual() -> None:
    network = create_planted_network(pool="max")
    clip = torch.randn(1, 3, 4, 5, 5, generator=torch.Generator().manual_seed(2))
    fc = network.head["fc"]
    mean, largest = clip.numpy()[0].mean((1, 2, 3)), clip.numpy()[0].max((1, 2, 3))
    expected = abs(float(fc.weight[1].detach().numpy() @ (mean - largest)))
    tube = compute_saliency_tube(network, clip, 1)
    assert tube.residual == pytest.approx(expected, rel=1e-5)
    assert tube.residual > RESIDUAL_TOLERANCE


def test_a_later_in_place_operation_does_not_reach_the_map() -> None:
    network = create_planted_network()
    network.register_module("relu", nn.ReLU(inplace=True))
    network.forward = lambda clips: network.head["fc"](network.relu(network.features(clips)).mean((2, 3, 4)))
    clip = torch.randn(1, 3, 2, 4, 4, generator=torch.Generator().manual_seed(4))
    expected = np.einsum("c,cthw->thw", network.head["fc"].weight[0].detach().numpy(), clip[0].numpy())
    np.testing.assert_allclose(compute_saliency_tube(network, clip, 0).map.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("pool", ["soft", "max"])
def test_r3d50_tube_is_gradient_times_activation(pool: str) -> None:
    """For average pooling + linear, M = THW * sum_i (dlogit/dA_i) * A_i: an identity that autograd checks."""
    torch.manual_seed(0)
    network = create_model("r3d50", num_classes=5, pool=pool, width=0.125).eval()
    clip = torch.randn(1, 3, 16, 64, 64)
    tube = compute_saliency_tube(network, clip, 3)

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
    assert tube.time_warning == "one map for the whole clip: T' = 1"
    assert torch.equal(tube.tube[0], tube.tube[15])


def test_an_early_time_step_left_gives_no_warning() -> None:
    tube = compute_saliency_tube(create_planted_network(), torch.randn(1, 3, 4, 2, 2), 0)
    assert tube.time_warning is None


class WithoutAttributes(nn.Module):
    def forward(self, clips: Tensor) -> Tensor:
        return clips.mean((2, 3, 4))


def change_network(**attributes: object) -> nn.Module:
    network = create_planted_network()
    for name, value in attributes.items():
        setattr(network, name, value)
    return network


class WithBottleneck(PlantedNetwork):
    def forward(self, clips: Tensor) -> Tensor:
        return self.head["fc"](self.features(clips)[:, :3].mean((2, 3, 4)))


def create_network_of_nan() -> nn.Module:
    return PlantedNetwork(torch.full((2, 3), float("nan")), None)


CLIP = torch.zeros(1, 3, 2, 4, 4)


@pytest.mark.parametrize(
    ("network", "clips", "targets", "message"),
    [
        (create_planted_network(), CLIP, [[4]], r"target 4 is out of range: the network has classes 0\.\.3"),
        (create_planted_network(), CLIP, [[-1]], r"target -1 is out of range"),
        (create_planted_network(), CLIP, [[0], [1]], r"got 2 for 1 clips"),
        (create_planted_network(), CLIP[0], [[0]], r"\(N, C, T, H, W\), got \(3, 2, 4, 4\)"),
        (create_planted_network(), CLIP.byte(), [[0]], r"torch\.uint8"),
        (create_planted_network().train(), CLIP, [[0]], r"call network\.eval\(\)"),
        (WithoutAttributes().eval(), CLIP, [[0]], r"WithoutAttributes has no attribute 'feature_layer'"),
        (change_network(feature_layer="feature"), CLIP, [[0]], r"layer 'feature' is not in .*nearest names: features"),
        (change_network(classifier_layer="features"), CLIP, [[0]], r"must be nn\.Linear, got Identity"),
        (change_network(feature_layer="head.fc"), CLIP, [[0]], r"'head\.fc' must put out one tensor"),
        (change_network(spare=nn.Identity(), feature_layer="spare"), CLIP, [[0]], r"was not used"),
        (
            WithBottleneck(torch.ones(2, 3), None),
            torch.zeros(1, 5, 2, 4, 4),
            [[0]],
            r"puts out 5 channels, but classifier_layer 'head\.fc' takes 3",
        ),
        (create_network_of_nan(), CLIP, [[0]], r"class 0 is not finite"),
    ],
)
def test_wrong_input_is_named(network: nn.Module, clips: Tensor, targets: list[list[int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compute_saliency_tubes(network, clips, targets)


def test_the_hook_is_gone_after_an_error() -> None:
    network = create_planted_network()
    with pytest.raises(RuntimeError):
        compute_saliency_tubes(network, torch.zeros(1, 5, 2, 4, 4), [[0]])  # the linear layer takes 3 channels
    assert not network.features._forward_hooks
