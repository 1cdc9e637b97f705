"""Views cut out of the frames that they share, against NumPy; the data set's packed views against its plain ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from videosoft.data import KineticsDataset, PackedViews, Preprocessing, collate_clips, unpack_views
from videosoft.data.packed_views import ViewLayout


def create_video(seed: int, *, height: int, width: int, corners: list[tuple[int, int]]) -> PackedViews:
    numbers = np.random.default_rng(seed)
    frames = torch.from_numpy(numbers.integers(0, 255, (9, height, width, 3), dtype=np.uint8))
    return PackedViews(frames, ViewLayout(numbers.integers(0, 9, (4, 5)).tolist(), corners, crop=8))


VIDEOS = [
    create_video(0, height=8, width=20, corners=[(0, 0), (0, 6), (0, 12)]),
    create_video(1, height=13, width=8, corners=[(0, 0), (3, 0), (5, 0)]),
    create_video(2, height=8, width=8, corners=[(0, 0)] * 3),
]


@pytest.mark.parametrize("max_views", [1, 5, 12, 100])
def test_views_in_pieces(max_views: int) -> None:
    pieces = list(unpack_views(VIDEOS, max_views))
    expected = np.stack(
        [
            video.frames.numpy()[clip][:, top : top + 8, left : left + 8]
            for video in VIDEOS
            for clip in video.layout.clips
            for top, left in video.layout.corners
        ]
    )
    assert [len(piece) for piece in pieces] == [max_views] * (36 // max_views) + [36 % max_views] * (36 % max_views > 0)
    views = torch.cat(pieces)
    assert np.array_equal(views.numpy(), expected.transpose(0, 4, 1, 2, 3))
    assert all(piece.permute(0, 2, 3, 4, 1).is_contiguous() for piece in pieces)
    assert len(VIDEOS[0]) == 12
    assert torch.equal(VIDEOS[1].unpack(), views[12:24])


def test_on_another_device() -> None:
    moved = VIDEOS[0].to("meta")
    assert moved.frames.device.type == "meta"
    assert next(unpack_views([moved], 4)).device.type == "meta"


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("num_clips", [5, "windows"])
def test_packed_samples_are_the_plain_ones(
    tmp_path: Path, write_video: Callable[..., Path], num_clips: int | str, num_workers: int
) -> None:
    for name, size in (("wide", (48, 64)), ("high", (80, 48)), ("square", (40, 40))):
        write_video(tmp_path / "val" / "jump" / f"{name}.mp4", num_frames=30, height=size[0], width=size[1])
    (tmp_path / "val" / "jump" / "text.mp4").write_text("no video")
    plain, packed = (
        KineticsDataset(
            tmp_path,
            "val",
            preprocessing=Preprocessing(4, 3, 32, 28),
            num_clips=num_clips,
            num_crops=3,
            packed_views=packed_views,
        )
        for packed_views in (False, True)
    )
    loader = DataLoader(packed, batch_size=4, num_workers=num_workers, collate_fn=collate_clips)
    [batch] = list(loader)
    expected = {sample["video_id"]: sample["video"] for sample in plain}
    assert [sample["video_id"] for sample in batch["failures"]] == ["text"]
    assert len(batch["video"]) == len(batch["samples"]) == 3
    for views, sample in zip(batch["video"], batch["samples"], strict=True):
        assert torch.equal(views.unpack(), expected[sample["video_id"]])
        assert min(views.frames.shape[1:3]) == 28  # what no crop shows does not travel
