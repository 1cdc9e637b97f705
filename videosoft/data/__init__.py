"""Videos from disk to uint8 clips: annotations, decoding, sampling, transforms, dataset.  No Lightning here.

The path of a sample: ``read_annotations`` lists the videos, ``open_video`` decodes the frames that ``sampling`` chose,
``transforms`` cuts them to size, ``collate_clips`` batches them, and ``normalize_clip`` makes them float on the device.
"""

from videosoft.data.annotations import AnnotationList, VideoRecord, read_annotations
from videosoft.data.collate import ClipBatch, collate_clips
from videosoft.data.dataset import KineticsDataset, VideoSample
from videosoft.data.decoding import ShortVideoError, VideoDecodeError, VideoReader, open_video
from videosoft.data.preprocessing import KINETICS_MEAN, KINETICS_STD, Preprocessing, normalize_clip
from videosoft.data.sampling import loop_clip, sample_random_clip, sample_uniform_clips
from videosoft.data.transforms import (
    center_crop,
    random_horizontal_flip,
    random_resized_crop,
    resize_short_side,
    uniform_crops,
)
from videosoft.data.views import ClipViews, load_views

__all__ = [
    "KINETICS_MEAN",
    "KINETICS_STD",
    "AnnotationList",
    "ClipBatch",
    "ClipViews",
    "KineticsDataset",
    "Preprocessing",
    "ShortVideoError",
    "VideoDecodeError",
    "VideoReader",
    "VideoRecord",
    "VideoSample",
    "center_crop",
    "collate_clips",
    "load_views",
    "loop_clip",
    "normalize_clip",
    "open_video",
    "random_horizontal_flip",
    "random_resized_crop",
    "read_annotations",
    "resize_short_side",
    "sample_random_clip",
    "sample_uniform_clips",
    "uniform_crops",
]
