"""A batch of samples, the broken ones set aside and listed."""

from collections.abc import Sequence
from typing import Any, TypedDict, cast

import torch
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from videosoft.data._slots import SentTensors, unpack_tensor
from videosoft.data.dataset import VideoSample
from videosoft.data.packed_views import PackedViews
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


class PackedBatch(TypedDict):
    """The same of samples whose views are packed: ``video`` is the list of them, for :func:`unpack_views`."""

    video: list[PackedViews]
    label: Tensor
    samples: list[dict[str, Any]]
    failures: list[dict[str, Any]]


def collate_clips(samples: Sequence[VideoSample]) -> ClipBatch | PackedBatch:
    """Batch samples for a DataLoader; the broken ones are neither replaced nor dropped in silence.

    Raises:
        InputError: the videos of the samples differ in shape.
    """
    loaded = [sample for sample in samples if sample["video"] is not None]
    described = [_describe(sample) for sample in loaded]
    batch = {
        "video": _batch_videos([sample["video"] for sample in loaded], described),
        "label": torch.tensor([sample["label"] for sample in loaded], dtype=torch.int64),
        "samples": described,
        "failures": [_describe(sample) for sample in samples if sample["video"] is None],
    }
    return cast(ClipBatch | PackedBatch, batch if get_worker_info() is None else _SentBatch(batch))


class _SentBatch(dict[str, Any]):
    """A batch that a worker hands over: what lies in a slot of shared memory stays there.  It arrives as a dict.

    Torch itself would copy each tensor into fresh shared memory, and open a connection for each.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        sent = SentTensors()
        video = self["video"]
        packed = (
            [(sent.pack(views.frames), views.layout) for views in video]
            if isinstance(video, list)
            else sent.pack(video)
        )
        return _receive_batch, (packed, self["label"].tolist(), self["samples"], self["failures"])


def _receive_batch(
    packed: Any, labels: list[int], samples: list[dict[str, Any]], failures: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "video": [PackedViews(unpack_tensor(frames), layout) for frames, layout in packed]
        if isinstance(packed, list)
        else unpack_tensor(packed),
        "label": torch.tensor(labels, dtype=torch.int64),
        "samples": samples,
        "failures": failures,
    }


def _describe(sample: VideoSample) -> dict[str, Any]:
    return {name: value for name, value in sample.items() if name != "video"}


def _batch_videos(videos: list[Any], described: list[dict[str, Any]]) -> Tensor | list[PackedViews]:
    if not videos:
        return torch.empty(0, dtype=torch.uint8)
    if isinstance(videos[0], PackedViews):
        return videos
    for video, description in zip(videos, described, strict=True):
        if video.shape != videos[0].shape:
            raise InputError(
                f"samples of one batch must have the same shape: {described[0]['video_id']} has "
                f"{tuple(videos[0].shape)}, {description['video_id']} has {tuple(video.shape)}"
            )
    return _stack(videos)


def _stack(videos: list[Tensor]) -> Tensor:
    """One tensor of several: without a copy where they lie one behind the other, as a data set loads them."""
    first = videos[0]
    if all(
        video.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and video.storage_offset() == first.storage_offset() + number * first.numel()
        and video.stride() == first.stride()
        for number, video in enumerate(videos)
    ):
        return first.as_strided((len(videos), *first.shape), (first.numel(), *first.stride()))
    # In the samples' own memory order a stack is a plain copy; reordering it here would cost the worker's time.
    # In a worker torch's default_collate copies right into the shared memory that the batch travels in.
    stacked: Tensor = default_collate([video.movedim(-4, -1) for video in videos])
    return stacked.movedim(-1, -4)
