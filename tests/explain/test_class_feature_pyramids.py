"""Class Feature Pyramids against trees built kernel by kernel, and against what a channel adds by itself."""

import pytest
import torch
from planted_networks import PlantedNetwork, create_bent_network, create_clips
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain import Target, create_method
from videosoft.explain.methods import compute_contributions
from videosoft.models import create_model

PUBLISHED = create_method("class_feature_pyramids")


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 3, "padding": 1, "bias": False},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": (1, 3, 2), "stride": (1, 2, 3), "bias": False},
        {"kernel_size": 3, "groups": 2, "padding": 1},
        {"kernel_size": 3, "groups": 4, "padding": 1, "stride": 2},  # depthwise, with two outputs a channel
        {"kernel_size": 2, "dilation": 2, "groups": 2, "bias": False},
    ],
)
def test_contributions_sum_to_the_units_mean_response(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv3d(4, 8, **options)
    clips, units = create_clips(2, 4, 4, 5, 6), [0, 5, 7]
    contributions = compute_contributions(convolution, clips, units)
    bias = convolution.bias.detach()[units] if convolution.bias is not None else torch.zeros(3)
    means = convolution(clips).detach().mean(dim=(2, 3, 4))[:, units]
    torch.testing.assert_close(contributions.sum(dim=2) + bias, means, atol=1e-6, rtol=1e-5)
    for channel in range(4):  # what the channel does when the others are silent
        alone = torch.zeros_like(clips)
        alone[:, channel] = clips[:, channel]
        expected = convolution(alone).detach().mean(dim=(2, 3, 4))[:, units] - bias
        torch.testing.assert_close(contributions[:, :, channel], expected, atol=1e-6, rtol=1e-5)


def create_plain_network(*, bias: bool = False, groups: int = 1, seed: int = 0) -> nn.Sequential:
    """Three convolutions with ReLUs, average pooling, a linear head."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv3d(3, 6, 3, padding=1, bias=bias),
        nn.ReLU(inplace=True),
        nn.Conv3d(6, 8, 3, padding=1, stride=(1, 2, 2), groups=groups, bias=bias),
        nn.BatchNorm3d(8, affine=bias),
        nn.ReLU(inplace=True),
        nn.Conv3d(8, 10, 1, bias=bias),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(10, 4, bias=bias),
    )
    network.feature_layer, network.classifier_layer = "6", "9"
    return network.eval()


def run_layers(network: nn.Sequential, clip: Tensor) -> list[Tensor]:
    values, x = [], clip
    for layer in network:
        x = layer(x.clone())
        values.append(x.detach().clone())
    return values


def select(values: dict[int, float], theta: float) -> list[int]:
    lowest, highest = min(values.values()), max(values.values())
    return [key for key, value in values.items() if highest == lowest or (value - lowest) / (highest - lowest) >= theta]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_published_tree_kernel_by_kernel(groups: int, seed: int) -> None:
    network, theta, target = create_plain_network(groups=groups, seed=seed), 0.7, 1
    clip = create_clips(1, 3, 4, 8, 8, seed=seed + 10)
    outputs = run_layers(network, clip)
    weight = network[9].weight.detach()
    normalized = (weight[target] - weight.min()) / (weight.max() - weight.min())
    first = [j for j in range(10) if normalized[j] >= theta]
    expected = {"6": sum(outputs[6][0, j] for j in first)}
    paths = dict.fromkeys(first, 1.0)
    children: dict[str, dict[int, list[int]]] = {}
    for convolution, layer in ((network[5], "4"), (network[2], "1")):
        activation, num_inputs = outputs[int(layer)], convolution.weight.shape[1]
        next_paths: dict[int, float] = {}
        children[layer] = {}
        for i, count in paths.items():
            offset = i // (convolution.out_channels // convolution.groups) * num_inputs
            products = {
                offset + j: float(convolution.weight[i, j].detach().mean() * activation[0, offset + j].mean())
                for j in range(num_inputs)
            }
            children[layer][i] = select(products, theta)
            for j in children[layer][i]:
                next_paths[j] = next_paths.get(j, 0.0) + count
        paths = next_paths
        scale = len(first) / sum(paths.values())
        expected[layer] = sum(scale * count * activation[0, j] for j, count in paths.items())

    method = create_method("class_feature_pyramids", theta=theta)
    for layer, expected_map in expected.items():
        (tube,) = method(network, clip, [Target(target)], layer)
        torch.testing.assert_close(tube.map, expected_map, rtol=1e-4, atol=1e-6)
        assert tube.residual is None
    (pyramid,) = method.build_pyramids(network, clip, [Target(target)], "1")
    assert [level.layer for level in pyramid.levels] == ["6", "4", "1"]
    assert pyramid.levels[0].units.tolist() == first
    for depth, layer in ((0, "4"), (1, "1")):
        for i, chosen in children[layer].items():
            expected_node = sum(outputs[int(layer)][0, j] for j in chosen)
            torch.testing.assert_close(pyramid.compute_node_map(depth, i), expected_node, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_exact_tree_kernel_by_kernel(groups: int, seed: int) -> None:
    """What a kernel adds is measured by silencing: ReLU's slopes are kept, so that all that follows is linear."""
    network, theta, target = create_plain_network(groups=groups, seed=seed), 0.6, 2
    clip = create_clips(1, 3, 4, 8, 8, seed=seed + 20)
    outputs = run_layers(network, clip)
    slopes = {layer: (outputs[layer - 1] > 0).float() for layer in (4, 6)}
    features = outputs[6]
    weight = network[9].weight.detach()[target]
    first = select({i: float(weight[i] * features[0, i].mean()) for i in range(10)}, theta)
    method = create_method("class_feature_pyramids", mode="exact", theta=theta)
    (tube,) = method(network, clip, [Target(target)])
    torch.testing.assert_close(tube.map, sum(weight[i] * features[0, i] for i in first), rtol=1e-4, atol=1e-5)

    def score(units_below: dict[int, list[int]], maps: Tensor) -> float:
        """What the maps at layer 4 add to the score by the paths listed."""
        total = 0.0
        for i, chosen in units_below.items():
            kept = torch.zeros_like(maps)
            kept[:, chosen] = maps[:, chosen]
            total += float(weight[i] * (network[5](kept) * slopes[6])[0, i].detach().mean())
        return total

    second = {
        i: select({j: score({i: [j]}, outputs[4]) for j in range(8) if is_connected(network, slopes, i, j)}, theta)
        for i in first
    }
    (tube,) = method(network, clip, [Target(target)], "4")
    assert float(tube.map.mean()) == pytest.approx(score(second, outputs[4]), rel=1e-4)
    assert tube.residual == pytest.approx(abs(tube.logit - float(tube.map.mean())), rel=1e-4)
    (pyramid,) = method.build_pyramids(network, clip, [Target(target)], "4")
    edges = {
        int(i): pyramid.levels[1].units[row].tolist()
        for i, row in zip(pyramid.levels[0].units, pyramid.levels[1].edges, strict=True)
    }
    assert edges == second

    def pass_on(maps: Tensor) -> Tensor:
        """From layer 1 to layer 4, with the slopes of the clip."""
        return network[3](network[2](maps)).detach() * slopes[4]

    third = {}
    for j in sorted({j for chosen in second.values() for j in chosen}):
        parents = {i: [j] for i, chosen in second.items() if j in chosen}
        size = 6 // groups
        inputs = range(j // (8 // groups) * size, (j // (8 // groups) + 1) * size)
        values = {}
        for k in inputs:
            kept = torch.zeros_like(outputs[1])
            kept[:, k] = outputs[1][:, k]
            values[k] = score(parents, pass_on(kept) - pass_on(torch.zeros_like(kept)))
        third[j] = select(values, theta)
    (pyramid,) = method.build_pyramids(network, clip, [Target(target)], "1")
    below = pyramid.levels[2]
    assert {
        int(j): below.units[row].tolist() for j, row in zip(pyramid.levels[1].units, below.edges, strict=True)
    } == third


def is_connected(network: nn.Sequential, slopes: dict[int, Tensor], i: int, j: int) -> bool:
    """Whether unit i of layer 6 depends on channel j of layer 4 anywhere."""
    return bool((slopes[6][0, i] != 0).any()) and float(network[5].weight[i, j].detach()) != 0


@pytest.mark.parametrize("layer", ["layer4", "layer4.0", "layer3", "layer4.2.conv2", "layer2.1"])
def test_all_of_the_exact_pyramid_is_the_tube(layer: str) -> None:
    torch.manual_seed(0)
    network = create_model("r3d50", num_classes=5, pool="soft", width=0.0625).eval()
    clips = create_clips(2, 3, 8, 64, 64)
    targets = [Target(1), Target(3, 0)]
    whole = create_method("class_feature_pyramids", mode="exact", theta=0.0)(network, clips, targets, layer)
    for tube, expected in zip(whole, create_method("saliency_tubes")(network, clips, targets, layer), strict=True):
        scale = float(expected.map.abs().max())
        torch.testing.assert_close(tube.map, expected.map, rtol=1e-3, atol=1e-4 * scale)
        assert tube.unit == "logits"


def test_figure_s4_sums_the_last_maps_whose_weights_reach_theta() -> None:
    torch.manual_seed(0)
    network = create_model("r3d50", num_classes=5, width=0.125).eval()
    clip = create_clips(1, 3, 16, 64, 64)
    kept: list[Tensor] = []
    handle = network.layer4.register_forward_hook(lambda module, inputs, output: kept.append(output.detach().clone()))
    network(clip)
    handle.remove()
    weight = network.fc.weight.detach()
    normalized = (weight - weight.min()) / (weight.max() - weight.min())
    (tube,) = create_method("class_feature_pyramids", theta=0.55)(network, clip, [Target(3)])
    torch.testing.assert_close(tube.map, kept[0][0, normalized[3] >= 0.55].sum(dim=0), rtol=1e-4, atol=1e-5)
    assert tube.unit == "activation"


def test_blocks_are_stepped_through_by_their_main_path() -> None:
    network = create_model("r3d50", num_classes=5, width=0.0625).eval()
    clip = create_clips(1, 3, 8, 32, 32)
    (pyramid,) = PUBLISHED.build_pyramids(network, clip, None, "layer3")
    blocks = ["layer4", "layer4.1", "layer4.0", "layer3"]
    assert [level.layer for level in pyramid.levels if level.layer in blocks] == blocks
    assert [level.layer for level in pyramid.levels][1:3] == ["input of layer4.2.conv3", "input of layer4.2.conv2"]
    assert len(pyramid.levels) == 10
    (pyramid,) = create_method("class_feature_pyramids", mode="exact").build_pyramids(network, clip, None, "layer3")
    assert [level.layer for level in pyramid.levels] == blocks


def test_where_all_products_are_negative_the_largest_is_taken() -> None:
    """The authors' division by the sum turns the order round there."""
    network = create_plain_network()
    network[5].weight.data = -torch.rand(10, 8, 1, 1, 1) - 0.1
    network[5].weight.data[:, 3] = -1e-4
    (pyramid,) = create_method("class_feature_pyramids", theta=0.9).build_pyramids(
        network, create_clips(1, 3, 4, 8, 8), [Target(0)], "4"
    )
    assert 3 in pyramid.levels[1].units.tolist()
    assert bool(pyramid.levels[1].edges[:, pyramid.levels[1].units.tolist().index(3)].all())


def test_an_empty_selection_is_said() -> None:
    network = PlantedNetwork(torch.tensor([[0.0, 0.1, 0.2], [1.0, 0.9, 0.8]]), None)
    network.features = nn.Conv3d(3, 3, 1)
    clips = create_clips(2, 3, 4, 4, 4)
    empty, full = PUBLISHED(network.eval(), clips, [Target(0), Target(1)])
    assert torch.equal(empty.map, torch.zeros(4, 4, 4))
    assert empty.warnings == ("empty: no weight of the class reaches theta = 0.55",)
    assert full.warnings == ()
    (empty,) = PUBLISHED.build_pyramids(network, clips[:1], [Target(0)])
    assert len(empty.levels[0].units) == 0


def test_the_published_mode_needs_a_linear_head() -> None:
    with pytest.raises(InputError, match=r"BentNetwork does not have .*: take mode=exact"):
        PUBLISHED(create_bent_network(), create_clips(1, 3, 4, 8, 8))


class JoinedNetwork(nn.Module):
    """Two branches side by side: no chain of convolutions leads through both."""

    feature_layer, classifier_layer = "last", "head"

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Conv3d(3, 4, 1), nn.Conv3d(4, 2, 1), nn.Conv3d(4, 2, 1)
        self.last, self.head = nn.Conv3d(4, 5, 1), nn.Linear(5, 3)

    def forward(self, clips: Tensor) -> Tensor:
        x = self.stem(clips)
        return self.head(self.last(torch.cat([self.left(x), self.right(x)], dim=1)).mean((2, 3, 4)))


def test_joined_branches_are_stepped_over_or_refused() -> None:
    network, clips = JoinedNetwork().eval(), create_clips(1, 3, 4, 4, 4)
    with pytest.raises(InputError, match=r"no chain of convolutions leads .* to its last feature map: take mode=exact"):
        PUBLISHED(network, clips, None, "stem")
    whole = create_method("class_feature_pyramids", mode="exact", theta=0.0)(network, clips, None, "stem")[0]
    expected = create_method("saliency_tubes")(network, clips, None, "stem")[0]
    torch.testing.assert_close(whole.map, expected.map)


@pytest.mark.parametrize("theta", [-0.1, 1.1, float("nan")])
def test_theta_lies_between_0_and_1(theta: float) -> None:
    with pytest.raises(InputError, match=r"theta must lie in 0\.\.1"):
        create_method("class_feature_pyramids", theta=theta)


def test_a_node_that_was_not_selected_has_no_map() -> None:
    (pyramid,) = PUBLISHED.build_pyramids(create_plain_network(), create_clips(1, 3, 4, 8, 8), None, "4")
    with pytest.raises(InputError, match="level 1 has no level below"):
        pyramid.compute_node_map(1, 0)
    with pytest.raises(InputError, match="unit 99 of '6' was not selected"):
        pyramid.compute_node_map(0, 99)
