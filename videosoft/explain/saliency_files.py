"""Saliency maps as npz or Zarr files."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from videosoft.atomic_files import replace_when_done
from videosoft.errors import InputError
from videosoft.explain.tube import SaliencyTube

__all__ = ["SALIENCY_FORMAT_VERSION", "ZARR_SUFFIX", "SavedSaliency", "check_zarr", "read_saliency", "write_saliency"]

SALIENCY_FORMAT_VERSION = 2
ZARR_SUFFIX = ".zarr.zip"


@dataclass(frozen=True)
class SavedSaliency:
    """What a file holds; the fields are its keys, beside ``format_version``.

    ``map`` (t, h, w) and ``tube`` (T, H, W) are signed float32 in ``unit``, ``frames`` (T,) the places of the tube's
    frames in the video; ``target`` is the index of class ``target_name`` in the model's own list, ``versus`` that of
    the class it is told apart from, -1 where there is none. ``residual`` is NaN where the method makes no claim.
    ``method_options`` is JSON.
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
    # Since format version 2.
    unit: str = "logits"
    versus: int = -1
    versus_name: str = ""
    method_options: str = "{}"


def write_saliency(
    path: Path,
    saliency: SaliencyTube,
    *,
    frames: tuple[int, ...],
    target_name: str,
    video_id: str,
    checkpoint_hash: str,
    versus_name: str = "",
    method_options: Mapping[str, Any] | None = None,
) -> None:
    """Write one tube, complete or not at all: as a compressed npz without pickled objects, or by the ending
    ``.zarr.zip`` as a Zarr group, its arrays beside its other keys as attributes.

    Raises InputError for Zarr where the package is missing.
    """
    arrays = {
        "map": saliency.map.cpu().numpy(),
        "tube": saliency.tube.cpu().numpy(),
        "frames": np.array(frames, dtype=np.int64),
    }
    values: dict[str, int | float | str] = {
        "format_version": SALIENCY_FORMAT_VERSION,
        "target": saliency.target,
        "layer": saliency.layer,
        "method": saliency.method,
        "residual": float("nan") if saliency.residual is None else saliency.residual,
        "logit": saliency.logit,
        "target_name": target_name,
        "video_id": video_id,
        "checkpoint_hash": checkpoint_hash,
        "unit": saliency.unit,
        "versus": -1 if saliency.versus is None else saliency.versus,
        "versus_name": versus_name,
        "method_options": json.dumps(dict(method_options or {})),
    }
    if path.name.endswith(ZARR_SUFFIX):
        check_zarr()
        with replace_when_done(path) as temporary_path:
            _write_zarr(temporary_path, arrays, values)
        return
    content: dict[str, Any] = {**arrays, **{key: np.array(value) for key, value in values.items()}}
    with replace_when_done(path) as temporary_path, temporary_path.open("wb") as file:
        np.savez_compressed(file, **content)


def read_saliency(path: Path) -> SavedSaliency:
    """Read a file of :func:`write_saliency`; pickled content is never loaded.

    Raises InputError for a file that is not one, lacks a key, or was written in a newer format.
    """
    read = _read_zarr if path.name.endswith(ZARR_SUFFIX) else _read_npz
    try:
        content = read(path)
        version = int(content.pop("format_version"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a saliency file: {error}") from error
    if version > SALIENCY_FORMAT_VERSION:
        raise InputError(
            f"{path} has format_version {version}, this version of videosoft reads up to {SALIENCY_FORMAT_VERSION}; "
            "update videosoft"
        )
    known = {field.name for field in fields(SavedSaliency)}
    try:
        return SavedSaliency(**{key: value for key, value in content.items() if key in known})
    except TypeError as error:
        raise InputError(f"{path} is not a saliency file: {error}") from error


def check_zarr() -> None:
    """Raise InputError where Zarr files cannot be written."""
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise InputError('Zarr files need the package zarr: pip install "videosoft[zarr]", or take npz') from error


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    return {key: value.item() if value.ndim == 0 else value for key, value in arrays.items()}


def _write_zarr(path: Path, arrays: Mapping[str, npt.NDArray], values: Mapping[str, Any]) -> None:
    import zarr

    with zarr.storage.ZipStore(path, mode="w") as store:
        group = zarr.create_group(store, attributes=dict(values))
        for name, array in arrays.items():
            group.create_array(name, data=array)


def _read_zarr(path: Path) -> dict[str, Any]:
    check_zarr()
    import zarr

    with zarr.storage.ZipStore(path, mode="r") as store:
        group = zarr.open_group(store, mode="r")
        return {**dict(group.attrs), **{name: np.asarray(group[name]) for name in ("map", "tube", "frames")}}
