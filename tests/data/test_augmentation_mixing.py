"""MixUp and CutMix against the formulas, read off from constant clips."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from videosoft.data.augmentation import Augmentation
from videosoft.data.augmentation_mixing import mix_batch
from videosoft.errors import InputError

MIXUP, CUTMIX = Augmentation(mixup_alpha=0.4), Augmentation(cutmix_alpha=1.0)
BOTH = Augmentation(mixup_alpha=0.4, cutmix_alpha=1.0)
LABEL = torch.tensor([2, 0, 2])


def create_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def create_batch(height: int = 20, width: int = 30) -> Tensor:
    """Clip b is 10 ** b everywhere, so that each pixel tells its parts."""
    values = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    return values[:, None, None, None, None].expand(3, 3, 4, height, width).contiguous()


def weigh_labels(weight: float) -> Tensor:
    """weight * own + (1 - weight) * the one before."""
    own = torch.eye(5)[LABEL]
    return weight * own + (1 - weight) * own[[2, 0, 1]]


@pytest.mark.parametrize("seed", range(10))
def test_mixup_mixes_whole_clips_and_labels_by_one_weight(seed: int) -> None:
    video = create_batch()
    before = video.clone()
    mixed, probabilities = mix_batch(video, LABEL, 5, MIXUP, create_generator(seed))
    weight = float((mixed[1, 0, 0, 0, 0] - 1) / 9)
    expected = weight * video + (1 - weight) * video[[2, 0, 1]]
    assert 0 <= weight <= 1
    torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(probabilities, weigh_labels(weight), atol=1e-5, rtol=0)
    assert type(mixed) is Tensor
    assert torch.equal(video, before)


@pytest.mark.parametrize("seed", range(10))
def test_cutmix_takes_one_box_in_all_frames_and_labels_by_its_area(seed: int) -> None:
    video = create_batch()
    mixed, probabilities = mix_batch(video, LABEL, 5, CUTMIX, create_generator(seed))
    is_own = mixed == video
    assert torch.equal(mixed, torch.where(is_own, video, video[[2, 0, 1]]))
    assert (is_own == is_own[:1, :1, :1]).all()
    foreign = ~is_own[0, 0, 0]
    rows, columns = foreign.any(dim=1).sum(), foreign.any(dim=0).sum()
    assert rows * columns == foreign.sum()
    torch.testing.assert_close(probabilities, weigh_labels(1 - float(foreign.sum()) / 600), atol=1e-5, rtol=0)
    assert type(mixed) is Tensor


def test_mixups_weights_are_beta_distributed() -> None:
    generator = create_generator()
    video = create_batch(1, 1)
    weights = [float((mix_batch(video, LABEL, 5, MIXUP, generator)[0][1].flatten()[0] - 1) / 9) for _ in range(1000)]
    assert stats.kstest(np.clip(weights, 0, 1), stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


def test_one_of_both_is_chosen_for_a_batch() -> None:
    generator = create_generator()
    is_cutmix = []
    for _ in range(200):
        mixed, probabilities = mix_batch(create_batch(), LABEL, 5, BOTH, generator)
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))
        is_cutmix.append(set(mixed.unique().tolist()) <= {1.0, 10.0, 100.0})
    assert 70 < sum(is_cutmix) < 130


@pytest.mark.parametrize("settings", [MIXUP, CUTMIX, BOTH])
def test_a_mixed_batch_is_a_function_of_the_generator(settings: Augmentation) -> None:
    state = torch.get_rng_state()
    mixed = [mix_batch(create_batch(), LABEL, 5, settings, create_generator(seed))[0] for seed in (3, 3, 4)]
    assert torch.equal(mixed[0], mixed[1])
    assert not torch.equal(mixed[0], mixed[2])
    assert torch.equal(torch.get_rng_state(), state)
    assert settings.mixes_batches


def test_by_default_nothing_is_mixed() -> None:
    video = create_batch()
    mixed, probabilities = mix_batch(video, LABEL, 5, Augmentation(), create_generator())
    assert mixed is video
    assert torch.equal(probabilities, torch.eye(5)[LABEL])
    assert not Augmentation().mixes_batches


@pytest.mark.parametrize("settings", [MIXUP, CUTMIX])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_batch_of_one_stays_itself(settings: Augmentation, dtype: torch.dtype) -> None:
    video = torch.rand(1, 3, 4, 8, 8, generator=create_generator()).to(dtype)
    mixed, probabilities = mix_batch(video, LABEL[:1], 5, settings, create_generator())
    assert mixed.dtype == dtype
    torch.testing.assert_close(mixed, video)
    torch.testing.assert_close(probabilities, torch.eye(5)[LABEL[:1]])


@pytest.mark.parametrize(
    ("video", "label", "message"),
    [
        (torch.zeros(3, 3, 4, 8, 8, dtype=torch.uint8), LABEL, "normalised clips.*uint8"),
        (torch.zeros(3, 3, 8, 8), LABEL, r"clips \(B, C, T, H, W\)"),
        (torch.zeros(2, 3, 4, 8, 8), LABEL, r"got \(2, 3, 4, 8, 8\) and \(3,\)"),
    ],
)
def test_other_batches_are_refused(video: Tensor, label: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mix_batch(video, label, 5, MIXUP, create_generator())
