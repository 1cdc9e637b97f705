"""Insertion and deletion against a loop over voxels, and on networks whose true attribution is known."""

import numpy as np
import pytest
import torch
from planted_scorers import LinearClipNetwork
from torch import Tensor

from videosoft.errors import InputError
from videosoft.explain.scores import (
    compute_area,
    compute_deletion_curves,
    compute_insertion_curves,
    create_baseline,
)

SIZE = (3, 2, 4, 4)  # C, T, H, W
CURVES = {"insertion": compute_insertion_curves, "deletion": compute_deletion_curves}


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def create_network(seed: int = 0, num_classes: int = 3) -> LinearClipNetwork:
    return LinearClipNetwork(0.3 * draw(num_classes, *SIZE, seed=seed))


def replace_one_by_one(
    network: LinearClipNetwork, start: Tensor, end: Tensor, tube: Tensor, target: int, num_steps: int
) -> list[float]:
    """One clip (C, T, H, W), voxel after voxel by numpy."""
    places = sorted(np.ndindex(*tube.shape), key=lambda place: -float(tube[place]))
    clip, curve = start.double().numpy().copy(), []
    weight = network.fc.weight.detach().double().numpy()
    for step in range(num_steps + 1):
        for t, h, w in places[: round(step * len(places) / num_steps)]:
            clip[:, t, h, w] = end[:, t, h, w].numpy()
        exponentials = np.exp(weight @ clip.ravel())
        curve.append(exponentials[target] / exponentials.sum())
    return curve


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize(("num_steps", "batch_size"), [(1, 1), (5, 4), (32, 100), (7, 3)])
def test_curves_are_those_of_a_loop(kind: str, num_steps: int, batch_size: int) -> None:
    network, clips, tubes = create_network(), draw(3, *SIZE, seed=1), draw(3, *SIZE[1:], seed=2)
    targets = torch.tensor([2, 0, 1])
    baselines = create_baseline(clips, "mean")
    curves = CURVES[kind](network, clips, tubes, targets, baselines, num_steps=num_steps, batch_size=batch_size)
    starts, ends = (baselines, clips) if kind == "insertion" else (clips, baselines)
    for n in range(3):
        expected = replace_one_by_one(network, starts[n], ends[n], tubes[n], int(targets[n]), num_steps)
        np.testing.assert_allclose(curves[n].numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(compute_area(curves), np.trapezoid(curves, dx=1 / num_steps, axis=1))


def test_the_true_attribution_beats_every_other_order() -> None:
    """Of two classes the probability rises with the sum of the effects, so the largest first is the best order."""
    network, clips = create_network(num_classes=2), draw(1, *SIZE, seed=1)
    targets, baselines = torch.tensor([1]), create_baseline(clips, "mean")
    settings = {"num_steps": 32, "batch_size": 64}
    truth = network.attribute(clips, baselines, targets)
    tubes = torch.cat([truth, -truth, truth.abs(), draw(60, *SIZE[1:], seed=3)])
    many = [tensor.expand(len(tubes), *tensor.shape[1:]) for tensor in (clips, targets, baselines)]
    inserted = compute_area(compute_insertion_curves(network, many[0], tubes, many[1], many[2], **settings))
    deleted = compute_area(compute_deletion_curves(network, many[0], tubes, many[1], many[2], **settings))
    assert inserted.argmax() == 0
    assert deleted.argmin() == 0
    assert inserted.argmin() == 1  # the signed order matters: reversed, it is the worst
    assert deleted.argmax() == 1


def test_cross_faithfulness_tells_whose_map_it_is() -> None:
    """A looks at the first frame, B at the second: each is served by its own map, not by the other's."""
    weight = draw(2, *SIZE, seed=5).abs()
    weight[0] = 0
    halves = [torch.zeros(1, 1, 2, 1, 1) for _ in range(2)]
    networks = []
    for frame, half in enumerate(halves):
        half[:, :, frame] = 1
        networks.append(LinearClipNetwork(weight * half))
    clips, targets = draw(4, *SIZE, seed=6).abs(), torch.ones(4, dtype=torch.long)
    baselines = torch.zeros_like(clips)
    areas = np.array(
        [
            [
                compute_area(
                    compute_insertion_curves(
                        judge,
                        clips,
                        owner.attribute(clips, baselines, targets),
                        targets,
                        baselines,
                        num_steps=16,
                        batch_size=32,
                    )
                ).mean()
                for judge in networks
            ]
            for owner in networks
        ]
    )
    assert areas[0, 0] > areas[1, 0] + 0.05
    assert areas[1, 1] > areas[0, 1] + 0.05


def test_a_flat_map_takes_all_frames_alike() -> None:
    network = LinearClipNetwork(torch.ones(2, 1, 8, 4, 4) * torch.tensor([0.0, 0.05])[:, None, None, None, None])
    clips = torch.ones(1, 1, 8, 4, 4)
    curve = compute_insertion_curves(
        network,
        clips,
        torch.zeros(1, 8, 4, 4),
        torch.tensor([1]),
        torch.zeros_like(clips),
        num_steps=8,
        batch_size=9,
    )
    expected = torch.sigmoid(0.05 * torch.arange(0, 129, 16, dtype=torch.float64))
    torch.testing.assert_close(curve[0], expected, atol=1e-6, rtol=0)


def test_baselines_show_nothing() -> None:
    clips = draw(2, 3, 8, 20, 24, seed=7)
    mean = create_baseline(clips, "mean")
    assert mean.shape == clips.shape
    torch.testing.assert_close(mean[1, 2], clips[1, 2].mean().expand(8, 20, 24))
    blur = create_baseline(clips, "blur")
    assert blur.shape == clips.shape
    assert blur.dtype == clips.dtype
    # White noise keeps 1 / (2 sqrt(pi) sigma) of its variance along each axis, a little more at the borders.
    assert blur.std() < 0.35
    impulse = torch.zeros(1, 1, 30, 40, 50)
    impulse[0, 0, 15, 20, 25] = 1
    spread = create_baseline(impulse, "blur")[0, 0].double()
    for axis, sigma in enumerate((3, 4, 5)):
        profile = spread.sum(dim=[other for other in range(3) if other != axis])
        place = torch.arange(len(profile))
        assert float((profile * (place - len(profile) // 2) ** 2).sum()) == pytest.approx(sigma**2, rel=0.02)
    with pytest.raises(InputError, match="baseline must be one of mean, blur, got 'grey'"):
        create_baseline(clips, "grey")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tubes": torch.zeros(1, 2, 4, 3)}, r"tubes must be \(N, T, H, W\)"),
        ({"targets": torch.tensor([0, 1])}, r"targets \(N,\)"),
        ({"baselines": torch.zeros(1, 3, 2, 4, 3)}, "clips and baselines must both be"),
        ({"num_steps": 0}, "num_steps and batch_size must be at least 1, got 0 and 8"),
        ({"batch_size": 0}, "num_steps and batch_size must be at least 1"),
        ({"tubes": torch.full((1, 2, 4, 4), float("nan"))}, "32 of 32 values that are not finite"),
        ({"network": create_network().train()}, r"call network\.eval\(\)"),
    ],
)
def test_wrong_input_is_named(changes: dict, message: str) -> None:
    arguments = {
        "network": create_network(),
        "clips": torch.zeros(1, *SIZE),
        "tubes": torch.zeros(1, *SIZE[1:]),
        "targets": torch.tensor([0]),
        "baselines": torch.zeros(1, *SIZE),
        "num_steps": 4,
        "batch_size": 8,
        **changes,
    }
    for compute in CURVES.values():
        with pytest.raises(InputError, match=message):
            compute(**arguments)
