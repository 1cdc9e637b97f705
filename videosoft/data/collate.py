"""A batch of samples, the broken ones set aside and listed."""

from collections.abc import Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor
from torch.utils.data import default_collate

from videosoft.data.dataset import VideoSample
from videosoft.errors import InputError


class ClipBatch(TypedDict):
    """A batch: ``video`` uint8 (B, C, T, H, W) or (B, V, C, T, H, W), ``label`` int64 (B,), of the samples that are ok.

    ``samples`` describes these B samples, ``failures`` those left out, with their status and reason.  Without any
    sample that is ok, ``video`` has shape (0,).  The memory order of ``video`` is that of the samples (channels last).
    """

    video: Tensor
    label: Tensor
    samples: list[dict[str, Any]]
    failures: list[dict[str, Any]]


def collate_clips(samples: Sequence[VideoSample]) -> ClipBatch:
    """Batch samples for a DataLoader; the broken ones are neither replaced nor dropped in silence.

    Raises:
        InputError: the videos of the samples differ in shape.
    """
    videos: list[Tensor] = []
    labels: list[int] = []
    described: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for sample in samples:
        description = {name: value for name, value in sample.items() if name != "video"}
        video = sample["video"]
        if video is None:
            failures.append(description)
            continue
        if videos and video.shape != videos[0].shape:
            raise InputError(
                f"samples of one batch must have the same shape: {described[0]['video_id']} has "
                f"{tuple(videos[0].shape)}, {sample['video_id']} has {tuple(video.shape)}"
            )
        videos.append(video)
        labels.append(sample["label"])
        described.append(description)
    return {
        "video": _stack_channels_last(videos) if videos else torch.empty(0, dtype=torch.uint8),
        "label": torch.tensor(labels, dtype=torch.int64),
        "samples": described,
        "failures": failures,
    }


def _stack_channels_last(videos: list[Tensor]) -> Tensor:
    # In the samples' own memory order a stack is a plain copy; reordering it here would cost the worker's time.
    # In a worker torch's default_collate copies right into the shared memory that the batch travels in.
    stacked: Tensor = default_collate([video.movedim(-4, -1) for video in videos])
    return stacked.movedim(-1, -4)
