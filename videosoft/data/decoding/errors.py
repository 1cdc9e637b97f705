"""What can be wrong with a video: errors that cost one video, not the run."""

from pathlib import Path


class VideoDecodeError(Exception):
    """A video cannot be opened or decoded: ``path`` and ``reason``."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class FrameCountError(VideoDecodeError):
    """A sound file has fewer frames than it promises: ``num_frames`` decode, out of ``num_promised``."""

    def __init__(self, path: Path, num_frames: int, num_promised: int) -> None:
        super().__init__(path, f"the file promises {num_promised} frames, but has {num_frames}")
        self.args = (path, num_frames, num_promised)  # what pickle calls the class with
        self.num_frames = num_frames
        self.num_promised = num_promised


class ShortVideoError(Exception):
    """A video has fewer frames than a clip spans: ``path``, ``num_frames``, ``clip_span``."""

    def __init__(self, path: Path, num_frames: int, clip_span: int) -> None:
        super().__init__(path, num_frames, clip_span)
        self.path = path
        self.num_frames = num_frames
        self.clip_span = clip_span

    @property
    def reason(self) -> str:
        return (
            f"{self.num_frames} frames, but a clip spans {self.clip_span}; "
            'short_videos="loop" repeats the frames of such videos'
        )

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"
