"""The folder that an export fills: names that are safe, a manifest that is always true, nothing foreign touched."""

import json
import re
from pathlib import Path
from typing import Any

from videosoft.atomic_files import write_json
from videosoft.errors import InputError

__all__ = ["MANIFEST_FORMAT_VERSION", "MANIFEST_NAME", "OutputFolder"]

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT_VERSION = 1
MAX_NAME_BYTES = 120


class OutputFolder:
    """A folder with a ``manifest.json`` that lists, video by video, what is finished.

    Raises InputError when ``path`` is a file, or a folder that is not empty and ``overwrite`` is not given or the
    folder has no manifest of an earlier export (then its files are not ours to remove). Nothing is created or removed
    before :meth:`open`.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = path
        self._old_files: list[Path] = []
        self._used_names: set[str] = set()
        self._manifest: dict[str, Any] = {}
        if path.exists() and not path.is_dir():
            raise InputError(f"output {path} is a file; give a folder")
        if path.is_dir() and any(path.iterdir()):
            if not overwrite:
                raise InputError(f"output folder {path} is not empty; give another one, or --overwrite to replace it")
            self._old_files = _list_files_of_manifest(path)

    def open(self, header: dict[str, Any]) -> None:
        """Create the folder, remove what the earlier export listed, write the manifest with no video done yet."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for file in self._old_files:
                file.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"output folder {self.path} cannot be made ready: {error.strerror}") from error
        # Files that others put there keep their names: ours go around them.
        self._used_names = {_get_stem_key(file.name) for file in self.path.iterdir()}
        self._manifest = {"format_version": MANIFEST_FORMAT_VERSION, **header, "complete": False, "videos": []}
        self._write()

    def reserve_name(self, video_id: str) -> str:
        """Return a plain file name stem for the outputs of a video, unlike any other of this folder.

        Letters, digits, ``_``, ``-`` and ``.`` are kept, all else becomes ``_``; a second video of the same name gets
        ``-2``.
        """
        stem = make_safe_name(video_id)
        name, number = stem, 1
        while name.casefold() in self._used_names:
            number += 1
            name = f"{stem}-{number}"
        self._used_names.add(name.casefold())
        return name

    def add_video(self, entry: dict[str, Any]) -> None:
        """List one video as done (or failed) and bring the manifest on disk up to date."""
        self._manifest["videos"].append(entry)
        self._write()

    def close(self) -> None:
        """Mark the manifest as complete."""
        self._manifest["complete"] = True
        self._write()

    def _write(self) -> None:
        write_json(self.path / MANIFEST_NAME, self._manifest)


def make_safe_name(text: str) -> str:
    """Return a file name made from any text: no separator, no leading dot, not empty, at most MAX_NAME_BYTES long."""
    name = re.sub(r"[^\w.\-]", "_", text.encode("utf-8", "replace").decode("utf-8"))
    name = re.sub(r"^\.+", "_", name) or "video"
    return name.encode("utf-8")[:MAX_NAME_BYTES].decode("utf-8", "ignore")


def _get_stem_key(file_name: str) -> str:
    return re.sub(r"(_overlay\.mp4|_sheet\.png|(\.[AB])?\.npz)$", "", file_name).casefold()


def _list_files_of_manifest(folder: Path) -> list[Path]:
    """Return the files that the folder's manifest lists, and the manifest."""
    path = folder / MANIFEST_NAME
    refusal = f"output folder {folder} is not empty and --overwrite cannot tell which files are an earlier export's"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["format_version"]
        names = [name for entry in manifest["videos"] for name in entry["files"]]
    except FileNotFoundError as error:
        raise InputError(f"{refusal}: it has no {MANIFEST_NAME}; give another folder") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{refusal}: {path} is not a manifest of this tool; give another folder") from error
    if not isinstance(version, int) or version > MANIFEST_FORMAT_VERSION:
        raise InputError(f"{refusal}: {path} has format_version {version!r}, newer than {MANIFEST_FORMAT_VERSION}")
    for name in names:
        # Whoever edited the manifest must not make us remove files elsewhere.
        if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise InputError(f"{refusal}: {path} lists {name!r}, which is not a plain file name; give another folder")
        if (folder / name).is_dir():
            raise InputError(f"{refusal}: {path} lists {name!r}, which is a folder; give another folder")
    return [*(folder / name for name in names), path]
