"""Saliency maps as npz files."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from videosoft.atomic_files import replace_when_done
from videosoft.errors import InputError
from videosoft.explain.tube import SaliencyTube

__all__ = ["SALIENCY_FORMAT_VERSION", "SavedSaliency", "read_saliency", "write_saliency"]

SALIENCY_FORMAT_VERSION = 1


@dataclass(frozen=True)
class SavedSaliency:
    """What an npz file holds; the fields are its keys, beside ``format_version``.

    ``map`` (t, h, w) and ``tube`` (T, H, W) are signed float32 in logit units, ``frames`` (T,) the places of the
    tube's frames in the video; ``target`` is the index of class ``target_name`` in the model's own list.
    """

    map: npt.NDArray[np.float32]
    tube: npt.NDArray[np.float32]
    frames: npt.NDArray[np.int64]
    target: int
    layer: str
    method: str
    residual: float
    logit: float
    target_name: str
    video_id: str
    checkpoint_hash: str


def write_saliency(
    path: Path,
    saliency: SaliencyTube,
    *,
    frames: tuple[int, ...],
    target_name: str,
    video_id: str,
    checkpoint_hash: str,
) -> None:
    """Write one tube as a compressed npz without pickled objects; complete or not at all."""
    with replace_when_done(path) as temporary_path, temporary_path.open("wb") as file:
        np.savez_compressed(
            file,
            format_version=np.int64(SALIENCY_FORMAT_VERSION),
            map=saliency.map.cpu().numpy(),
            tube=saliency.tube.cpu().numpy(),
            frames=np.array(frames, dtype=np.int64),
            target=np.int64(saliency.target),
            layer=np.str_(saliency.layer),
            method=np.str_(saliency.method),
            residual=np.float64(np.nan if saliency.residual is None else saliency.residual),
            logit=np.float64(saliency.logit),
            target_name=np.str_(target_name),
            video_id=np.str_(video_id),
            checkpoint_hash=np.str_(checkpoint_hash),
        )


def read_saliency(path: Path) -> SavedSaliency:
    """Read a file of :func:`write_saliency`; pickled content is never loaded.

    Raises InputError for a file that is not one, lacks a key, or was written in a newer format.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            content: dict[str, Any] = {key: archive[key] for key in archive.files}
        version = int(content.pop("format_version"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a saliency npz file: {error}") from error
    if version > SALIENCY_FORMAT_VERSION:
        raise InputError(
            f"{path} has format_version {version}, this version of videosoft reads up to {SALIENCY_FORMAT_VERSION}; "
            "update videosoft"
        )
    try:
        scalars = {key: value.item() if value.ndim == 0 else value for key, value in content.items()}
        return SavedSaliency(**scalars)
    except TypeError as error:
        raise InputError(f"{path} is not a saliency npz file: {error}") from error
