"""Sizes against PIL, positions against pictures that tell where each pixel came from."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional

from videosoft.data import center_crop, random_horizontal_flip, random_resized_crop, resize_short_side, uniform_crops
from videosoft.data.transforms import random_jittered_crop
from videosoft.errors import InputError


def create_noise(num_frames: int, height: int, width: int) -> Tensor:
    shape = (num_frames, height, width, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def create_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def create_map(height: int, width: int, num_frames: int = 2) -> Tensor:
    """Red tells the column, green the row, blue is constant."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([columns, rows, torch.full_like(rows, 7)], dim=-1).to(torch.uint8)
    return image.expand(num_frames, -1, -1, -1).contiguous()


@pytest.mark.parametrize(
    ("height", "width", "short_side", "expected"),
    [
        (60, 80, 30, (30, 40)),
        (80, 60, 30, (40, 30)),
        (60, 60, 45, (45, 45)),
        (31, 47, 20, (20, 30)),
        (48, 64, 48, (48, 64)),
        (24, 32, 36, (36, 48)),
        (128, 17, 8, (60, 8)),
    ],
)
def test_resize_short_side_is_antialiased_bilinear(
    height: int, width: int, short_side: int, expected: tuple[int, int]
) -> None:
    frames = create_noise(3, height, width)
    result = resize_short_side(frames, short_side)
    assert result.shape == (3, *expected, 3)
    assert result.dtype == torch.uint8
    for frame, resized in zip(frames, result, strict=True):
        reference = np.asarray(Image.fromarray(frame.numpy()).resize(expected[::-1], Image.Resampling.BILINEAR))
        assert np.abs(reference.astype(int) - resized.numpy()).max() <= 1


@pytest.mark.parametrize(("height", "width", "crop"), [(8, 8, 8), (9, 12, 8), (12, 9, 8), (11, 11, 4), (10, 31, 7)])
def test_center_crop_is_torchvisions(height: int, width: int, crop: int) -> None:
    frames = create_map(height, width)
    expected = functional.center_crop(frames.permute(0, 3, 1, 2), [crop, crop]).permute(0, 2, 3, 1)
    assert torch.equal(center_crop(frames, crop), expected)


@pytest.mark.parametrize(
    ("height", "width", "crop", "num_crops", "corners"),
    [
        (10, 20, 10, 3, [(0, 0), (0, 5), (0, 10)]),
        (20, 10, 10, 3, [(0, 0), (5, 0), (10, 0)]),
        (14, 20, 10, 3, [(2, 0), (2, 5), (2, 10)]),
        (20, 14, 10, 3, [(0, 2), (5, 2), (10, 2)]),
        (12, 12, 10, 3, [(1, 0), (1, 1), (1, 2)]),
        (10, 10, 10, 3, [(0, 0), (0, 0), (0, 0)]),
        (10, 20, 10, 1, [(0, 5)]),
        (10, 20, 10, 5, [(0, 0), (0, 2), (0, 5), (0, 8), (0, 10)]),
    ],
)
def test_uniform_crops(height: int, width: int, crop: int, num_crops: int, corners: list[tuple[int, int]]) -> None:
    crops = uniform_crops(create_map(height, width), crop, num_crops)
    assert [(int(c[0, 0, 0, 1]), int(c[0, 0, 0, 0])) for c in crops] == corners
    assert all(c.shape == (2, crop, crop, 3) for c in crops)


def test_crops_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="crop of 11 does not fit into frames of 20 x 10"):
        uniform_crops(create_map(20, 10), 11, 3)
    with pytest.raises(InputError, match="num_crops"):
        uniform_crops(create_map(20, 10), 5, 0)


def test_random_resized_crop_resizes_the_part_that_it_cut() -> None:
    # scale 1 and ratio 4/3 leave one choice for a 60 x 80 frame: all of it
    frames = create_noise(2, 60, 80)
    result = random_resized_crop(frames, 32, (1.0, 1.0), (4 / 3, 4 / 3), create_generator())
    for frame, resized in zip(frames, result, strict=True):
        reference = np.asarray(Image.fromarray(frame.numpy()).resize((32, 32), Image.Resampling.BILINEAR))
        assert np.abs(reference.astype(int) - resized.numpy()).max() <= 1


@pytest.mark.parametrize("scale", [(0.25, 1.0), (0.5, 0.6), (0.08, 0.1)])
def test_random_resized_crop_covers_the_asked_area_at_one_place_in_all_frames(scale: tuple[float, float]) -> None:
    generator = create_generator()
    height, width, crop = 180, 240, 60
    frames = create_map(height, width, num_frames=3)
    areas, ratios = [], []
    for _ in range(300):
        result = random_resized_crop(frames, crop, scale, (3 / 4, 4 / 3), generator)
        assert result.shape == (3, crop, crop, 3)
        assert torch.equal(result[0], result[2])
        # From the first to the last output pixel lie (crop - 1) / crop of the part that was cut.
        part_width = float(result[0, 0, -1, 0]) - float(result[0, 0, 0, 0])
        part_height = float(result[0, -1, 0, 1]) - float(result[0, 0, 0, 1])
        areas.append(part_width * part_height / (height * width) * (crop / (crop - 1)) ** 2)
        ratios.append(part_width / part_height)
    slack = 0.04
    assert scale[0] - slack <= min(areas)
    assert max(areas) <= scale[1] + slack
    assert max(areas) - min(areas) > 0.5 * (scale[1] - scale[0])
    assert min(ratios) > 3 / 4 - slack
    assert max(ratios) < 4 / 3 + slack
    if scale == (0.5, 0.6):  # no fallback to the centre here: the area is uniform
        assert abs(np.mean(areas) - 0.55) < 0.01


@pytest.mark.parametrize("size", [(180, 240), (240, 180), (100, 400), (400, 100), (64, 64)])
@pytest.mark.parametrize("scale", [(0.25, 1.0), (0.08, 1.0), (0.9, 1.0)])
@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (0.5, 2.0), (1.0, 1.0)])
def test_random_resized_crop_cuts_where_torchvision_does(
    size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    # By the same generator state, fallbacks to the centre included.
    frames = create_noise(1, *size)
    images = frames.permute(0, 3, 1, 2)
    for seed in range(15):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            part = RandomResizedCrop.get_params(images, list(scale), list(ratio))
        expected = functional.resized_crop(images, *part, [32, 32], antialias=True).permute(0, 2, 3, 1)
        assert torch.equal(random_resized_crop(frames, 32, scale, ratio, create_generator(seed)), expected)


@pytest.mark.parametrize("size", [(120, 160), (160, 120), (90, 90)])
@pytest.mark.parametrize("short_side_range", [(64, 64), (64, 100), (200, 256)])
def test_jittered_crop_is_a_crop_of_the_resized_frame(size: tuple[int, int], short_side_range: tuple[int, int]) -> None:
    crop, frames, generator = 60, create_map(*size, num_frames=2), create_generator()
    sides, tops, lefts = [], [], []
    for _ in range(400):
        result = random_jittered_crop(frames, crop, short_side_range, generator)
        assert result.shape == (2, crop, crop, 3)
        assert torch.equal(result[0], result[1])
        first, last = result[0, 0, 0].tolist(), result[0, -1, -1].tolist()
        widths = [(last[axis] - first[axis]) * crop / (crop - 1) for axis in (0, 1)]
        assert abs(widths[0] - widths[1]) <= 2  # the aspect is kept
        sides.append(sum(widths) / 2)
        lefts.append(first[0])
        tops.append(first[1])
    # short side / side of the part = jittered short side / crop
    short_sides = min(size) * crop / np.array(sides)
    assert short_sides.min() > 0.94 * short_side_range[0]
    assert short_sides.max() < 1.06 * short_side_range[1]
    assert abs(short_sides.mean() / np.mean(short_side_range) - 1) < 0.03
    if short_side_range == (64, 100):  # the enlarged parts are some 25 pixels large, too coarse for a distribution
        spread = stats.uniform(short_side_range[0], short_side_range[1] - short_side_range[0])
        assert stats.kstest(short_sides, spread.cdf).statistic < 0.12
    # The square reaches both ends of either axis and lies in the middle on average.
    for starts, length in ((lefts, size[1]), (tops, size[0])):
        middles = np.array(starts) + np.array(sides) / 2
        assert abs(middles.mean() - length / 2) < 0.06 * length
        assert min(starts) <= 2


def test_jittered_crop_without_freedom_is_the_resized_frame() -> None:
    frames = create_noise(2, 90, 90)
    result = random_jittered_crop(frames, 60, (60, 60), create_generator())
    assert torch.equal(result, resize_short_side(frames, 60))


def test_jittered_crop_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="crop of 61 does not fit into frames whose short side is jittered from 60"):
        random_jittered_crop(create_noise(1, 90, 90), 61, (60, 80), create_generator())


def test_flip_mirrors_all_frames_or_none_half_of_the_time() -> None:
    generator = create_generator()
    frames = create_noise(3, 4, 5)
    mirrored = torch.from_numpy(frames.numpy()[:, :, ::-1].copy())
    num_mirrored = 0
    for _ in range(400):
        result = random_horizontal_flip(frames, generator)
        assert torch.equal(result, frames) or torch.equal(result, mirrored)
        num_mirrored += torch.equal(result, mirrored)
    assert 160 < num_mirrored < 240  # 200 expected, deviation 10
    assert torch.equal(random_horizontal_flip(frames, generator, probability=1.0), mirrored)
    assert torch.equal(random_horizontal_flip(frames, generator, probability=0.0), frames)
