"""The folder that an export fills: names that are safe, a manifest that can be resumed, nothing foreign touched."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videosoft.atomic_files import remove_unfinished, write_json
from videosoft.errors import InputError
from videosoft.explain.export.outcomes import VideoOutcome

__all__ = ["MANIFEST_FORMAT_VERSION", "MANIFEST_NAME", "OutputFolder", "SavedExport", "read_export"]

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT_VERSION = 2
JOURNAL_NAME = "manifest.journal.jsonl"
MAX_NAME_BYTES = 120

# Written anew when a tenth has been added: the whole of a large export is not written once a video.
REWRITE_SHARE = 0.1

# What makes an export the same one: these entries of the manifest must be equal for it to go on.
COMPARED_KEYS = ("settings", "checkpoints")
NOTED_KEYS = ("scale_limit",)


@dataclass(frozen=True)
class SavedExport:
    """An export on disk: ``manifest`` has everything but the ``videos``, ``complete`` says whether all were done."""

    folder: Path
    manifest: Mapping[str, Any]
    videos: tuple[VideoOutcome, ...]
    complete: bool


def read_export(folder: str | Path) -> SavedExport:
    """Read the manifest of an export, of one that was interrupted too.

    Raises InputError when the folder holds none, or one of a newer format.
    """
    folder = Path(folder)
    manifest, videos, _ = _read_manifest(folder)
    manifest.pop("videos", None)
    return SavedExport(folder, manifest, tuple(videos.values()), bool(manifest.get("complete")))


class OutputFolder:
    """A folder with a ``manifest.json`` that lists, video by video, what is finished.

    Beside it a journal takes down each video at once, so that an export that was killed loses none; the manifest
    follows, and at the end has everything.

    Raises InputError when ``path`` is a file, or a folder that is not empty, unless ``overwrite`` or ``resume`` is
    given and its manifest says that an earlier export is there (else its files are not ours to touch). Nothing is
    created or removed before :meth:`open`.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = path
        self._resume = resume
        self._old_files: list[Path] = []
        self._used_names: set[str] = set()
        self._manifest: dict[str, Any] = {}
        self.videos: dict[str, VideoOutcome] = {}
        self._begun: dict[str, list[str]] = {}
        self._num_written = 0
        if overwrite and resume:
            raise InputError("an export is either resumed or overwritten: give --resume or --overwrite")
        if path.exists() and not path.is_dir():
            raise InputError(f"output {path} is a file; give a folder")
        if not path.is_dir() or not any(path.iterdir()):
            return
        if resume:
            self._manifest, self.videos, self._begun = _read_manifest(path)
        elif overwrite:
            self._old_files = _list_files_of_manifest(path)
        else:
            raise InputError(
                f"output folder {path} is not empty; give another one, --resume to go on with an export of the same "
                "settings, or --overwrite to replace it"
            )

    def open(self, header: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, VideoOutcome]:
        """Make the folder ready and return the finished videos of the export that is resumed, by their path.

        ``header`` describes the export, ``run`` this run of it (command, versions, device). A finished video of which a
        file has gone, and one that failed, are not among those returned.

        Raises InputError when the export in the folder was made with other settings or checkpoints (they are named).
        """
        if self._manifest:
            self._check_same(header)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for file in self._old_files:
                file.unlink(missing_ok=True)
                remove_unfinished(file)
            remove_unfinished(self.path / MANIFEST_NAME)
            unfinished = [outcome for outcome in self.videos.values() if not self._is_finished(outcome)]
            for names in (*self._begun.values(), *(outcome.files.values() for outcome in unfinished)):
                for name in names:
                    (self.path / name).unlink(missing_ok=True)
                    remove_unfinished(self.path / name)
        except OSError as error:
            raise InputError(f"output folder {self.path} cannot be made ready: {error.strerror}") from error
        for outcome in unfinished:
            del self.videos[outcome.path]
        runs = [*self._manifest.get("runs", []), dict(run)]
        self._used_names = {outcome.name.casefold() for outcome in self.videos.values()}
        noted = {key: value for key, value in self._manifest.items() if key in NOTED_KEYS}
        self._manifest = {"format_version": MANIFEST_FORMAT_VERSION, **header, **noted, "runs": runs, "complete": False}
        self.flush()
        return dict(self.videos)

    def begin_video(self, path: str, video_id: str, suffixes: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Return (name, {kind: file name}) for the files of a video, unlike any other of this folder.

        ``suffixes`` has the ending of each kind of file. Of the id letters, digits, ``_``, ``-`` and ``.`` are kept,
        all else becomes ``_``; a second video of the same name gets ``-2``, and so does one whose files are there
        already: they are somebody else's.
        """
        stem = make_safe_name(video_id)
        name, number = stem, 1
        while name.casefold() in self._used_names or any(
            (self.path / f"{name}{suffix}").exists() for suffix in suffixes.values()
        ):
            number += 1
            name = f"{stem}-{number}"
        self._used_names.add(name.casefold())
        files = {kind: f"{name}{suffix}" for kind, suffix in suffixes.items()}
        self._note({"begun": path, "files": list(files.values())})
        return name, files

    def add_video(self, outcome: VideoOutcome) -> None:
        """List one video as done (or failed)."""
        self.videos[outcome.path] = outcome
        self._note({"video": outcome.to_json()})
        if len(self.videos) - self._num_written >= max(1, REWRITE_SHARE * len(self.videos)):
            self.flush()

    def note_once(self, key: str, compute: Callable[[], float]) -> float:
        """Return a number about the whole export: the one in the manifest, or the one computed now and put there."""
        if key not in self._manifest:
            self._manifest[key] = compute()
            self.flush()
        return float(self._manifest[key])

    def close(self) -> None:
        """Mark the manifest as complete."""
        self._manifest["complete"] = True
        self.flush()

    def flush(self) -> None:
        """Bring the manifest on disk up to date."""
        videos = [outcome.to_json() for outcome in self.videos.values()]
        write_json(self.path / MANIFEST_NAME, {**self._manifest, "videos": videos})
        (self.path / JOURNAL_NAME).unlink(missing_ok=True)
        self._num_written = len(self.videos)

    def _is_finished(self, outcome: VideoOutcome) -> bool:
        return outcome.status in ("ok", "mapped") and all(
            (self.path / name).exists() for name in outcome.files.values()
        )

    def _note(self, line: Mapping[str, Any]) -> None:
        with (self.path / JOURNAL_NAME).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(line, allow_nan=False) + "\n")

    def _check_same(self, header: Mapping[str, Any]) -> None:
        differing = [
            f"{name} was {_show(old)}, now {_show(new)}"
            for key in COMPARED_KEYS
            for name, old, new in _compare(key, self._manifest.get(key), _as_json(header[key]))
        ]
        if differing:
            raise InputError(
                f"the export in {self.path} cannot be resumed, it was made with other settings: "
                f"{'; '.join(differing)}. Give the same ones, another folder, or --overwrite"
            )


def hash_config(header: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that decides what an export's files hold."""
    compared = {key: header[key] for key in COMPARED_KEYS}
    return hashlib.sha256(json.dumps(compared, sort_keys=True, allow_nan=False).encode()).hexdigest()


def make_safe_name(text: str) -> str:
    """Return a file name made from any text: no separator, no leading dot, not empty, at most MAX_NAME_BYTES long."""
    name = re.sub(r"[^\w.\-]", "_", text.encode("utf-8", "replace").decode("utf-8"))
    name = re.sub(r"^\.+", "_", name) or "video"
    return name.encode("utf-8")[:MAX_NAME_BYTES].decode("utf-8", "ignore")


def _read_manifest(folder: Path) -> tuple[dict[str, Any], dict[str, VideoOutcome], dict[str, list[str]]]:
    """Return the manifest, its videos by path, and the files of videos that were begun and not finished."""
    path = folder / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["format_version"]
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no export: it has no {MANIFEST_NAME}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a manifest of this tool") from error
    if not isinstance(version, int) or version > MANIFEST_FORMAT_VERSION:
        raise InputError(f"{path} has format_version {version!r}, newer than {MANIFEST_FORMAT_VERSION}")
    if version < MANIFEST_FORMAT_VERSION:
        raise InputError(f"{path} has format_version {version}, which an earlier version wrote: export anew")
    entries = manifest.get("videos")
    if not isinstance(entries, list):
        raise InputError(f"{path} is not a manifest of this tool")
    begun: dict[str, list[str]] = {}
    for line in _read_journal(folder / JOURNAL_NAME):
        if "begun" in line:
            # The names are checked as those of a finished video are.
            probe = {"video_id": "", "path": line["begun"], "label": "", "status": "", "models": [], "warnings": []}
            names = line.get("files")
            files = {str(number): name for number, name in enumerate(names if isinstance(names, list) else [])}
            outcome = VideoOutcome.from_json({**probe, "frames": [], "files": files}, source=str(path))
            begun[str(line["begun"])] = list(outcome.files.values())
        elif "video" in line:
            entries.append(line["video"])
    videos = {}
    for entry in entries:
        outcome = VideoOutcome.from_json(entry, source=str(path))
        videos[outcome.path] = outcome
        begun.pop(outcome.path, None)
    return manifest, videos, begun


def _read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the journal's lines; the last may be torn, by whatever ended the export."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def _list_files_of_manifest(folder: Path) -> list[Path]:
    """Return the files that the folder's manifest lists, and the manifest itself."""
    refusal = f"output folder {folder} is not empty and --overwrite cannot tell which files are an earlier export's"
    try:
        names = _list_old_names(folder)
    except InputError as error:
        raise InputError(f"{refusal}: {error}; give another folder") from error
    for name in names:
        if (folder / name).is_dir():
            raise InputError(f"{refusal}: {folder / MANIFEST_NAME} lists {name!r}, which is a folder")
    return [folder / name for name in (*names, JOURNAL_NAME, MANIFEST_NAME)]


def _list_old_names(folder: Path) -> list[str]:
    _, videos, begun = _read_manifest(folder)
    finished = [name for outcome in videos.values() for name in outcome.files.values()]
    return [*finished, *(name for names in begun.values() for name in names)]


def _compare(name: str, old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """Return (dotted name, old, new) of the entries that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*new, *(key for key in old if key not in new)]
        return [found for key in keys for found in _compare(f"{name}.{key}", old.get(key), new.get(key))]
    if (
        isinstance(old, list)
        and isinstance(new, list)
        and len(old) == len(new)
        and any(isinstance(v, dict) for v in new)
    ):
        pairs = enumerate(zip(old, new, strict=True))
        return [found for i, (a, b) in pairs for found in _compare(f"{name}[{i}]", a, b)]
    return [] if old == new else [(name.removeprefix("settings."), old, new)]


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
