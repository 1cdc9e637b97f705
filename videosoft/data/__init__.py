"""Videos from disk to uint8 clips: annotations, decoding, sampling, augmentation, dataset.  No Lightning here.

The path of a sample: ``read_annotations`` lists the videos, ``open_video`` decodes the frames that ``sampling`` chose,
``augmentation`` or ``views`` cut them to size, ``GuardedLoader`` bounds what that may take, ``collate_clips`` batches
them, and ``normalize_clip`` makes them float on the device.
"""

from videosoft.data.annotations import AnnotationFormat, AnnotationList, VideoRecord, read_annotations
from videosoft.data.augmentation import Augmentation, augment_batch_pixels, augment_clip
from videosoft.data.augmentation_mixing import mix_batch
from videosoft.data.class_names import match_class_names, read_class_names
from videosoft.data.collate import ClipBatch, PackedBatch, collate_clips
from videosoft.data.coverage import Coverage, compute_coverage, describe_coverage, write_coverage
from videosoft.data.dataset import KineticsDataset, VideoSample, VideoStorage
from videosoft.data.decoding import DecoderName, ShortVideoError, VideoDecodeError, VideoReader, open_video
from videosoft.data.evaluation_sampler import EvaluationSampler
from videosoft.data.guard import DecodeCrashError, DecodeTimeoutError, GuardedLoader
from videosoft.data.litdata_source import LitDataSource
from videosoft.data.loader import ResumableLoader, leave_signals_to_the_trainer
from videosoft.data.manifest import Manifest, read_manifest, write_manifest
from videosoft.data.packed_views import PackedViews, unpack_views
from videosoft.data.preprocessing import KINETICS_MEAN, KINETICS_STD, Preprocessing, Sampling, normalize_clip
from videosoft.data.samplers import ClipDraw, TrainingSampler
from videosoft.data.sampling import (
    NumClips,
    loop_clip,
    sample_random_clip,
    sample_sliding_windows,
    sample_test_clips,
    sample_training_clips,
    sample_uniform_clips,
)
from videosoft.data.transforms import (
    center_crop,
    random_horizontal_flip,
    random_resized_crop,
    resize_short_side,
    uniform_crops,
)
from videosoft.data.views import ClipViews, ShortVideos, load_clips, load_views

__all__ = [
    "KINETICS_MEAN",
    "KINETICS_STD",
    "AnnotationFormat",
    "AnnotationList",
    "Augmentation",
    "ClipBatch",
    "ClipDraw",
    "ClipViews",
    "Coverage",
    "DecodeCrashError",
    "DecodeTimeoutError",
    "DecoderName",
    "EvaluationSampler",
    "GuardedLoader",
    "KineticsDataset",
    "LitDataSource",
    "Manifest",
    "NumClips",
    "PackedBatch",
    "PackedViews",
    "Preprocessing",
    "ResumableLoader",
    "Sampling",
    "ShortVideoError",
    "ShortVideos",
    "TrainingSampler",
    "VideoDecodeError",
    "VideoReader",
    "VideoRecord",
    "VideoSample",
    "VideoStorage",
    "augment_batch_pixels",
    "augment_clip",
    "center_crop",
    "collate_clips",
    "compute_coverage",
    "describe_coverage",
    "leave_signals_to_the_trainer",
    "load_clips",
    "load_views",
    "loop_clip",
    "match_class_names",
    "mix_batch",
    "normalize_clip",
    "open_video",
    "random_horizontal_flip",
    "random_resized_crop",
    "read_annotations",
    "read_class_names",
    "read_manifest",
    "resize_short_side",
    "sample_random_clip",
    "sample_sliding_windows",
    "sample_test_clips",
    "sample_training_clips",
    "sample_uniform_clips",
    "uniform_crops",
    "unpack_views",
    "write_coverage",
    "write_manifest",
]
