"""Where the listed videos lie: one listing of each folder instead of one look-up for each video."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from videosoft.data._names import has_control_characters
from videosoft.data.annotations.entry import Entry
from videosoft.data.annotations.splits import list_synonyms
from videosoft.data.class_names import normalize_class_name
from videosoft.errors import InputError
from videosoft.video_suffixes import VIDEO_SUFFIXES


class Location(NamedTuple):
    """Where a listed video lies, relative to the root, or where it was expected.

    ``mislabelled``: it lies in the folder of another class, or is listed under two; ``duplicate``: listed before.
    """

    path: str
    status: Literal["ok", "missing", "mislabelled", "duplicate"]
    reason: str


class _Folder(NamedTuple):
    """What is in a folder; ``prefix`` is its path relative to the root, with a slash at the end unless empty."""

    prefix: str
    videos: dict[str, str]  # stem -> file name
    subfolders: list[str]


def list_videos(folder: Path) -> dict[str, str]:
    """Stem -> file name of the videos in a folder; of several files with one stem the first suffix is taken."""
    return _scan_folder(folder, "").videos


def locate_videos(root: Path, split: str, entries: Sequence[Entry]) -> list[Location]:
    """Find the file of each entry.

    A path in the list is tried as it is, then below the split's folder.  Then, and for entries without a path, the file
    is ``<id>_<start>_<end>``, else the bare ``<id>`` or ``v_<id>``, with any video suffix, in the folder
    ``<split>/<label>``, ``<split>``, ``<label>`` or the root itself.  The split's folder may have a synonym as its
    name, a class's folder the class's name with ``_`` for spaces and without ``'()``.

    Raises:
        InputError: a folder cannot be read.
    """
    finder = _Finder(root, split, {entry.label_name for entry in entries})
    located: list[Location] = []
    users: dict[str, list[int]] = {}  # of files named by the bare id, which tells nothing of the segment
    lost: list[int] = []
    for number, entry in enumerate(entries):
        path = finder.find(entry)
        if path is None and entry.source_id != entry.video_id:
            path = finder.find_untimed(entry)
            if path is not None:
                users.setdefault(path, []).append(number)
        if path is None:
            lost.append(number)
            expected = entry.path or f"{split}/{entry.label_name}/{entry.video_id}{VIDEO_SUFFIXES[0]}"
            located.append(Location(expected, "missing", "no such file"))
        elif entry.path is not None and (other := finder.find_other_class(path, entry.label_name)) is not None:
            located.append(Location(path, "mislabelled", _describe_other(other)))
        else:
            located.append(Location(path, "ok", ""))
    for path, numbers in users.items():
        if len(numbers) > 1:
            reason = f"{path} could be any of {len(numbers)} listed segments"
            for number in numbers:
                located[number] = Location(located[number].path, "missing", reason)
    if lost:
        elsewhere = finder.index_class_folders()
        for number in lost:
            path = elsewhere.get(entries[number].video_id)
            if path is not None:
                located[number] = Location(path, "mislabelled", _describe_other(path.split("/")[-2]))
    return located


class _Finder:
    def __init__(self, root: Path, split: str, label_names: Iterable[str]) -> None:
        self._root = root
        self._folders: dict[str, _Folder] = {}
        named = [self._list(f"{name}/") for name in list_synonyms(split)]
        self._split_folders = [folder for folder in named if folder is not None]
        top = self._list("")
        assert top is not None
        self._parents = [*self._split_folders, top]
        self._variants = [_group_by_spelling(parent.subfolders) for parent in self._parents]
        self._folders_of_label: dict[str, list[_Folder]] = {}
        self._folders_of_path: dict[str, list[_Folder]] = {}
        self._spellings = {normalize_class_name(name) for name in label_names}

    def find(self, entry: Entry) -> str | None:
        """By the path or the full name."""
        if entry.path is not None:
            prefix = entry.path[: entry.path.rfind("/") + 1]
            if prefix not in self._folders_of_path:
                starts = ["", *(folder.prefix for folder in self._split_folders)]
                candidates = [self._list(f"{start}{prefix}") for start in starts]
                self._folders_of_path[prefix] = [folder for folder in candidates if folder is not None]
            path = _find_stem(entry.video_id, self._folders_of_path[prefix])
            if path is not None:
                return path
        return _find_stem(entry.video_id, self._list_label(entry.label_name))

    def find_untimed(self, entry: Entry) -> str | None:
        """By the id of the source video alone."""
        folders = self._list_label(entry.label_name)
        return _find_stem(entry.source_id, folders) or _find_stem(f"v_{entry.source_id}", folders)

    def find_other_class(self, path: str, label_name: str) -> str | None:
        """The name of the folder that a file lies in, if it is that of another class than its own."""
        folder = path.split("/")[-2] if "/" in path else ""
        spelling = normalize_class_name(folder)
        is_other = spelling in self._spellings and spelling != normalize_class_name(label_name)
        return folder if is_other else None

    def index_class_folders(self) -> dict[str, str]:
        """Stem -> path of the videos in all class folders of the split."""
        found: dict[str, str] = {}
        for parent in self._parents:
            for name in sorted(parent.subfolders):
                is_class = parent in self._split_folders or normalize_class_name(name) in self._spellings
                folder = self._list(f"{parent.prefix}{name}/") if is_class else None
                if folder is not None:
                    found.update((stem, f"{folder.prefix}{file_name}") for stem, file_name in folder.videos.items())
        return found

    def _list_label(self, label_name: str) -> list[_Folder]:
        """The folders that a video of a class may lie in, the likeliest first; those without videos are left out."""
        if label_name not in self._folders_of_label:
            spelling = normalize_class_name(label_name)
            prefixes: list[str] = []
            for parent, variants in zip(self._parents, self._variants, strict=True):
                names = sorted(variants.get(spelling, []), key=lambda name: (name != label_name, name))
                prefixes += [*(f"{parent.prefix}{name}/" for name in names), parent.prefix]
            folders = [folder for prefix in prefixes if (folder := self._list(prefix)) is not None]
            self._folders_of_label[label_name] = [folder for folder in folders if folder.videos]
        return self._folders_of_label[label_name]

    def _list(self, prefix: str) -> _Folder | None:
        if prefix not in self._folders:
            folder = self._root / prefix
            self._folders[prefix] = (
                _scan_folder(folder, prefix) if folder.is_dir() else _Folder(prefix, {}, subfolders=[])
            )
        found = self._folders[prefix]
        return found if found.videos or found.subfolders or not prefix else None


def _scan_folder(folder: Path, prefix: str) -> _Folder:
    found: dict[str, tuple[int, str]] = {}
    subfolders: list[str] = []
    try:
        with os.scandir(folder) as files:
            for file in files:
                name = file.name
                stem, dot, suffix = name.rpartition(".")
                suffix = f".{suffix.lower()}"
                if not dot or suffix not in VIDEO_SUFFIXES:
                    is_plain = not name.startswith(".") and "\\" not in name and not has_control_characters(name)
                    if is_plain and file.is_dir():
                        subfolders.append(name)
                elif stem and not stem.startswith(".") and file.is_file():
                    candidate = (VIDEO_SUFFIXES.index(suffix), name)
                    found[stem] = min(candidate, found.get(stem, candidate))
    except OSError as error:
        raise InputError(f"folder {folder} cannot be read: {error.strerror or error}") from None
    return _Folder(prefix, {stem: name for stem, (_, name) in found.items()}, subfolders)


def _find_stem(stem: str, folders: list[_Folder]) -> str | None:
    for folder in folders:
        file_name = folder.videos.get(stem)
        if file_name is not None:
            return f"{folder.prefix}{file_name}"
    return None


def _group_by_spelling(names: list[str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name in names:
        grouped.setdefault(normalize_class_name(name), []).append(name)
    return grouped


def _describe_other(folder: str) -> str:
    return f"lies in the folder {folder!r}, not in that of its class"
