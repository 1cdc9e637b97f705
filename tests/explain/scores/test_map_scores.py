"""Scores of maps alone: similarity, time, and the references, by hand or against numpy."""

import itertools

import numpy as np
import pytest
from scipy import ndimage, stats

from videosoft.errors import InputError
from videosoft.explain.scores import (
    compute_motion_map,
    compute_rank_correlation,
    compute_top_iou,
    count_effective_frames,
    create_centre_prior,
    find_temporal_peak,
    measure_drift,
    order_voxels,
    see_at_grid,
)

NAN = float("nan")
SIZE = (4, 6, 5)


def draw_map(seed: int, size: tuple[int, int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size)


@pytest.mark.parametrize("decimals", [None, 0])  # rounded, half of the values tie
def test_rank_correlation_is_pearsons_of_mean_ranks(decimals: int | None) -> None:
    a, b = draw_map(0), draw_map(0) + draw_map(1)
    if decimals is not None:
        a, b = a.round(decimals), b.round(decimals)
    expected = np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1]
    assert 0.2 < expected < 0.95
    assert compute_rank_correlation(a, b) == pytest.approx(expected)


def test_rank_correlation_sees_the_sign_and_not_the_unit() -> None:
    a = draw_map(2)
    assert compute_rank_correlation(a, np.exp(3 * a) - 7) == pytest.approx(1)
    assert compute_rank_correlation(a, -a) == pytest.approx(-1)
    assert np.isnan(compute_rank_correlation(a, np.ones(SIZE)))


def test_top_iou_by_hand() -> None:
    a, b = np.arange(10.0).reshape(1, 2, 5), np.zeros((1, 2, 5))
    b[0, 1, 4], b[0, 0, 0], b[0, 1, 3] = 9, 8, -5
    assert compute_top_iou(a, b, 0.2) == pytest.approx(1 / 3)  # places 8 and 9 against 0 and 9
    assert compute_top_iou(a, a, 0.2) == 1
    assert compute_top_iou(a, -a, 0.5) == 0
    assert compute_top_iou(a, np.full((1, 2, 5), 3.0), 0.999) == 1


def test_top_iou_of_unrelated_maps_is_chance() -> None:
    values = [compute_top_iou(draw_map(seed, (8, 16, 16)), draw_map(seed + 100, (8, 16, 16))) for seed in range(20)]
    assert np.mean(values) == pytest.approx(0.1 / 1.9, abs=0.01)


def test_ties_favour_no_place_and_are_the_same_in_every_map() -> None:
    repeated = np.tile(draw_map(3, (1, 8, 8)), (16, 1, 1))  # a map of one time step
    assert compute_top_iou(repeated, repeated.copy()) == 1
    first_fifth = order_voxels(np.zeros((16, 8, 8)))[:205]
    by_frame = np.bincount(first_fifth // 64, minlength=16)
    assert by_frame.min() >= 4  # by place alone they would all lie in the first four frames


@pytest.mark.parametrize("function", [compute_rank_correlation, compute_top_iou])
def test_two_sizes_are_refused(function: object) -> None:
    with pytest.raises(InputError, match=r"got \(4, 6, 5\) and \(4, 6, 4\)"):
        function(draw_map(0), draw_map(0)[..., :4])  # type: ignore[operator]


@pytest.mark.parametrize("fraction", [0, 1, -0.1, NAN])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match="fraction must lie between 0 and 1"):
        compute_top_iou(draw_map(0), draw_map(1), fraction)


def create_tube(by_frame: list[float], side: int = 3) -> np.ndarray:
    """A map whose frames are even, with the given sums."""
    return np.array(by_frame, float)[:, None, None] / side**2 * np.ones((1, side, side))


@pytest.mark.parametrize(
    ("by_frame", "effective", "peak"),
    [
        ([0, 0, 5, 0], 1, 2 / 3),
        ([1, 1, 1, 1], 4, NAN),
        ([0, 2, 2, 0], 2, 0.5),
        ([-7, 3, -1, 0], 1, 1 / 3),  # evidence against the class is left out
        ([1, 0, 0, 3], np.exp(-0.25 * np.log(0.25) - 0.75 * np.log(0.75)), 1),
        ([8, 4, 2, 2], 2**1.75, 0),  # entropy 1/2 + 1/2 + 3/8 + 3/8 bits
        ([-1, -2, 0, 0], NAN, NAN),
    ],
)
def test_time_by_hand(by_frame: list[float], effective: float, peak: float) -> None:
    tube = create_tube(by_frame)
    assert count_effective_frames(tube) == pytest.approx(effective, nan_ok=True)
    assert find_temporal_peak(tube) == pytest.approx(peak, nan_ok=True)


def test_a_peak_needs_more_than_rounding() -> None:
    assert np.isnan(find_temporal_peak(create_tube([1, 1 + 1e-9, 1])))


@pytest.mark.parametrize(("velocity", "drift"), [((0, 0), 0), ((0, 2), 2), ((1.5, -2), 2.5)])
def test_drift_is_the_speed_of_a_blob(velocity: tuple[float, float], drift: float) -> None:
    y, x = np.mgrid[:64, :64]
    tube = np.stack(
        [np.exp(-((y - 32 - velocity[0] * t) ** 2 + (x - 32 - velocity[1] * t) ** 2) / 18) - 1e-3 for t in range(6)]
    )
    assert measure_drift(tube) == pytest.approx(drift, abs=1e-3)
    centres = [ndimage.center_of_mass(frame.clip(min=0)) for frame in tube]
    expected = np.mean([np.linalg.norm(np.subtract(a, b)) for a, b in zip(centres[1:], centres, strict=False)])
    assert measure_drift(tube) == pytest.approx(expected, abs=1e-9)


def test_drift_leaves_out_frames_without_evidence() -> None:
    tube = np.full((4, 1, 8), -1.0)
    tube[0, 0, 0] = tube[1, 0, 3] = tube[3, 0, 7] = 1
    assert measure_drift(tube) == pytest.approx(3)
    assert np.isnan(measure_drift(tube[1:]))  # no two frames in a row


def test_motion_map_is_the_central_difference() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 6), dtype=np.uint8)
    frames = clip.astype(int)
    expected = [frames[:, 1] - frames[:, 0], frames[:, 4] - frames[:, 3]]
    motion = compute_motion_map(clip)
    assert motion.shape == (5, 4, 6)
    np.testing.assert_allclose(motion[[0, 4]], [abs(difference).mean(0) for difference in expected])
    np.testing.assert_allclose(motion[2], (abs(frames[:, 3] - frames[:, 1]) / 2).mean(0))


def test_motion_map_lies_where_something_moves() -> None:
    clip = np.full((3, 6, 16, 16), 40, np.uint8)
    for t in range(6):
        clip[:, t, 4:8, t : t + 4] = 200
    motion = compute_motion_map(clip)
    assert motion[:, 4:8].sum() == motion.sum() > 0
    with pytest.raises(InputError, match="at least two frames"):
        compute_motion_map(clip[:, :1])


def test_centre_prior_is_even_in_time_and_about_the_middle() -> None:
    prior = create_centre_prior((3, 8, 12), sigma=0.25)
    assert prior.shape == (3, 8, 12)
    np.testing.assert_allclose(prior, prior[:, ::-1, ::-1])
    assert np.array_equal(prior[0], prior[2])
    # 1.5 of 12 columns and 1 of 8 rows are half a deviation, each about the same middle.
    np.testing.assert_allclose(prior[0, 4, 7] / prior[0, 4, 6], np.exp(-((1.5 / 12) ** 2 - (0.5 / 12) ** 2) / 0.125))
    np.testing.assert_allclose(prior[0, 5, 6] / prior[0, 4, 6], np.exp(-((1.5 / 8) ** 2 - (0.5 / 8) ** 2) / 0.125))
    with pytest.raises(InputError, match="positive size and sigma"):
        create_centre_prior((3, 8, 12), sigma=0)


def test_a_grid_takes_away_what_it_cannot_show() -> None:
    prior = create_centre_prior((8, 64, 64))
    coarse = see_at_grid(prior, (1, 2, 2))
    np.testing.assert_allclose(coarse, prior.mean(), rtol=1e-6)  # a centre prior is flat at 2 x 2 cells
    edges = np.linspace(0, 64, 5).astype(int)
    cells = [[prior[:, a:b, c:d].mean() for c, d in itertools.pairwise(edges)] for a, b in itertools.pairwise(edges)]
    finer = see_at_grid(prior, (1, 4, 4))
    np.testing.assert_allclose(finer[0, 0, 0], cells[0][0], rtol=1e-6)  # corners show their own cell
    np.testing.assert_allclose(finer[0, 31:33, 31:33].mean(), np.mean(cells[1][1]), rtol=0.02)
    np.testing.assert_allclose(see_at_grid(prior, (8, 64, 64)), prior, rtol=1e-6)
