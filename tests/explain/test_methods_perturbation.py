"""Methods that change the clip, on networks whose answer to every change is known."""

import numpy as np
import pytest
import torch
from planted_networks import create_bent_network, create_clips
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain import Target, create_method


class FieldNetwork(nn.Module):
    """Two logits, sum(field * x^power) and its negative: the evidence lies where the field does."""

    def __init__(self, field: Tensor, power: int = 1) -> None:
        super().__init__()
        self.field = nn.Parameter(field)
        self.power = power
        self.eval()

    def forward(self, clips: Tensor) -> Tensor:
        score = (self.field * clips**self.power).sum(dim=(1, 2, 3, 4))
        return torch.stack([score, -score], dim=1)


def create_signed_field(sides: tuple[int, int, int]) -> Tensor:
    """Positive in the left half of the first half of the clip, negative in the right half of the second."""
    field = torch.zeros(3, *sides)
    field[:, : sides[0] // 2, :, : sides[2] // 2] = 0.01
    field[:, sides[0] // 2 :, :, sides[2] // 2 :] = -0.02
    return field


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("occlusion", {}),
        ("occlusion", {"window": (2, 3, 5), "stride": (1, 2, 3)}),
        ("rise", {"num_masks": 600, "grid": (4, 4, 4)}),
        ("rise", {"num_masks": 600, "grid": (2, 4, 4), "probability": 0.3, "seed": 5}),
        ("integrated_gradients", {}),
    ],
)
def test_signs_are_those_of_a_planted_linear_model(name: str, options: dict[str, object]) -> None:
    field = create_signed_field((8, 16, 16))
    network, clip = FieldNetwork(field), torch.ones(1, 3, 8, 16, 16)
    plus, minus = create_method(name, **options)(
        network, clip.expand(2, -1, -1, -1, -1).contiguous(), [Target(0), Target(1)]
    )
    torch.testing.assert_close(minus.map, -plus.map, rtol=1e-4, atol=1e-5)
    # A box, or a cell of a mask, of up to 2 x 4 x 4 from another sign.
    inside = {1: plus.map[:2, :, :4], -1: plus.map[6:, :, 12:]}
    for sign, values in inside.items():
        assert bool((values * sign > 0).all())
    flat_map, flat_field = plus.map.flatten().numpy(), field[0].flatten().numpy()
    assert np.corrcoef(flat_map, flat_field)[0, 1] > 0.7


def cover(network: nn.Module, clip: Tensor, window: tuple[int, ...], stride: tuple[int, ...], target: int) -> Tensor:
    """Occlusion written out: each box by itself, the mean over the boxes at a cell."""
    sides = tuple(clip.shape[2:])
    falls, counts = torch.zeros(sides), torch.zeros(sides)
    starts = [range(0, side - box + step, step) for side, box, step in zip(sides, window, stride, strict=True)]
    whole = float(network(clip)[0, target].detach())
    for t in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                box = (slice(t, t + window[0]), slice(y, y + window[1]), slice(x, x + window[2]))
                covered = clip.clone()
                covered[(0, slice(None), *box)] = 0
                falls[box] += whole - float(network(covered)[0, target].detach())
                counts[box] += 1
    return falls / counts


@pytest.mark.parametrize(("window", "stride"), [((2, 4, 4), (1, 2, 2)), ((4, 3, 5), (4, 2, 3)), ((1, 8, 8), (1, 8, 8))])
def test_occlusion_covers_box_by_box(window: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
    network, clips = create_bent_network(), create_clips(2, 3, 4, 8, 8)
    tubes = create_method("occlusion", window=window, stride=stride, batch_size=3)(
        network, clips, [Target(2), Target(1)]
    )
    for n, target in enumerate((2, 1)):
        expected = cover(network, clips[n : n + 1], window, stride, target)
        torch.testing.assert_close(tubes[n].map, expected, rtol=1e-4, atol=1e-5)


def test_occlusion_takes_quarters_by_default() -> None:
    network, clips = create_bent_network(), create_clips(1, 3, 4, 8, 8)
    (tube,) = create_method("occlusion")(network, clips)
    (same,) = create_method("occlusion", window=(1, 2, 2), stride=(1, 1, 1))(network, clips)
    torch.testing.assert_close(tube.map, same.map)


def test_integrated_gradients_of_a_square_are_known() -> None:
    """Along x * s the slope of w x^2 is 2 w x s: its integral times x is w x^2."""
    field, clip = create_clips(3, 4, 5, 6, seed=2), create_clips(1, 3, 4, 5, 6, seed=3)
    (tube,) = create_method("integrated_gradients", num_steps=4)(FieldNetwork(field, power=2), clip, [Target(0)])
    torch.testing.assert_close(tube.map, (field * clip[0] ** 2).sum(dim=0), rtol=1e-4, atol=1e-5)
    assert tube.residual < 1e-3
    assert tube.warnings == ()


def test_too_few_steps_are_said() -> None:
    field, clip = torch.ones(3, 2, 3, 3), create_clips(1, 3, 2, 3, 3).abs()
    (tube,) = create_method("integrated_gradients", num_steps=1)(FieldNetwork(field, power=9), clip, [Target(0)])
    expected = abs(float(tube.map.sum()) - float((clip**9).sum()))
    assert tube.residual == pytest.approx(expected, rel=1e-3)
    assert "take more steps" in tube.warnings[0]


def test_rise_finds_the_weight_of_each_cell() -> None:
    """With cells of one pixel the masks are independent: the mean with a cell visible less the mean is (1 - p) w x."""
    field = torch.zeros(3, 2, 4, 4)
    field[0] = create_clips(2, 4, 4, seed=6)
    clip = create_clips(1, 3, 2, 4, 4, seed=7)
    method = create_method("rise", num_masks=6000, probability=0.6, grid=(2, 4, 4), batch_size=500)
    (tube,) = method(FieldNetwork(field), clip, [Target(0)])
    evidence = field[0] * clip[0, 0]
    noise = float(evidence.square().sum().sqrt()) * (0.4 / 0.6 / 6000) ** 0.5
    assert float((tube.map - 0.4 * evidence).abs().max()) < 5 * noise


def test_rise_shows_all_clips_the_same_masks() -> None:
    network, clips = create_bent_network(), create_clips(2, 3, 4, 8, 8)
    one, other = (create_method("rise", num_masks=20, batch_size=size)(network, clips) for size in (3, 64))
    again = create_method("rise", num_masks=20)(network, clips[1:])
    for tube, same in zip([*one, one[1]], [*other, *again], strict=True):
        torch.testing.assert_close(tube.map, same.map, rtol=1e-3, atol=1e-5)
    (changed,) = create_method("rise", num_masks=20, seed=1)(network, clips[:1])
    assert not torch.allclose(changed.map, one[0].map)


@pytest.mark.parametrize("unit", [1.0, 0.01, 100.0])
def test_extremal_perturbation_keeps_the_part_that_matters(unit: float) -> None:
    """Whatever the unit of the logits: the score is up to 86 of them."""
    clip = create_clips(1, 3, 8, 16, 16).sign()  # a texture, of which the blur leaves nothing
    strength = torch.full((8, 16, 16), -0.01)
    strength[2:6, 4:10, 6:12] = 0.2  # 144 of 2048 cells
    method = create_method("extremal_perturbation", area=144 / 2048, grid=(8, 16, 16), num_steps=150)
    (tube,) = method(FieldNetwork(unit * clip[0] * strength), clip, [Target(0)])
    mask = tube.map
    assert float(mask.min()) >= 0
    assert float(mask.max()) <= 1
    assert float(mask.mean()) == pytest.approx(144 / 2048, rel=0.15)
    assert float(mask[2:6, 4:10, 6:12].sum() / mask.sum()) > 0.9
    assert tube.residual is None


def test_extremal_perturbation_has_a_coarse_mask() -> None:
    method = create_method("extremal_perturbation", grid=(2, 3, 20), num_steps=2)
    (tube,) = method(create_bent_network(), create_clips(1, 3, 4, 8, 8))
    assert tube.map.shape == (2, 3, 8)
    assert tube.tube.shape == (4, 8, 8)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("occlusion", {"window": (0, 2, 2)}, "at least 1"),
        ("occlusion", {"window": (2, 2, 2), "stride": (2, 3, 2)}, r"leaves gaps between its windows of \(2, 2, 2\)"),
        ("occlusion", {"batch_size": 0}, "at least 1"),
        ("rise", {"num_masks": 1}, "needs 2 masks"),
        ("rise", {"probability": 1.0}, r"probability of rise must lie between 0 and 1, got 1\.0"),
        ("rise", {"grid": (1, 0, 1)}, "at least 1"),
        ("integrated_gradients", {"num_steps": 0}, "at least 1"),
        ("extremal_perturbation", {"area": 0.0}, r"area of extremal_perturbation must lie between 0 and 1, got 0\.0"),
        ("extremal_perturbation", {"num_steps": 0}, "at least 1"),
        ("extremal_perturbation", {"blur": float("nan")}, "blur positive"),
    ],
)
def test_wrong_options_are_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_method(name, **options)


def test_a_window_larger_than_the_clip_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"window \(5, 8, 8\) of occlusion is larger than the clip, which has \(4, 8, 8\)"
    ):
        create_method("occlusion", window=(5, 8, 8))(create_bent_network(), create_clips(1, 3, 4, 8, 8))
