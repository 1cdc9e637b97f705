"""Frames from video files: by decord, PyAV or torchcodec, the same ones.  Why: docs/decisions/0010-decoders.md."""

from videosoft.data.decoding.decoder import DecoderName
from videosoft.data.decoding.errors import FrameCountError, ShortVideoError, VideoDecodeError
from videosoft.data.decoding.reader import VideoReader, check_decoder, open_video
from videosoft.data.decoding.source import VideoContent

__all__ = [
    "DecoderName",
    "FrameCountError",
    "ShortVideoError",
    "VideoContent",
    "VideoDecodeError",
    "VideoReader",
    "check_decoder",
    "open_video",
]
