"""The clips of a saliency export, as a page shows them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from videosoft.errors import InputError
from videosoft.explain.class_names import match_class
from videosoft.explain.export import SavedExport, VideoOutcome
from videosoft.explain.page.content import PageClip, PageModel
from videosoft.explain.rendering import read_frame_grid
from videosoft.explain.saliency_files import SavedSaliency, read_saliency

__all__ = ["describe_models", "iterate_clips", "list_shown_videos"]

NEEDED_KINDS = ("npz", "frames")


def list_shown_videos(export: SavedExport) -> list[VideoOutcome]:
    """The export's finished videos, in its order.

    Raises:
        InputError: there is none, or the export has no maps or no frames on disk.
    """
    videos = [video for video in export.videos if video.status == "ok"]
    if not videos:
        raise InputError(f"{export.folder} has no finished video to show")
    kinds = {kind.partition(".")[0] for kind in videos[0].files}
    if missing := [kind for kind in NEEDED_KINDS if kind not in kinds]:
        raise InputError(
            f"{export.folder} was exported without {' and '.join(missing)}, which a page needs: export again with "
            f"--outputs {' '.join(NEEDED_KINDS)} (and whatever else is wanted)"
        )
    return videos


def describe_models(export: SavedExport) -> list[PageModel]:
    """The models of an export, with the file, hash and network of each.

    Raises:
        InputError: the manifest does not describe them.
    """
    videos = list_shown_videos(export)
    checkpoints = _get(export, "checkpoints")
    paths = _get(export, "checkpoint_paths")
    try:
        return [
            PageModel(
                said.model,
                (
                    str(path),
                    f"checkpoint {str(checkpoint['checkpoint_hash'])[:12]}",
                    ", ".join(f"{key} {value}" for key, value in sorted(checkpoint["model"]["kwargs"].items())),
                ),
            )
            for said, path, checkpoint in zip(videos[0].models, paths, checkpoints, strict=True)
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"the manifest of {export.folder} does not describe its checkpoints: {error}") from error


def iterate_clips(export: SavedExport, labels: Mapping[str, str] | None = None) -> Iterator[PageClip]:
    """Read frames and maps of one finished video after the other.

    The label of a video is that of ``labels`` (by video id) where it has one, else the export's own where that is a
    class of the first model: the name of a folder need not be. Classes are spelled as the first model has them.

    Raises:
        InputError: a file is missing or damaged.
    """
    class_names = _get_class_names(export)

    def spell(name: str) -> str | None:
        index = match_class(name, class_names)
        return None if index is None else class_names[index]

    for video in list_shown_videos(export):
        saved = [read_saliency(export.folder / name) for kind, name in sorted(video.files.items()) if _is_map(kind)]
        if len(saved) != len(video.models):
            raise InputError(
                f"{export.folder} has {len(saved)} maps of {video.video_id} for {len(video.models)} models"
            )
        frames = read_frame_grid(export.folder / video.files["frames"], _find_size(saved))
        known_label = (labels or {}).get(video.video_id)
        yield PageClip(
            video_id=video.video_id,
            label=spell(video.label) if known_label is None else spell(known_label) or known_label,
            target=video.target + (f" against {video.versus}" if video.versus else ""),
            predictions=tuple((spell(said.prediction) or said.prediction, said.probability) for said in video.models),
            frames=frames,
            tubes=tuple(one.tube for one in saved),
            fps=video.clip_fps,
            unit=saved[0].unit,
            warnings=video.warnings,
        )


def _is_map(kind: str) -> bool:
    return kind.partition(".")[0] == "npz"


def _find_size(saved: list[SavedSaliency]) -> tuple[int, int, int]:
    num_frames, height, width = np.shape(saved[0].tube)
    return num_frames, height, width


def _get_class_names(export: SavedExport) -> list[str]:
    first = _get(export, "checkpoints")[0]
    class_names = first.get("class_names") if isinstance(first, dict) else None
    if not isinstance(class_names, list):
        raise InputError(f"the manifest of {export.folder} does not name the classes of its first checkpoint")
    return [str(name) for name in class_names]


def _get(export: SavedExport, key: str) -> list[Any]:
    value = export.manifest.get(key)
    if not isinstance(value, list) or not value:
        raise InputError(f"the manifest of {export.folder} has no {key}")
    return value
