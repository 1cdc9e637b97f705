"""The dataset against clips put together by PyAV and PIL; broken videos; workers and seeds."""

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from videosoft.data import (
    Augmentation,
    ClipBatch,
    ClipDraw,
    KineticsDataset,
    Preprocessing,
    ShortVideoError,
    TrainingSampler,
    VideoReader,
    augment_batch_pixels,
    collate_clips,
    load_views,
    open_video,
    write_manifest,
)
from videosoft.data import dataset as dataset_module
from videosoft.data.records import RECORD_SCHEMA
from videosoft.errors import InputError

PREPROCESSING = Preprocessing(num_frames=4, sampling_stride=3, short_side=32, crop=28)  # spans 10 frames
DecodeAll = Callable[[Path], np.ndarray]


@pytest.fixture
def root(tmp_path: Path, write_video: Callable[..., Path]) -> Path:
    """Three good videos of two classes, and one each that is missing, empty, truncated, no video, too short."""
    rows = []
    for number, (label, name, num_frames) in enumerate(
        [
            ("jump", "good1", 24),
            ("jump", "empty", 24),
            ("jump", "short", 9),
            ("run", "good2", 10),
            ("run", "truncated", 24),
            ("run", "text", 24),
            ("run", "missing", 24),
            ("run", "good3", 31),
        ]
    ):
        path = tmp_path / "val" / label / f"{name}_{number:06d}_{number + 10:06d}.mp4"
        write_video(path, num_frames=num_frames, height=48, width=64)
        if name == "empty":
            path.write_bytes(b"")
        elif name == "truncated":
            path.write_bytes(path.read_bytes()[:1500])
        elif name == "text":
            path.write_text("hello")
        elif name == "missing":
            path.unlink()
        rows.append(f"{label},{name},{number},{number + 10},val\n")
    (tmp_path / "val.csv").write_text("label,youtube_id,time_start,time_end,split\n" + "".join(rows))
    return tmp_path


def create_dataset(root: Path, **options: Any) -> KineticsDataset:
    return KineticsDataset(root, "val", **({"preprocessing": PREPROCESSING} | options))


STATUSES = ["ok", "unreadable", "too_short", "ok", "unreadable", "unreadable", "missing", "ok"]


@pytest.mark.parametrize("training", [True, False])
def test_broken_videos_are_listed_and_never_replaced(
    root: Path, training: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    dataset = create_dataset(root, training=training)
    samples = [dataset[index] for index in range(len(dataset))]
    assert [sample["status"] for sample in samples] == STATUSES
    assert [sample["video_id"] for sample in samples] == [record.video_id for record in dataset.records]
    for sample in samples:
        assert (sample["video"] is None) == bool(sample["reason"]) == (sample["status"] != "ok")
    assert "9 frames, but a clip spans 10" in samples[2]["reason"]
    assert 'short_videos="loop"' in samples[2]["reason"]
    assert (dataset.coverage().num_listed, dataset.coverage().num_usable) == (8, 7)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("training", "shape"), [(True, (3, 4, 28, 28)), (False, (6, 3, 4, 28, 28))])
def test_looped_short_video(root: Path, training: bool, shape: tuple[int, ...]) -> None:
    dataset = create_dataset(root, training=training, short_videos="loop", num_clips=2, num_crops=3)
    sample = dataset[2]
    assert (sample["status"], sample["repeats_frames"]) == ("ok", True)
    assert not any(dataset[index]["repeats_frames"] for index in range(len(dataset)) if index != 2)
    assert sample["video"] is not None
    assert sample["video"].shape == shape


@pytest.mark.parametrize(
    ("num_clips", "num_crops", "starts", "lefts"),
    [
        (1, 1, [7], [7]),
        (1, 3, [7], [0, 7, 14]),
        (3, 1, [0, 7, 14], [7]),
        (3, 3, [0, 7, 14], [0, 7, 14]),
    ],
)
def test_views_are_clips_by_crops(
    root: Path, decode_all: DecodeAll, num_clips: int, num_crops: int, starts: list[int], lefts: list[int]
) -> None:
    dataset = create_dataset(root, num_clips=num_clips, num_crops=num_crops)
    path = dataset.records[0].path
    # 48 x 64 becomes 32 x 42
    resized = np.stack(
        [Image.fromarray(frame).resize((42, 32), Image.Resampling.BILINEAR) for frame in decode_all(path)]
    )
    expected = np.stack([resized[start : start + 10 : 3, 2:30, left : left + 28] for start in starts for left in lefts])
    sample = dataset[0]
    assert sample["video"] is not None
    video = sample["video"].permute(0, 2, 3, 4, 1).numpy()
    assert video.shape == expected.shape
    assert np.abs(video.astype(int) - expected).max() <= 3
    views = load_views(path, PREPROCESSING, num_clips, num_crops)
    assert views.frames == [list(range(start, start + 10, 3)) for start in starts for _ in lefts]
    assert (views.fps, views.num_video_frames) == (25.0, 24)
    assert torch.equal(views.video, sample["video"])


def test_short_video_by_load_views(root: Path) -> None:
    path = root / "val" / "jump" / "short_000002_000012.mp4"
    with pytest.raises(ShortVideoError, match=r"short_000002.*9 frames"):
        load_views(path, PREPROCESSING, 3, 1)
    views = load_views(path, PREPROCESSING, 3, 1, short_videos="loop")
    assert views.frames == [[0, 3, 6, 0]] * 3
    assert torch.equal(views.video[:, :, 3], views.video[:, :, 0])


def test_training_clip_without_freedom_is_the_whole_frame(root: Path, decode_all: DecodeAll) -> None:
    # 10 frames leave one start, and an area of 1 at the frame's own ratio leaves one part.
    preprocessing = Preprocessing(num_frames=10, sampling_stride=1, short_side=32, crop=32)
    dataset = create_dataset(
        root,
        preprocessing=preprocessing,
        training=True,
        augmentation=Augmentation(random_scale=(1.0, 1.0), random_ratio=(64 / 48, 64 / 48), horizontal_flip=False),
    )
    expected = np.stack(
        [
            Image.fromarray(frame).resize((32, 32), Image.Resampling.BILINEAR)
            for frame in decode_all(dataset.records[3].path)
        ]
    )
    video = dataset[3]["video"]
    assert video is not None
    assert np.abs(video.permute(1, 2, 3, 0).numpy().astype(int) - expected).max() <= 3


@pytest.mark.parametrize("horizontal_flip", [True, False])
def test_flip_can_be_switched_off(root: Path, horizontal_flip: bool) -> None:
    torch.manual_seed(0)
    dataset = create_dataset(root, training=True, augmentation=Augmentation(horizontal_flip=horizontal_flip))
    directions = set()
    for _ in range(20):
        video = dataset[0]["video"]  # red grows from left to right in these videos
        assert video is not None
        columns = video[0].float().mean(dim=(0, 1))
        directions.add(bool(columns[-6:].mean() > columns[:6].mean()))
    assert directions == ({True, False} if horizontal_flip else {True})


def test_a_file_that_is_gone_since_is_missing(root: Path) -> None:
    dataset = create_dataset(root)
    dataset.records[0].path.unlink()
    sample = dataset[0]
    assert (sample["status"], sample["video"]) == ("missing", None)
    assert "No such file" in sample["reason"]


@pytest.mark.parametrize("num_repeats", [1, 3])
def test_a_draw_decides_everything(root: Path, num_repeats: int) -> None:
    dataset = create_dataset(root, training=True, num_repeats=num_repeats)
    first, again, other = (dataset[ClipDraw(0, seed)]["video"] for seed in (7, 7, 8))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.shape == ((3, 4, 28, 28) if num_repeats == 1 else (3, 3, 4, 28, 28))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    if num_repeats > 1:
        assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("num_repeats", [1, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"brightness": 0.4, "hue": 0.1, "erasing_probability": 0.7},
        {"rand_augment_ops": 2, "horizontal_flip": False, "mixup_alpha": 0.2},
    ],
)
def test_pixels_changed_on_the_device_are_those_of_the_workers(
    root: Path, settings: dict[str, Any], num_repeats: int, num_workers: int
) -> None:
    preprocessing = Preprocessing(4, 3, 32, 28, mean=(0.1, 0.9, 0.5))
    batches = []
    for on_device in (False, True):
        augmentation = Augmentation(**settings, pixels_on_device=on_device)
        dataset = create_dataset(
            root, preprocessing=preprocessing, training=True, augmentation=augmentation, num_repeats=num_repeats
        )
        sampler = TrainingSampler(len(dataset), 8, seed=3)
        [batch] = DataLoader(dataset, batch_sampler=sampler, num_workers=num_workers, collate_fn=collate_clips)
        batches.append(batch)
    by_workers, cut_only = batches
    seeds = [sample["pixel_seeds"] for sample in cut_only["samples"]]
    assert [len(each) for each in seeds] == [num_repeats * bool(settings)] * 3
    assert not any(sample["pixel_seeds"] for sample in by_workers["samples"])
    if settings:
        assert not torch.equal(cut_only["video"], by_workers["video"])
        augment_batch_pixels(cut_only["video"], augmentation, seeds, mean=preprocessing.mean)
    assert torch.equal(cut_only["video"], by_workers["video"])


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    ("signal_number", "reason"), [(signal.SIGSTOP, "no answer within 2 s"), (signal.SIGSEGV, "SIGSEGV")]
)
def test_a_decoder_that_hangs_or_crashes_costs_one_video(
    root: Path, signal_number: signal.Signals, reason: str, num_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_or_die(path: Path, *arguments: Any, **options: Any) -> VideoReader:
        if "good2" in path.name:
            os.kill(os.getpid(), signal_number)
        return open_video(path, *arguments, **options)

    monkeypatch.setattr(dataset_module, "open_video", open_or_die)
    dataset = create_dataset(root, training=True, time_limit_seconds=2.0)
    loader = DataLoader(dataset, batch_size=len(dataset), num_workers=num_workers, collate_fn=collate_clips)
    [batch] = list(loader)
    assert [sample["video_id"][:5] for sample in batch["samples"]] == ["good1", "good3"]
    [killed] = [failure for failure in batch["failures"] if failure["video_id"].startswith("good2")]
    assert killed["status"] == "unreadable"
    assert reason in killed["reason"]


def collect(batches: Iterable[ClipBatch]) -> tuple[list[torch.Tensor], list[str]]:
    videos, failures = [], []
    for batch in batches:
        videos.append(batch["video"].clone())
        failures += [failure["video_id"] for failure in batch["failures"]]
    return videos, failures


@pytest.mark.parametrize("num_workers", [0, 2])
def test_same_seed_same_clips(root: Path, num_workers: int) -> None:
    dataset = create_dataset(root, training=True)
    runs = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        loader = DataLoader(dataset, batch_size=3, num_workers=num_workers, collate_fn=collate_clips, shuffle=True)
        runs.append(collect(loader))
    assert all(torch.equal(a, b) for a, b in zip(runs[0][0], runs[1][0], strict=True))
    assert runs[0][1] == runs[1][1]
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(runs[0][0], runs[2][0], strict=True))
    assert len(runs[0][1]) == 5


@pytest.mark.parametrize("training", [True, False])
def test_a_file_that_was_replaced_since_the_manifest_was_made(root: Path, training: bool) -> None:
    table = create_dataset(root).records.table
    sizes = [path.stat().st_size if (path := root / name.as_py()).exists() else None for name in table.column("path")]
    sizes[3] += 1  # good2
    table = table.set_column(table.column_names.index("num_bytes"), "num_bytes", pa.array(sizes, pa.int64()))
    manifest = root / "manifest.parquet"
    write_manifest(manifest, table.cast(RECORD_SCHEMA), class_names=["jump", "run"], root=root)
    dataset = create_dataset(root, annotations=manifest, training=training)
    statuses = list(STATUSES)
    statuses[3] = "unreadable"
    samples = [dataset[index] for index in range(len(dataset))]
    assert [sample["status"] for sample in samples] == statuses
    reason = f"replaced since the manifest was made: {sizes[3] - 1} bytes, not {sizes[3]}; index it anew"
    assert [sample["reason"] for sample in samples if "replaced" in sample["reason"]] == [reason]


def test_collate_sets_the_broken_ones_aside(root: Path) -> None:
    dataset = create_dataset(root, num_clips=2, num_crops=3)
    samples = [dataset[index] for index in range(len(dataset))]
    batch = collate_clips(samples)
    good = [sample for sample in samples if sample["status"] == "ok"]
    assert batch["video"].shape == (3, 6, 3, 4, 28, 28)
    assert batch["video"].dtype == torch.uint8
    for video, sample in zip(batch["video"], good, strict=True):
        assert sample["video"] is not None
        assert torch.equal(video, sample["video"])
    assert batch["label"].tolist() == [0, 1, 1]
    assert batch["label"].dtype == torch.int64
    assert [sample["video_id"] for sample in batch["samples"]] == [sample["video_id"] for sample in good]
    assert [failure["status"] for failure in batch["failures"]] == [status for status in STATUSES if status != "ok"]
    assert all("video" not in description for description in batch["samples"] + batch["failures"])


def test_batch_without_any_good_sample(root: Path) -> None:
    dataset = create_dataset(root)
    batch = collate_clips([dataset[1], dataset[6]])
    assert (batch["video"].shape, batch["label"].shape, len(batch["failures"])) == ((0,), (0,), 2)


def test_samples_of_different_shape_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match="same shape"):
        collate_clips([create_dataset(root)[0], create_dataset(root, num_clips=2)[0]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_clips": 0}, "num_clips"),
        ({"num_crops": -1}, "num_crops"),
        ({"num_repeats": 0}, "num_repeats"),
        ({"training": True, "augmentation": Augmentation(no_flip_classes=("jmp",))}, "'jmp'.*jump"),
        ({"training": True, "augmentation": Augmentation(short_side_range=(20, 30))}, "crop of 28"),
        ({"decoder": "opencv"}, "decoder"),
        ({"time_limit_seconds": 0.0}, "time_limit_seconds"),
        ({"short_videos": "pad"}, "short_videos"),
        ({"class_names": ["run"]}, "jump"),
    ],
)
def test_wrong_options_are_refused(root: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_dataset(root, **options)


@pytest.mark.real_data
def test_every_video_of_ucf101_mini_gives_views(shared_dir: Path) -> None:
    preprocessing = Preprocessing(num_frames=8, sampling_stride=4, short_side=128, crop=112)
    dataset = KineticsDataset(shared_dir / "data" / "ucf101_mini", "val", preprocessing=preprocessing, num_crops=3)
    statuses = {dataset[index]["status"] for index in range(0, len(dataset), 4)}
    assert statuses == {"ok"}
