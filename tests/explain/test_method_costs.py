"""How often a method runs the network for a clip, forwards and backwards, and how far back."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from planted_networks import create_clips
from torch import Tensor, nn

from videosoft.explain import create_method, list_methods
from videosoft.models import create_model

NUM_CLIPS, SIZE = 3, (8, 32, 32)


class Counts:
    """Clips that went through a network's logits, forwards and backwards, and recorded what nobody asks for."""

    def __init__(self) -> None:
        self.forward = 0
        self.backward = 0
        self.recorded_below: list[str] = []
        self.recorded_weights = False


@contextmanager
def count_passes(network: nn.Module, layer: str) -> Iterator[Counts]:
    counts = Counts()
    names = [name for name, _ in network.named_children()]
    below = names[: names.index(layer)] if layer != "input" else []

    def note_logits(module: nn.Module, _inputs: object, logits: Tensor) -> None:
        counts.forward += len(logits)
        if logits.requires_grad:
            counts.recorded_weights |= any(parameter.requires_grad for parameter in module.parameters())
            logits.register_hook(lambda gradient: note_backward(len(gradient)))

    def note_backward(number: int) -> None:
        counts.backward += number

    def note_graph(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            if output.requires_grad:
                counts.recorded_below.append(name)

        return hook

    handles = [network.register_forward_hook(note_logits)]
    handles += [network.get_submodule(name).register_forward_hook(note_graph(name)) for name in below]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


@cache
def create_network() -> nn.Module:
    torch.manual_seed(0)
    return create_model("r3d50", num_classes=4, pool="soft", width=0.0625).eval()


CASES = [
    # method, options, layer, forwards and backwards of a clip
    ("saliency_tubes", {}, "layer4", 1, 0),
    ("saliency_tubes", {}, "layer3", 1, 1),
    ("hires_cam", {}, "layer4", 1, 1),
    ("hires_cam", {}, "layer2", 1, 1),
    ("grad_cam", {}, "layer4", 1, 1),
    ("grad_cam", {}, "layer2", 1, 1),
    ("grad_cam", {"per_step": True}, "layer2", 1, 1),
    ("grad_cam_plus_plus", {}, "layer4", 1, 1),
    ("grad_cam_plus_plus", {}, "layer2", 1, 1),
    ("eigen_cam", {}, "layer4", 1, 0),
    ("eigen_cam", {}, "layer2", 1, 0),
    ("class_feature_pyramids", {}, "layer4", 1, 0),
    ("class_feature_pyramids", {}, "layer3", 1, 0),
    ("class_feature_pyramids", {"mode": "exact"}, "layer4", 1, 1),
    ("class_feature_pyramids", {"mode": "exact"}, "layer3", 1, 1),  # the short ones begin behind the logits
    # The clip itself, four steps, and of all clips together the grey one.
    ("integrated_gradients", {"num_steps": 4}, "input", 1 + 4 + 1 / NUM_CLIPS, 4),
    # The clip itself and eight boxes.
    ("occlusion", {"window": (4, 16, 16), "stride": (4, 16, 16)}, "input", 1 + 8, 0),
    ("rise", {"num_masks": 10}, "input", 1 + 10, 0),
    # The clip itself, the blurred one, three steps.
    ("extremal_perturbation", {"num_steps": 3}, "input", 1 + 1 + 3, 3),
]


@pytest.mark.parametrize(("name", "options", "layer", "num_forwards", "num_backwards"), CASES)
def test_a_clip_costs_no_more_passes_than_the_method_needs(
    name: str, options: dict[str, Any], layer: str, num_forwards: float, num_backwards: int
) -> None:
    network = create_network()
    with count_passes(network, layer) as counts:
        create_method(name, **options)(network, create_clips(NUM_CLIPS, 3, *SIZE), None, layer)
    assert counts.forward == round(num_forwards * NUM_CLIPS)
    assert counts.backward == num_backwards * NUM_CLIPS
    assert counts.recorded_below == []
    assert not counts.recorded_weights


def test_every_method_is_counted() -> None:
    assert {case[0] for case in CASES} == set(list_methods())
