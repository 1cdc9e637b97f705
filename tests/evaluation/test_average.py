"""Views averaged, against NumPy in float64."""

import numpy as np
import pytest
import torch

from videosoft.errors import InputError
from videosoft.evaluation import average_views


@pytest.mark.parametrize("shape", [(1, 1), (30, 5), (4, 15, 3), (2, 3, 6, 7), (0, 4, 5)])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 1e-6), (torch.float16, 1e-6)],
)
def test_average_is_the_mean_of_the_softmax_and_of_the_logits(
    shape: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    logits = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 5).to(dtype)
    exact = logits.double().numpy()
    shares = np.exp(exact) / np.exp(exact).sum(axis=-1, keepdims=True)
    probabilities, mean_logits = average_views(logits)
    assert probabilities.dtype == mean_logits.dtype == torch.promote_types(dtype, torch.float32)
    np.testing.assert_allclose(probabilities.numpy(), shares.mean(axis=-2), rtol=0, atol=tolerance)
    np.testing.assert_allclose(mean_logits.numpy(), exact.mean(axis=-2), rtol=0, atol=10 * tolerance)


def test_the_two_means_may_disagree() -> None:
    # one sure view against two hesitant ones: the logits follow the loud one, the probabilities the majority
    probabilities, logits = average_views(torch.tensor([[20.0, 0.0], [0.0, 3.0], [0.0, 3.0]]))
    assert (int(probabilities.argmax()), int(logits.argmax())) == (1, 0)


def test_large_logits_do_not_overflow() -> None:
    probabilities, _ = average_views(torch.tensor([[1e30, 0.0], [-1e30, 0.0]]))
    assert probabilities.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    "logits", [torch.zeros(5), torch.zeros(0, 5), torch.zeros(5, 0), torch.zeros(2, 5, dtype=torch.int64)]
)
def test_what_has_no_views_or_classes_is_refused(logits: torch.Tensor) -> None:
    with pytest.raises(InputError, match="views, classes"):
        average_views(logits)
