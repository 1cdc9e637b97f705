"""Checks that mean something: on the demo set, whose objects are known, trained tubes find them, and why not always."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from videosoft.data import Preprocessing, load_views, normalize_clip
from videosoft.explain import create_method
from videosoft.explain.scores import (
    compare_paired,
    create_box_mask,
    create_centre_prior,
    measure_energy_in_box,
    randomize_weights,
    read_boxes,
    see_at_grid,
)
from videosoft.explain.targets import Target
from videosoft.models import load_checkpoint

REPOSITORY = Path(__file__).resolve().parents[3]
DEMO_FOLDER = REPOSITORY / "datasets" / "demo"
CHECKPOINT = REPOSITORY / "tests" / "assets" / "r3d50_softpool_demo.ckpt"
NUM_VIDEOS = 256
LEAST_CORRECT = 100
LEVEL = 0.01

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Clips:
    """The centre crops of the validation videos: pixels (N, 3, T, H, W), labels (N,), box masks (N, T, H, W)."""

    pixels: torch.Tensor
    labels: torch.Tensor
    masks: npt.NDArray[np.float64]
    video_ids: list[str]
    frames: list[list[int]]


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "set"
    command = [sys.executable, str(DEMO_FOLDER / "prepare.py"), "--output", str(root), "--num_train", "8"]
    search_path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [*command, "--num_val", str(NUM_VIDEOS)],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": search_path},
        timeout=300,
    )
    return root


@pytest.fixture(scope="session")
def load_demo_clips(demo_root: Path):
    """Load the validation clips at a crop, once."""
    loaded = load_checkpoint(CHECKPOINT)
    boxes = read_boxes(demo_root / "boxes.parquet")

    @cache
    def load(crop: int) -> Clips:
        preprocessing = replace(Preprocessing.from_dict(loaded.preprocessing), crop=crop)
        pixels, labels, masks, video_ids, frames = [], [], [], [], []
        for path in sorted((demo_root / "val").rglob("*.mp4")):
            views = load_views(path, preprocessing, num_clips=1, num_crops=1)
            pixels.append(normalize_clip(views.video, preprocessing.mean, preprocessing.std)[0])
            labels.append(loaded.class_names.index(path.parent.name))
            masks.append(create_box_mask(boxes[path.stem], views.frames[0], (72, 72), preprocessing))
            video_ids.append(path.stem)
            frames.append(views.frames[0])
        return Clips(torch.stack(pixels), torch.tensor(labels), np.stack(masks), video_ids, frames)

    return load


def explain(network: torch.nn.Module, clips: Clips, layer: str) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int]]:
    """The tubes of the true classes (N, T, H, W), which clips are correct (N,), and the native grid."""
    method = create_method("saliency_tubes")
    tubes = []
    for pixels, labels in zip(clips.pixels.split(32), clips.labels.split(32), strict=True):
        tubes += method(network, pixels, [Target(int(label)) for label in labels], layer)
    is_correct = np.array([tube.prediction == tube.target for tube in tubes])
    return np.stack([tube.tube.numpy() for tube in tubes]), is_correct, tuple(tubes[0].map.shape)  # type: ignore[return-value]


def measure(maps: npt.NDArray, clips: Clips) -> npt.NDArray[np.float64]:
    return np.array([measure_energy_in_box(map_, mask) for map_, mask in zip(maps, clips.masks, strict=True)])


def test_boxes_lie_on_what_the_object_adds_to_the_clip(load_demo_clips) -> None:
    """The clip less the same scene without its object is the object: frames, resizing and crop must all be right."""
    sys.path.insert(0, str(DEMO_FOLDER))
    from rendering import render_scene
    from scenes import draw_scene

    clips = load_demo_clips(64)
    preprocessing = load_checkpoint(CHECKPOINT).preprocessing
    shares = []
    for number in range(0, NUM_VIDEOS, 8):
        split, index = clips.video_ids[number].split("_")[0].split("-")[1:]
        background, _ = render_scene(draw_scene(0, split, int(index)), with_object=False)
        cropped = torch.from_numpy(background)[clips.frames[number], 4:68, 4:68].permute(3, 0, 1, 2)
        difference = clips.pixels[number] - normalize_clip(cropped, preprocessing["mean"], preprocessing["std"])
        changed = difference.abs().mean(0).numpy()
        shares.append(measure_energy_in_box(np.where(changed > 0.5, changed, 0), clips.masks[number]))
        assert clips.masks[number].mean() < 0.7
    assert min(shares) > 0.95


@pytest.mark.parametrize(
    ("layer", "crop", "grid", "beats_sharp_prior"),
    [
        ("layer1", 64, (4, 16, 16), True),
        ("layer4", 64, (1, 2, 2), False),  # see the next test for why
        ("layer4", 72, (1, 3, 3), True),  # the whole frame, for which the last map has three cells a side
    ],
)
def test_tubes_find_the_object(
    load_demo_clips, layer: str, crop: int, grid: tuple[int, int, int], beats_sharp_prior: bool
) -> None:
    """More energy in the true box than an even map, a centre prior, and the same network with fresh weights."""
    clips = load_demo_clips(crop)
    network = load_checkpoint(CHECKPOINT).network
    tubes, is_correct, found_grid = explain(network, clips, layer)
    assert found_grid == grid
    assert is_correct.sum() >= LEAST_CORRECT
    energy = measure(tubes, clips)[is_correct]
    assert not np.isnan(energy).any()

    prior = create_centre_prior(tubes.shape[1:])
    references = {
        "even map": clips.masks.mean(axis=(1, 2, 3)),
        "centre prior": measure(np.broadcast_to(prior, tubes.shape), clips),
        "centre prior at the map's grid": measure(np.broadcast_to(see_at_grid(prior, grid), tubes.shape), clips),
    }
    fresh = []
    for seed in range(3):
        fresh_tubes, _, _ = explain(randomize_weights(network, seed), clips, layer)
        fresh.append(measure(fresh_tubes, clips))
    # Where no draw has any evidence for the class there is nothing to compare with.
    references["fresh weights"] = np.nanmean(fresh, axis=0)
    for name, values in references.items():
        result = compare_paired(energy, values[is_correct])
        assert result.n >= LEAST_CORRECT, name
        is_better = result.median_difference > 0 and result.p_value is not None and result.p_value < LEVEL
        assert is_better == (name != "centre prior" or beats_sharp_prior), (name, result)


def test_two_cells_a_side_cannot_beat_a_sharp_centre_prior(load_demo_clips) -> None:
    """The true box itself, seen at 2 x 2 cells, has no more energy in the box than a full centre prior."""
    clips = load_demo_clips(64)
    prior = create_centre_prior(clips.masks.shape[1:])
    best = measure(np.stack([see_at_grid(mask, (1, 2, 2)) for mask in clips.masks]), clips)
    result = compare_paired(best, measure(np.broadcast_to(prior, clips.masks.shape), clips))
    assert result.p_value is not None
    assert result.p_value > LEVEL or result.median_difference < 0
