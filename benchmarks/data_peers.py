"""What feeds clips in the data benchmark: ours, decord's bare loop and pytorchvideo, each an epoch at a time."""

from collections.abc import Callable, Mapping
from typing import Any

import decord
import torch
from pytorchvideo.data import LabeledVideoDataset, make_clip_sampler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.transforms.v2 import RandomHorizontalFlip, RandomResizedCrop

from videosoft.data import (
    KineticsDataset,
    Preprocessing,
    collate_clips,
    sample_test_clips,
    sample_training_clips,
    unpack_views,
)
from videosoft.data.loader import ResumableLoader
from videosoft.data.samplers import ClipDraw, TrainingSampler

# One epoch over all videos; returns the number of clips that came.
Epoch = Callable[[], int]

NUM_CLIPS, NUM_CROPS = 10, 3
VIEWS_AT_ONCE = 8


class BareClips(Dataset[int]):
    """decord alone, on the frames that our training clips have: the floor that nothing built on decord can pass."""

    def __init__(self, paths: list[str], preprocessing: Preprocessing) -> None:
        self.paths = paths
        self.preprocessing = preprocessing

    def __getitem__(self, draw: ClipDraw) -> int:
        reader = decord.VideoReader(self.paths[draw.video], ctx=decord.cpu(0), num_threads=1)
        generator = torch.Generator().manual_seed(draw.seed)
        [indices] = sample_training_clips(len(reader), self.preprocessing, 1, generator)
        return int(reader.get_batch(indices).shape[0])


class BareViews(Dataset[int]):
    """decord alone, on the frames of a 10x3 test: all of them at once, or view by view."""

    def __init__(self, paths: list[str], preprocessing: Preprocessing, *, each_view: bool) -> None:
        self.paths = paths
        self.preprocessing = preprocessing
        self.each_view = each_view

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> int:
        reader = self._open(index)
        clips = sample_test_clips(len(reader), self.preprocessing, NUM_CLIPS)
        if not self.each_view:
            return int(reader.get_batch(sorted({frame for clip in clips for frame in clip})).shape[0])
        for clip in clips:
            for _ in range(NUM_CROPS):  # as a data set of views does: a video is opened for each of them
                self._open(index).get_batch(clip)
        return NUM_CLIPS * NUM_CROPS

    def _open(self, index: int) -> decord.VideoReader:
        return decord.VideoReader(self.paths[index], ctx=decord.cpu(0), num_threads=1)


class PytorchvideoClip:
    """pytorchvideo's sample to a clip like ours: the same number of frames, the same crop, uint8.

    Its own transforms do not import with today's torchvision; these are torchvision's.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._num_frames = preprocessing.num_frames
        self._crop = RandomResizedCrop(preprocessing.crop, scale=(0.25, 1.0), antialias=True)
        self._flip = RandomHorizontalFlip()

    def __call__(self, sample: dict[str, Any]) -> Tensor:
        video = sample["video"]  # (C, T, H, W), float
        indices = torch.linspace(0, video.shape[1] - 1, self._num_frames).long()
        frames = video[:, indices].to(torch.uint8).permute(1, 0, 2, 3)
        return self._flip(self._crop(frames)).permute(1, 0, 2, 3)


def create_training_epochs(
    datasets: Mapping[str, KineticsDataset], *, batch_size: int, num_workers: int, fps: float
) -> dict[str, Epoch]:
    """Contender -> one epoch of random clips, all with as many workers; ``datasets`` are ours, by contender."""
    dataset = next(iter(datasets.values()))
    paths = [str(record.path) for record in dataset.records]
    preprocessing = dataset.preprocessing
    workers: dict[str, Any] = {"num_workers": num_workers, "persistent_workers": num_workers > 0}

    def create_loader(clips: Dataset, collate: Callable[[Any], Any]) -> ResumableLoader:
        sampler = TrainingSampler(len(paths), batch_size, seed=0)
        return ResumableLoader(clips, sampler, data_hash="", collate_fn=collate, **workers)

    def count_ours(loader: ResumableLoader) -> Epoch:
        return lambda: sum(len(batch["label"]) for batch in loader)

    bare = create_loader(BareClips(paths, preprocessing), list)
    clip_seconds = preprocessing.clip_span / fps
    theirs = DataLoader(
        LabeledVideoDataset(
            [(path, {"label": 0}) for path in paths],
            make_clip_sampler("random", clip_seconds),
            RandomSampler,
            transform=PytorchvideoClip(preprocessing),
            decode_audio=False,
            decoder="decord",  # of its decoders pyav is slower and torchvision's does not work any more
        ),
        batch_size=batch_size,
        **workers,
    )
    ours = {name: count_ours(create_loader(clips, collate_clips)) for name, clips in datasets.items()}
    return {
        "decord": lambda: sum(len(batch) for batch in bare),
        **ours,
        "pytorchvideo": lambda: sum(len(batch) for batch in theirs),
    }


def create_test_epochs(datasets: Mapping[str, KineticsDataset], *, num_workers: int) -> dict[str, Epoch]:
    """Contender -> all videos with 10x3 views, all with as many workers; counts videos.

    ``datasets`` are ours, by contender, with packed views: they are cut out here, as a network would on the CPU.
    """
    dataset = next(iter(datasets.values()))
    paths = [str(record.path) for record in dataset.records]
    workers: dict[str, Any] = {"num_workers": num_workers, "persistent_workers": num_workers > 0}

    def count_bare(each_view: bool) -> Epoch:
        loader = DataLoader(BareViews(paths, dataset.preprocessing, each_view=each_view), batch_size=1, **workers)
        return lambda: sum(1 for _ in loader)

    def count_ours(views: KineticsDataset) -> Epoch:
        loader = DataLoader(views, batch_size=1, collate_fn=collate_clips, **workers)

        def run_epoch() -> int:
            num_views = sum(len(piece) for batch in loader for piece in unpack_views(batch["video"], VIEWS_AT_ONCE))
            return num_views // (NUM_CLIPS * NUM_CROPS)

        return run_epoch

    return {
        "one_decode": count_bare(each_view=False),
        **{name: count_ours(views) for name, views in datasets.items()},
        "each_view": count_bare(each_view=True),
    }
