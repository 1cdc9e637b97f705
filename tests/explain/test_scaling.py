"""What is drawn of one or two tubes on each kind of scale, written out by hand."""

import numpy as np
import pytest

from videosoft.errors import InputError
from videosoft.explain.rendering import scale_tubes

A = np.array([[[4.0, -2.0], [1.0, 0.0]]], np.float32)
B = np.array([[[1.0, 1.0], [-8.0, 2.0]]], np.float32)
ZERO = np.zeros((1, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("tubes", "scale", "options", "expected", "limit"),
    [
        ([A], "pair", {}, [[4, -2, 1, 0]], 4),
        ([A, B], "pair", {}, [[4, -2, 1, 0], [1, 1, -8, 2], [3, -3, 9, -2]], 9),
        ([A, B], "pair", {"positive_only": True}, [[4, 0, 1, 0], [1, 1, 0, 2], [3, -1, 1, -2]], 4),
        ([A, B], "map", {}, [[1, -0.5, 0.25, 0], [0.125, 0.125, -1, 0.25], [0.875, -0.625, 1.25, -0.25]], 1.25),
        ([A, ZERO], "map", {}, [[1, -0.5, 0.25, 0], [0, 0, 0, 0], [1, -0.5, 0.25, 0]], 1),
        ([A, B], "rank", {}, [[1, -0.75, 0.5, 0], [0.375, 0.375, -1, 0.75], [0.625, -1.125, 1.5, -0.75]], 1.5),
        ([A, B], "fixed", {"limit": 2.0}, [[4, -2, 1, 0], [1, 1, -8, 2], [3, -3, 9, -2]], 2),
        ([A], "dataset", {"limit": 3.0}, [[4, -2, 1, 0]], 3),
        ([ZERO], "rank", {}, [[0, 0, 0, 0]], 1),
    ],
)
def test_values_on_each_scale(
    tubes: list[np.ndarray], scale: str, options: dict, expected: list[list[float]], limit: float
) -> None:
    before = [tube.copy() for tube in tubes]
    drawn, color_scale = scale_tubes(tubes, scale, unit="logits", **options)
    np.testing.assert_allclose([tube.ravel() for tube in drawn], expected, atol=1e-6)
    assert color_scale.limit == pytest.approx(limit)
    for tube, same in zip(tubes, before, strict=True):
        np.testing.assert_array_equal(tube, same)


def test_the_legend_says_what_the_numbers_are() -> None:
    labels = {scale: scale_tubes([A], scale, unit="share kept")[1].label for scale in ("pair", "map", "rank")}
    assert labels == {
        "pair": "evidence, in share kept",
        "map": "share of map's largest",
        "rank": "signed rank of |M|",
    }


@pytest.mark.parametrize("limit", [None, 0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_must_be_positive(limit: float | None) -> None:
    with pytest.raises(InputError, match="needs a positive limit"):
        scale_tubes([A], "fixed", unit="logits", limit=limit)


@pytest.mark.parametrize("scale", ["pair", "map", "rank", "fixed"])
def test_a_tube_that_is_not_finite_is_refused(scale: str) -> None:
    with pytest.raises(InputError, match="NaN or infinity"):
        scale_tubes([A, np.full_like(A, np.nan)], scale, unit="logits", limit=1.0)
