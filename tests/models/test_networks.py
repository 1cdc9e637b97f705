"""Every registered network: published sizes, the weights' names, the logits of the libraries they come from."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.layers import SoftPool3d
from videosoft.models import count_macs, count_parameters, create_model, list_models, registry

NAMES = [
    "csn_r101",
    "mc3_18",
    "r2plus1d_18",
    "r2plus1d_r50",
    "r3d50",
    "r3d50_stergiou",
    "r3d_18",
    "s3d",
    "slow_r50",
    "slowfast_r50",
    "x3d_l",
    "x3d_m",
    "x3d_s",
    "x3d_xs",
]
WITHOUT_POOLING = ["r2plus1d_r50", "x3d_xs", "x3d_s", "x3d_m", "x3d_l", "r3d_18", "mc3_18", "r2plus1d_18"]
TORCHVISION = ["r3d_18", "mc3_18", "r2plus1d_18", "s3d"]
# Narrow enough to be quick; torchvision's have one width.
NARROW: dict[str, float] = dict.fromkeys(NAMES, 0.125) | dict.fromkeys(TORCHVISION, 1.0)


def test_list_models() -> None:
    # Tests of the training register networks of their own, in whichever process they run.
    packaged = [name for name in list_models() if registry._BUILDERS[name].__module__.startswith("videosoft.")]
    assert packaged == NAMES


# Each row: network, classes, millions of parameters, clip (T, side), published G MACs, operations that the publisher
# counted for each cell of a batch norm: none for the papers, torchvision and the zoo's first networks, two by fvcore in
# evaluation, five by fvcore in training (the zoo's later networks).
PUBLISHED = [
    ("r3d50", 700, 47.63, (16, 224), 39.98, 2),
    ("r3d50", 700, 47.63, (16, 112), 10.1, 2),
    ("r3d50_stergiou", 700, 36.88, (16, 224), 26.54, 2),
    ("slow_r50", 700, 33.07, (8, 224), 41.92, 2),
    ("slow_r50", 400, 32.45, (8, 256), 54.52, 0),
    ("slow_r50", 400, 32.45, (4, 256), 27.3, 0),
    ("slowfast_r50", 400, 34.57, (32, 256), 65.71, 0),
    ("x3d_xs", 400, 3.79, (4, 160), 0.6, 0),
    ("x3d_s", 400, 3.79, (13, 160), 1.96, 0),
    ("x3d_m", 400, 3.79, (16, 224), 4.73, 0),
    ("x3d_l", 400, 6.15, (16, 312), 18.37, 0),
    ("x3d_xs", 400, 3.79, (4, 182), 0.91, 5),
    ("x3d_s", 400, 3.79, (13, 182), 2.96, 5),
    ("x3d_m", 400, 3.79, (16, 256), 6.72, 5),
    ("x3d_l", 400, 6.15, (16, 356), 26.64, 5),
    ("r2plus1d_r50", 400, 28.11, (16, 256), 76.45, 5),
    ("csn_r101", 400, 22.21, (32, 256), 75.62, 5),
    ("r3d_18", 400, 33.37, (16, 112), 40.697, 0),
    ("mc3_18", 400, 11.70, (16, 112), 43.343, 0),
    ("r2plus1d_18", 400, 31.51, (16, 112), 40.519, 0),
    ("s3d", 400, 8.32, (16, 224), 17.979, 0),
]


@pytest.mark.parametrize(("name", "num_classes", "millions", "clip", "giga_macs", "norm_operations"), PUBLISHED)
def test_published_sizes(
    name: str, num_classes: int, millions: float, clip: tuple[int, int], giga_macs: float, norm_operations: int
) -> None:
    with torch.device("meta"):
        network = create_model(name, num_classes=num_classes).eval()
        size = (clip[0], clip[1], clip[1])
    assert round(count_parameters(network) / 1e6, 2) == millions
    cells: list[int] = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.register_forward_hook(lambda *call: cells.append(call[-1][0].numel()))
    counted = (count_macs(network, size) + norm_operations * sum(cells)) / 1e9
    assert counted == pytest.approx(giga_macs, abs=0.6 * 10 ** -len(str(giga_macs).partition(".")[2]), rel=1e-3)


@pytest.mark.parametrize("pool", ["max", "soft"])
def test_macs_are_counted_without_touching_the_network(pool: str) -> None:
    network = create_model("r3d50", num_classes=2, pool=pool, width=0.0625)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert network.training
    found = count_macs(network, (8, 32, 32))
    # The stem alone: 4 channels of 3 x 7 x 7 x 7 at 8 x 16 x 16.
    assert found > 4 * 3 * 7**3 * 8 * 16 * 16
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def disturb(network: nn.Module) -> nn.Module:
    """Other norms than 1 and 0, so that no branch is silent and no two channels are alike."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.weight.data.uniform_(0.5, 1.0, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.8, 1.5, generator=generator)
    return network.eval()


def create_clip(num_frames: int, side: int) -> Tensor:
    return torch.randn(1, 3, num_frames, side, side, generator=torch.Generator().manual_seed(0))


def put(module_name: str, window: tuple[int, int, int]) -> Callable[[nn.Module], None]:
    return lambda network: network.set_submodule(module_name, nn.AvgPool3d(window, stride=1))


def put_slowfast(network: nn.Module) -> None:
    network.blocks[5].pool = nn.ModuleList([nn.AvgPool3d((2, 2, 2), 1), nn.AvgPool3d((8, 2, 2), 1)])


# Each row: network, clip, what gives the library's own a head for so small a clip, whether it puts out a softmax.
PYTORCHVIDEO: list[tuple[str, tuple[int, int], Callable[[nn.Module], None], bool]] = [
    ("slow_r50", (2, 64), put("blocks.5.pool", (2, 2, 2)), False),
    ("slowfast_r50", (8, 64), put_slowfast, False),
    ("x3d_xs", (4, 64), put("blocks.5.pool.pool", (4, 2, 2)), True),
    ("x3d_s", (5, 64), put("blocks.5.pool.pool", (5, 2, 2)), True),
    ("x3d_m", (5, 64), put("blocks.5.pool.pool", (5, 2, 2)), True),
    ("x3d_l", (5, 64), put("blocks.5.pool.pool", (5, 2, 2)), True),
    ("r2plus1d_r50", (4, 64), put("blocks.5.pool", (1, 2, 2)), True),
    ("csn_r101", (8, 64), put("blocks.5.pool", (1, 2, 2)), False),
]


@pytest.mark.parametrize(("name", "clip", "fit_head", "has_softmax"), PYTORCHVIDEO)
def test_pytorchvideo_weights_give_pytorchvideos_logits(
    name: str, clip: tuple[int, int], fit_head: Callable[[nn.Module], None], has_softmax: bool
) -> None:
    from pytorchvideo.models import hub

    torch.manual_seed(0)
    theirs = disturb(getattr(hub, name)())
    ours = create_model(name, num_classes=400)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    fit_head(theirs)
    video = create_clip(*clip)
    with torch.no_grad():
        found = ours.eval()(video)
        if name == "slowfast_r50":
            # As pytorchvideo's own example of this network packs its pathways.
            slow = torch.index_select(video, 2, torch.linspace(0, clip[0] - 1, clip[0] // 4).long())
            expected = theirs([slow, video])
        else:
            expected = theirs(video)
    assert found.std() > 1e-3
    torch.testing.assert_close(found.softmax(dim=1) if has_softmax else found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_weights_give_torchvisions_logits(name: str) -> None:
    from torchvision.models import video as library

    torch.manual_seed(0)
    theirs = disturb(getattr(library, name)())
    ours = create_model(name, num_classes=400)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    if name == "s3d":
        theirs.avgpool = nn.AvgPool3d((1, 2, 2), stride=1)
    video = create_clip(8, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(video), theirs(video), rtol=1e-5, atol=1e-6)


SLOW_INDICES = [(4, 1), (8, 2), (16, 4), (32, 8)]


@pytest.mark.parametrize(("num_frames", "num_slow"), SLOW_INDICES)
def test_slow_frames_reach_from_the_first_to_the_last(num_frames: int, num_slow: int) -> None:
    network = create_model("slowfast_r50", num_classes=2, width=0.125).eval()
    seen: list[Tensor] = []
    network.blocks[0].register_forward_pre_hook(lambda module, args: seen.extend(args[0]))
    video = torch.arange(num_frames).float()[None, None, :, None, None].expand(1, 3, num_frames, 32, 32)
    with torch.no_grad():
        network(video)
    expected = torch.linspace(0, num_frames - 1, num_slow).long()
    assert seen[0][0, 0, :, 0, 0].tolist() == expected.tolist()
    assert seen[1].shape[2] == num_frames


# Each row: network, arguments, clip (T, H, W), the feature layer's (T', H', W').
FEATURE_SHAPES = [
    ("r3d50", {}, (16, 112, 112), (1, 4, 4)),
    ("r3d50", {}, (8, 64, 64), (1, 2, 2)),
    ("r3d50", {"pool_kernel": 2}, (32, 64, 64), (2, 2, 2)),
    ("r3d50_stergiou", {}, (16, 64, 64), (1, 2, 2)),
    ("slow_r50", {}, (4, 64, 64), (4, 2, 2)),
    ("slow_r50", {"pool_kernel": 2}, (8, 32, 48), (8, 1, 2)),
    ("slow_r50", {"head_pool_kernel_size": (1, 1, 1)}, (2, 64, 64), (2, 2, 2)),
    ("slowfast_r50", {}, (16, 64, 96), (16, 2, 3)),
    ("slowfast_r50", {"alpha": 8, "pool_kernel": 2}, (16, 32, 32), (16, 1, 1)),
    ("csn_r101", {}, (16, 64, 64), (2, 2, 2)),
    ("csn_r101", {"pool_kernel": 2}, (9, 32, 32), (2, 1, 1)),
]


@pytest.mark.parametrize(("name", "kwargs", "clip", "expected"), FEATURE_SHAPES)
@pytest.mark.parametrize("pool", ["soft", "max", "avg"])
def test_features_feed_an_average_and_a_linear_layer(
    name: str, kwargs: dict[str, Any], clip: tuple, expected: tuple, pool: str
) -> None:
    check_features(create_model(name, num_classes=5, width=0.125, pool=pool, **kwargs), clip, expected)


# The same for networks that have no pooling of their own, and torchvision's.
MORE_FEATURE_SHAPES = [
    ("r2plus1d_r50", (9, 64, 70), (3, 2, 3)),
    ("r3d_18", (9, 32, 32), (2, 2, 2)),
    ("mc3_18", (5, 32, 40), (5, 2, 3)),
    ("r2plus1d_18", (8, 32, 32), (1, 2, 2)),
    ("s3d", (16, 96, 96), (2, 3, 3)),
]


@pytest.mark.parametrize(("name", "clip", "expected"), MORE_FEATURE_SHAPES)
@pytest.mark.parametrize("pool", ["soft", "avg", None])
def test_features_of_networks_without_pooling(name: str, clip: tuple, expected: tuple, pool: str | None) -> None:
    kwargs: dict[str, Any] = {} if pool is None else {"pool": pool}
    if name in WITHOUT_POOLING and pool is not None:
        kwargs["pooled_shortcuts"] = True
    check_features(create_model(name, num_classes=5, width=NARROW[name], **kwargs), clip, expected)


def check_features(network: nn.Module, clip: tuple, expected: tuple) -> None:
    features: list[Tensor] = []
    network.get_submodule(network.feature_layer).register_forward_hook(lambda *call: features.append(call[-1]))
    classifier = network.get_submodule(network.classifier_layer)
    with torch.no_grad():
        logits = disturb(network)(torch.randn(2, 3, *clip))
        (map_,) = features
        assert map_.shape[2:] == expected
        weight = classifier.weight.flatten(1)
        averaged = map_.mean(dim=(2, 3, 4)) @ weight.T + classifier.bias
    assert logits.shape == (2, 5)
    torch.testing.assert_close(logits, averaged, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", ["soft", "max", "avg", None])
@pytest.mark.parametrize("name", ["x3d_xs", "x3d_l"])
def test_features_of_x3d(name: str, pool: str | None) -> None:
    kwargs: dict[str, Any] = {} if pool is None else {"pool": pool, "pooled_shortcuts": True}
    network = create_model(name, num_classes=5, width=0.25, **kwargs).eval()
    features: list[Tensor] = []
    network.get_submodule(network.feature_layer).register_forward_hook(lambda *call: features.append(call[-1]))
    with torch.no_grad():
        # 39 cells on the way, an odd number, as those of the published 312 and 356 pixels.
        assert network(torch.randn(2, 3, 3, 78, 78)).shape == (2, 5)
    assert features[0].shape[2:] == (3, 3, 3)
    assert isinstance(network.get_submodule(network.classifier_layer), nn.Linear)


def test_a_larger_clip_is_scored_at_every_window_and_a_smaller_one_as_a_whole() -> None:
    from videosoft.models.head_pool import HeadPool

    pool = HeadPool((2, 3, 3))
    for size, window in [((4, 5, 3), (2, 3, 3)), ((2, 3, 3), (2, 3, 3)), ((1, 2, 4), (1, 2, 3))]:
        x = torch.randn(2, 3, *size)
        torch.testing.assert_close(pool(x), nn.AvgPool3d(window, stride=1)(x))


KINDS = {"soft": SoftPool3d, "max": nn.MaxPool3d, "avg": nn.AvgPool3d}


def find_pools(network: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in network.named_modules() if isinstance(module, tuple(KINDS.values()))}


# Each row: network, arguments, the names of its poolings.
POOL_PLACES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("slow_r50", {}, ["blocks.0.pool"]),
    ("csn_r101", {}, ["blocks.0.pool"]),
    ("slowfast_r50", {}, [f"blocks.0.multipathway_blocks.{pathway}.pool" for pathway in (0, 1)]),
    (
        "s3d",
        {},
        [f"features.{i}" for i in (1, 4, 7, 13)]
        + [f"features.{i}.branch3.0" for i in (5, 6, 8, 9, 10, 11, 12, 14, 15)],
    ),
    *[
        (name, {"pooled_shortcuts": True}, [f"blocks.{i}.res_blocks.0.branch1_conv.pool" for i in (1, 2, 3, 4)])
        for name in ("r2plus1d_r50", "x3d_xs")
    ],
    *[
        (name, {"pooled_shortcuts": True}, [f"layer{i}.0.downsample.0.pool" for i in (2, 3, 4)])
        for name in ("r3d_18", "mc3_18", "r2plus1d_18")
    ],
    *[(name, {}, []) for name in WITHOUT_POOLING if name != "x3d_l"],
]


@pytest.mark.parametrize(("name", "kwargs", "places"), POOL_PLACES)
def test_where_the_poolings_are(name: str, kwargs: dict[str, Any], places: list[str]) -> None:
    with torch.device("meta"):
        published = create_model(name, num_classes=3)
        for pool in ("soft", "avg") if places else ("max",):
            warmth = {"temperature": 4} if pool == "soft" else {}
            network = create_model(name, num_classes=3, pool=pool, **warmth, **kwargs)
            found = find_pools(network)
            assert sorted(found) == sorted(places)
            if (name, pool) == ("s3d", "avg"):
                assert all(isinstance(module, SoftPool3d) and module.temperature == 0 for module in found.values())
            else:
                assert all(isinstance(module, KINDS[pool]) for module in found.values())
                assert all(getattr(module, "temperature", 4) == 4 for module in found.values())
            # Another pooling changes no weight's name or shape.
            assert {k: v.shape for k, v in network.state_dict().items()} == {
                k: v.shape for k, v in published.state_dict().items()
            }


def test_a_pooled_shortcut_is_a_projection_of_the_pooled_input() -> None:
    torch.manual_seed(0)
    network = disturb(create_model("r2plus1d_r50", num_classes=3, width=0.125, pool="avg", pooled_shortcuts=True))
    strided = create_model("r2plus1d_r50", num_classes=3, width=0.125).eval()
    strided.load_state_dict(network.state_dict())
    for index, window in [(1, (1, 2, 2)), (3, (2, 2, 2))]:
        pooled, plain = (n.blocks[index].res_blocks[0].branch1_conv for n in (network, strided))
        x = torch.randn(1, plain.in_channels, 5, 6, 7)
        expected = nn.functional.conv3d(
            nn.functional.avg_pool3d(x, window, ceil_mode=True, count_include_pad=False), plain.weight
        )
        torch.testing.assert_close(pooled(x), expected)
        assert pooled(x).shape == plain(x).shape
        # On an input that is even within each window all poolings are the strided convolution.
        even = torch.randn(1, plain.in_channels, 3, 3, 3)
        for dim, factor in enumerate(window, start=2):
            even = even.repeat_interleave(factor, dim)
        torch.testing.assert_close(pooled(even), plain(even), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["x3d_xs", "r2plus1d_r50", "r3d_18"])
def test_pooled_shortcuts_begin_with_the_weights_of_the_strided_ones(name: str) -> None:
    states = []
    for kwargs in ({}, {"pool": "soft", "pooled_shortcuts": True}):
        torch.manual_seed(0)
        states.append(create_model(name, num_classes=2, width=NARROW[name], **kwargs).state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_average_pooling_of_s3d_is_torchs() -> None:
    pools = find_pools(create_model("s3d", num_classes=2, pool="avg"))
    published = find_pools(create_model("s3d", num_classes=2))
    x = torch.randn(1, 2, 5, 6, 7)
    for name, pool in pools.items():
        old = published[name]
        expected = nn.AvgPool3d(old.kernel_size, old.stride, old.padding, count_include_pad=False)
        torch.testing.assert_close(pool(x), expected(x))


STRIDED = r"has no pooling layer, its convolutions stride.*pooled_shortcuts=True"
BAD_ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
    *[(name, {"pool": "soft"}, rf"pool='soft'.*{name} {STRIDED}") for name in WITHOUT_POOLING],
    ("x3d_m", {"pool": "avg"}, STRIDED),
    ("x3d_m", {"temperature": 2}, STRIDED),
    ("x3d_m", {"pool": "mean", "pooled_shortcuts": True}, r"'soft', 'max', 'avg', got 'mean'"),
    ("x3d_m", {"pool": "avg", "temperature": 2, "pooled_shortcuts": True}, r"temperature=2 belongs to pool='soft'"),
    ("r3d_18", {"pool_kernel": 2}, r"pool_kernel=2: r3d_18 has no pooling in its stem"),
    ("s3d", {"pool_kernel": 2}, r"pool_kernel=2: s3d has poolings of several windows"),
    ("s3d", {"pool": "avg", "temperature": 2}, r"temperature=2 belongs to pool='soft'.*pool='avg'"),
    ("s3d", {"pool": "mean"}, r"'soft', 'max', 'avg', got 'mean'"),
    *[(name, {"width": 0.5}, rf"width=0.5: torchvision builds {name}") for name in TORCHVISION],
    ("slowfast_r50", {"width": 0.0625}, r"width=0.0625 gives the stem 4 channels.*multiple of 8"),
    ("slowfast_r50", {"alpha": 0}, r"alpha=0"),
    ("csn_r101", {"width": 0.001}, r"leaves no channel"),
    ("r2plus1d_r50", {"width": 0.001}, r"leaves no channel"),
    ("slowfast_r50", {"pool": "max", "temperature": 4}, r"temperature=4 belongs to pool='soft'"),
    ("slow_r5", {}, r"unknown model 'slow_r5'.*Did you mean slow_r50"),
]


@pytest.mark.parametrize(("name", "kwargs", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_named(name: str, kwargs: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(InputError, match=message):
        create_model(name, **{"num_classes": 2, **kwargs})


def test_frames_that_alpha_does_not_divide_are_refused() -> None:
    network = create_model("slowfast_r50", num_classes=2, width=0.125)
    with pytest.raises(InputError, match=r"every 4th frame.*multiple of 4, got 6"):
        network(torch.zeros(1, 3, 6, 32, 32))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("x3d_s", "x3d_m", "x3d_l")])
def test_every_network_learns_from_a_small_clip(name: str) -> None:
    """Gradients reach every weight, with SoftPool wherever it can be."""
    kwargs: dict[str, Any] = {"pooled_shortcuts": True} if name in WITHOUT_POOLING else {}
    network = disturb(create_model(name, num_classes=3, width=NARROW[name], pool="soft", **kwargs)).train()
    network(torch.randn(2, 3, 8, 32, 32)).square().sum().backward()
    without = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert not without
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
