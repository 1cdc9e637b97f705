"""Videos without a list: files of which nothing is known but their pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from videosoft.data.dataset import SampleStatus, VideoSample
from videosoft.data.decoding import DecoderName, ShortVideoError, VideoDecodeError, check_decoder, open_video
from videosoft.data.guard import GuardedLoader
from videosoft.data.packed_views import PackedViews
from videosoft.data.preprocessing import Preprocessing
from videosoft.data.sampling import NumClips, check_windows
from videosoft.data.views import ShortVideos, load_view_frames
from videosoft.source_videos import find_group


class UnlabelledVideos(Dataset[VideoSample]):
    """Files as clips x crops, packed, with the label -1 and no name of it.

    Files that cannot be read or are too short are samples without a video, as in :class:`KineticsDataset`.

    Args:
        paths: the files.
        video_ids: what they are called, one each.
        preprocessing: frames, sampling and pixels of a clip.
        num_clips: clips of a video; "windows": as many as cover it.
        num_crops: crops of a clip.
        short_videos: what to do with a video shorter than a clip: "skip" it, or "loop" its frames.
        decoder: the library that decodes.
        time_limit_seconds: that a video may take.

    Raises:
        InputError: the decoder is not installed, or sliding windows do not go with the sampling.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        video_ids: Sequence[str],
        *,
        preprocessing: Preprocessing,
        num_clips: NumClips,
        num_crops: int,
        short_videos: ShortVideos = "skip",
        decoder: DecoderName = "decord",
        time_limit_seconds: float = 60.0,
    ) -> None:
        check_windows(num_clips, preprocessing)
        check_decoder(decoder)
        self._videos = list(zip(paths, video_ids, strict=True))
        load = _FileLoad(preprocessing, num_clips, num_crops, short_videos, decoder)
        self._load = GuardedLoader(load, time_limit_seconds)

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, index: int) -> VideoSample:
        path, video_id = self._videos[index]

        def create_sample(
            status: SampleStatus, reason: str, video: PackedViews | None, *, repeats_frames: bool = False
        ) -> VideoSample:
            return {
                "video_id": video_id,
                "group_id": find_group(path.stem),
                "path": str(path),
                "label_name": "",
                "label": -1,
                "status": status,
                "reason": reason,
                "seed": 0,
                "pixel_seeds": [],
                "repeats_frames": repeats_frames,
                "video": video,
            }

        try:
            values, frames = self._load(path)
            assert frames is not None
            packed = PackedViews(frames, values["layout"])
            return create_sample("ok", "", packed, repeats_frames=values["repeats_frames"])
        except VideoDecodeError as error:
            return create_sample("unreadable" if path.exists() else "missing", error.reason, None)
        except ShortVideoError as error:
            return create_sample("too_short", error.reason, None)


@dataclass(frozen=True)
class _FileLoad:
    preprocessing: Preprocessing
    num_clips: NumClips
    num_crops: int
    short_videos: ShortVideos
    decoder: DecoderName

    def __call__(self, path: Path) -> tuple[dict[str, Any], list[Tensor]]:
        views = load_view_frames(
            path,
            self.preprocessing,
            self.num_clips,
            self.num_crops,
            short_videos=self.short_videos,
            open_reader=lambda name: open_video(name, self.decoder),
        )
        return {"layout": views.layout, "repeats_frames": views.repeats_frames}, views.parts
