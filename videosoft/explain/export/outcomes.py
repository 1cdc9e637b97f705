"""What an export says of each video: to its manifest, to the terminal, to whoever reads the folder later."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from videosoft.errors import InputError

__all__ = ["ModelOutcome", "VideoOutcome"]

# Of videos that do not say their rate.
DEFAULT_FPS = 25.0

# What JSON may have for a field of such a type.
_VALUE_TYPES: dict[Any, Any] = {str: str, int: int, float: float | int, float | None: float | int | None}


@dataclass(frozen=True)
class ModelOutcome:
    """What one model said about one video: its own prediction, the target class, and the map's residual.

    ``logit`` is the score that the map explains (:class:`videosoft.explain.SaliencyTube`), ``target_probability`` the
    softmax of the target class; ``residual`` is None where the method makes no claim.
    """

    model: str
    prediction: str
    probability: float
    target_probability: float
    logit: float
    residual: float | None


@dataclass(frozen=True)
class VideoOutcome:
    """One video of an export.

    ``status`` is ok, "mapped" (its maps are there, its pictures are yet to be drawn), missing, unreadable, too_short or
    target_missing; those that are not ok have a reason. ``target`` and ``versus`` are class names of the first model,
    ``label`` what the list calls the video. ``files`` has the name of each file by its kind; ``frames`` are the places
    of the clip's frames in the video, ``clip_hash`` the SHA-256 of their pixels.
    """

    video_id: str
    path: str
    label: str
    status: str
    reason: str = ""
    target: str = ""
    versus: str = ""
    name: str = ""
    models: tuple[ModelOutcome, ...] = ()
    warnings: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    frames: tuple[int, ...] = ()
    num_video_frames: int = 0
    fps: float = 0.0
    clip_hash: str = ""

    @property
    def clip_fps(self) -> float:
        """Frames of the clip a second, at the speed of the world: those that were left out do not speed it up."""
        if not 0 < self.fps < float("inf"):
            return DEFAULT_FPS
        stride = (self.frames[-1] - self.frames[0]) / max(1, len(self.frames) - 1)
        return self.fps / max(1.0, stride)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any, *, source: str) -> "VideoOutcome":
        """Read back what :meth:`to_json` wrote.

        Raises InputError naming ``source`` for anything else, and for a file that would lie outside its folder.
        """
        try:
            models = tuple(ModelOutcome(**model) for model in values["models"])
            files = {str(kind): name for kind, name in values["files"].items()}
            known = {entry.name for entry in fields(cls)} - {"models", "files", "warnings", "frames"}
            outcome = cls(
                models=models,
                files=files,
                warnings=tuple(values["warnings"]),
                frames=tuple(values["frames"]),
                **{name: value for name, value in values.items() if name in known},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{source} is not a manifest of this tool: {error}") from error
        _check_types(outcome, source)
        for model in models:
            _check_types(model, source)
        for name in files.values():
            # Whoever edited the manifest must not make us read or remove files elsewhere.
            if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
                raise InputError(f"{source} lists {name!r}, which is not a plain file name")
        return outcome


def _check_types(entry: ModelOutcome | VideoOutcome, source: str) -> None:
    """Whoever edited the manifest must not make whoever reads it stumble over a text where a number should be."""
    for field_ in fields(entry):
        value, expected = getattr(entry, field_.name), _VALUE_TYPES.get(field_.type)
        if expected is not None and not isinstance(value, expected):
            raise InputError(f"{source} is not a manifest of this tool: {field_.name} is {value!r}")
    if isinstance(entry, VideoOutcome) and not (
        all(isinstance(frame, int) for frame in entry.frames) and all(isinstance(text, str) for text in entry.warnings)
    ):
        raise InputError(f"{source} is not a manifest of this tool: frames must be numbers, warnings texts")
