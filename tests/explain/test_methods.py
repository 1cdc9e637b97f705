"""What all saliency methods have in common: targets, layers, batches, options, cost, and wrong input."""

import json
from dataclasses import fields

import pytest
import torch
from planted_networks import BentNetwork, create_bent_network, create_clips, create_planted_network
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain import Target, create_method, find_layer, list_layers, list_methods
from videosoft.explain.methods import get_method_class
from videosoft.explain.methods.registry import parse_options

CHEAP: dict[str, dict[str, object]] = {
    "class_feature_pyramids": {"mode": "exact"},
    "integrated_gradients": {"num_steps": 4},
    "occlusion": {"window": (2, 4, 4), "stride": (2, 4, 4)},
    "rise": {"num_masks": 10},
    "extremal_perturbation": {"num_steps": 3},
}
"""Options with which a method takes few passes, and any network."""

CLIPS = create_clips(3, 3, 4, 8, 8)
LAYER_METHODS = [name for name in list_methods() if get_method_class(name).place == "layer"]
INPUT_METHODS = [name for name in list_methods() if get_method_class(name).place == "input"]


def create_cheap(name: str, **options: object) -> object:
    return create_method(name, **{**CHEAP.get(name, {}), **options})


@pytest.mark.parametrize("name", list_methods())
def test_a_batch_gives_what_its_clips_give_alone(name: str) -> None:
    network, method = create_bent_network(), create_cheap(name)
    targets = [Target(2), Target(None, "runner_up"), Target(0, 3)]
    batch = method(network, CLIPS, targets)
    assert len(batch) == 3
    for n, tube in enumerate(batch):
        (alone,) = method(network, CLIPS[n : n + 1], targets[n : n + 1])
        torch.testing.assert_close(tube.map, alone.map, rtol=1e-4, atol=1e-5 * float(alone.map.abs().max()))
        assert (tube.target, tube.versus, tube.prediction) == (alone.target, alone.versus, alone.prediction)
        assert tube.logit == pytest.approx(alone.logit, abs=1e-5)
        assert tube.tube.shape == (4, 8, 8)
        assert tube.tube.dtype == tube.map.dtype == torch.float32
        assert not tube.map.requires_grad
        assert tube.method == name


@pytest.mark.parametrize("name", list_methods())
def test_the_network_is_left_as_it_was(name: str) -> None:
    network = create_bent_network()
    network.first.bias.requires_grad_(False)
    wanted = {key: parameter.requires_grad for key, parameter in network.named_parameters()}
    before = {key: value.clone() for key, value in network.state_dict().items()}
    clips = CLIPS.clone().requires_grad_()
    create_cheap(name)(network, clips)
    assert {key: parameter.requires_grad for key, parameter in network.named_parameters()} == wanted
    assert all(parameter.grad is None for parameter in network.parameters())
    assert clips.grad is None
    assert torch.equal(clips, CLIPS)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


@pytest.mark.parametrize("name", list_methods())
def test_targets_are_resolved_alike(name: str) -> None:
    network, method = create_bent_network(), create_cheap(name)
    logits = network(CLIPS).detach()
    order = logits.argsort(dim=1, descending=True)
    for tube, clip_logits, (first, second, *_) in zip(method(network, CLIPS), logits, order.tolist(), strict=True):
        assert (tube.target, tube.versus) == (first, None)
        assert tube.logit == pytest.approx(float(clip_logits[first]), abs=1e-5)
        torch.testing.assert_close(tube.logits, clip_logits)
        assert second != first
    for tube, clip_logits, (first, second, *_) in zip(
        method(network, CLIPS, [Target(None, "runner_up")] * 3), logits, order.tolist(), strict=True
    ):
        assert (tube.target, tube.versus) == (first, second)
        assert tube.logit == pytest.approx(float(clip_logits[first] - clip_logits[second]), abs=1e-5)
    (tube,) = method(network, CLIPS[:1], [Target(int(order[0, 2]), "runner_up")])
    assert tube.versus == int(order[0, 0])


@pytest.mark.parametrize("name", ["saliency_tubes", "grad_cam", "hires_cam"])
def test_the_map_of_a_difference_is_the_difference_of_the_maps(name: str) -> None:
    network, method = create_bent_network(), create_method(name)
    first, second, difference = (
        method(network, CLIPS[:1], [target])[0].map for target in (Target(2), Target(1), Target(2, 1))
    )
    torch.testing.assert_close(difference, first - second, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", LAYER_METHODS)
def test_any_layer_with_a_5d_output_may_be_named(name: str) -> None:
    network, method = create_bent_network(), create_cheap(name)
    shapes = {layer.name: layer.shape for layer in list_layers(network, CLIPS[:1])}
    assert shapes == {
        "first": (6, 4, 8, 8),
        "relu": (8, 2, 4, 4),  # at its second use
        "pool": (6, 2, 4, 4),
        "second": (8, 2, 4, 4),
    }
    for layer, shape in shapes.items():
        (tube,) = method(network, CLIPS[:1], None, layer)
        assert tube.map.shape == shape[1:]
        assert tube.layer == layer
        assert tube.warnings == () or "T' = 1" not in " ".join(tube.warnings)


@pytest.mark.parametrize("name", LAYER_METHODS)
def test_lost_time_is_said_at_any_layer(name: str) -> None:
    network = nn.Sequential(nn.Conv3d(3, 4, (4, 3, 3)), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    (tube,) = create_cheap(name)(network.eval(), CLIPS[:1], None, "1")
    assert "one map for the whole clip: T' = 1" in tube.warnings
    (tube,) = create_cheap(name)(network.eval(), create_clips(1, 3, 5, 8, 8), None, "1")
    assert not any("T' = 1" in warning for warning in tube.warnings)


@pytest.mark.parametrize("name", INPUT_METHODS)
def test_methods_on_the_input_take_no_layer(name: str) -> None:
    method = create_cheap(name)
    (tube,) = method(create_bent_network(), CLIPS[:1])
    assert tube.layer == "input"
    assert tube.map.shape == (4, 8, 8)
    with pytest.raises(InputError, match=f"method '{name}' looks at the clip itself and takes no layer, got 'second'"):
        method(create_bent_network(), CLIPS[:1], None, "second")


def fill_head(value: float) -> BentNetwork:
    network = create_bent_network()
    nn.init.constant_(network.head[3].weight, value)
    return network


@pytest.mark.parametrize("name", list_methods())
def test_a_map_that_is_not_finite_is_refused(name: str) -> None:
    clips = CLIPS.clone()
    clips[1, 0, 2, 3, 3] = torch.nan
    with pytest.raises(InputError, match=r"not finite for clip 1 of the batch"):
        create_cheap(name)(create_bent_network(), clips, [Target(0)] * 3)
    with pytest.raises(InputError, match=r"class 2 is not finite for clip 0, 1, 2 of the batch"):
        create_cheap(name)(fill_head(float("nan")), CLIPS, [Target(2)] * 3)


@pytest.mark.parametrize("name", list_methods())
@pytest.mark.parametrize(
    ("network", "clips", "targets", "message"),
    [
        (create_bent_network(), CLIPS[:1], [Target(4)], r"target 4 is out of range: the network has classes 0\.\.3"),
        (create_bent_network(), CLIPS[:1], [Target(-1)], r"target -1 is out of range"),
        (create_bent_network(), CLIPS[:1], [Target(0, 4)], r"target 4 is out of range"),
        (create_bent_network(), CLIPS[:1], [Target(2, 2)], r"class 2 against itself has a score of 0"),
        (create_bent_network(), CLIPS[:1], [Target(0), Target(1)], r"got 2 for 1 clips"),
        (create_bent_network(), CLIPS[0], [Target(0)], r"\(N, C, T, H, W\), got \(3, 4, 8, 8\)"),
        (create_bent_network(), CLIPS[:1].byte(), [Target(0)], r"torch\.uint8"),
        (create_bent_network().train(), CLIPS[:1], [Target(0)], r"call network\.eval\(\)"),
    ],
)
def test_wrong_input_is_named(
    name: str, network: nn.Module, clips: Tensor, targets: list[Target], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        create_cheap(name)(network, clips, targets)


@pytest.mark.parametrize("name", LAYER_METHODS)
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("secnd", r"layer 'secnd' is not in BentNetwork; nearest names: second"),
        ("", r"layer '' is not in BentNetwork"),
        ("zzzzz", r"is not in BentNetwork; list_layers\(network, clip\) has the names"),
        ("head.1", r"layer 'head\.1' must put out one tensor \(N, C, t, h, w\), got shape \(3, 10\)"),
        ("spare", r"layer 'spare' was not used"),
    ],
)
def test_wrong_layers_are_named(name: str, layer: str, message: str) -> None:
    network = create_bent_network()
    with pytest.raises(InputError, match=message):
        create_cheap(name)(network, CLIPS, None, layer)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("name", LAYER_METHODS)
def test_a_network_that_names_no_layer_must_be_told_one(name: str) -> None:
    network = create_bent_network()
    del network.feature_layer
    with pytest.raises(InputError, match="BentNetwork has no attribute 'feature_layer'"):
        create_cheap(name)(network, CLIPS)


class AsideNetwork(nn.Module):
    """A layer that is used and leads nowhere."""

    feature_layer = "aside"

    def __init__(self) -> None:
        super().__init__()
        self.aside = nn.Conv3d(3, 2, 1)

    def forward(self, clips: Tensor) -> Tensor:
        self.aside(clips)
        return clips.mean((2, 3, 4))


@pytest.mark.parametrize("name", [name for name in LAYER_METHODS if name != "eigen_cam"])
def test_a_layer_off_the_way_to_the_logits_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="do not depend on the layer"):
        create_cheap(name)(AsideNetwork().eval(), CLIPS)


def test_layers_of_another_output_are_not_listed() -> None:
    names = {layer.name for layer in list_layers(create_planted_network(), CLIPS[:1])}
    assert names == {"features"}
    assert isinstance(find_layer(create_planted_network(), "head.fc"), nn.Linear)


def test_options_are_checked_and_read_from_text() -> None:
    assert create_method("grad_cam", **parse_options(["per_step=true"])) == create_method("grad_cam", per_step=True)
    assert parse_options(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    for name in list_methods():
        method = create_method(name)
        values = {field.name: getattr(method, field.name) for field in fields(method)}
        texts = [f"{option}={json.dumps(value)}".replace('"', "") for option, value in values.items()]
        assert create_method(name, **parse_options(texts)) == method


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: create_method("gradcam"), r"no saliency method 'gradcam'; did you mean grad_cam"),
        (lambda: create_method("xyz"), r"known: .*eigen_cam, .*grad_cam"),
        (lambda: create_method("grad_cam", per_stp=True), r"no option 'per_stp'; did you mean 'per_step'"),
        (lambda: create_method("hires_cam", layer="a"), r"'hires_cam' has no option 'layer' \(options: none\)"),
        (lambda: create_method("grad_cam", per_step="maybe"), r"option of method 'grad_cam': .*per_step"),
        (lambda: parse_options(["per_step"]), r"written option=value, got 'per_step'"),
        (lambda: parse_options(["=1"]), r"written option=value"),
        (lambda: parse_options(["a=1", "a=2"]), r"option 'a' of the method is given twice"),
    ],
)
def test_wrong_options_are_named(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", list_methods())
def test_a_gpu_gives_the_same_maps(name: str) -> None:
    method = create_cheap(name)
    expected = method(create_bent_network(), CLIPS)
    for tube, reference in zip(method(create_bent_network().cuda(), CLIPS.cuda()), expected, strict=True):
        assert tube.map.is_cuda
        scale = float(reference.map.abs().max())
        torch.testing.assert_close(tube.map.cpu(), reference.map, rtol=1e-2, atol=1e-3 * scale)
