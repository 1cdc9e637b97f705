"""Where the videos to score come from: the split of a data set, or an export with its maps."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from videosoft.data import read_annotations
from videosoft.errors import InputError
from videosoft.explain.export.outcomes import VideoOutcome
from videosoft.explain.export.output_folder import read_export
from videosoft.explain.methods import SaliencyMethod, create_method
from videosoft.explain.saliency_files import read_saliency
from videosoft.explain.scores.subjects import Subject
from videosoft.source_videos import find_group
from videosoft.video_suffixes import ANY_VIDEO_SUFFIXES

__all__ = ["ExportSource", "ScoredVideo", "SplitSource", "VideoSource"]


@dataclass(frozen=True)
class ScoredVideo:
    """A video to score; ``group_id`` is its source, ``status`` ok, or why a list knows that there is nothing to see.

    Of an export, ``target`` is the class that its maps are about, ``maps`` the file of each first subject's map by the
    subject's name, and ``clip_hash`` the SHA-256 of the pixels (T, H, W, 3) that they are of.
    """

    video_id: str
    group_id: str
    label_name: str
    path: Path
    status: str = "ok"
    reason: str = ""
    target: str | None = None
    maps: Mapping[str, Path] = field(default_factory=dict)
    clip_hash: str = ""


class VideoSource(Protocol):
    """A list of videos, in words, and as what tells it from any other."""

    @property
    def words(self) -> str: ...

    def list_videos(self, subjects: Sequence[Subject]) -> list[ScoredVideo]: ...

    def identify(self) -> dict[str, Any]: ...


class SplitSource:
    """The videos of a split in any of the formats of :func:`videosoft.data.read_annotations`."""

    def __init__(self, root: Path, split: str, annotations: Path | None = None) -> None:
        self._root = root
        self._split = split
        self._annotations = annotations
        self._hash = ""

    @property
    def words(self) -> str:
        return f"{self._root}, split {self._split}"

    def list_videos(self, subjects: Sequence[Subject]) -> list[ScoredVideo]:
        """Return the videos, labels spelled as the first subject has them.

        Raises InputError as :func:`videosoft.data.read_annotations` does, and for a label that the subject lacks.
        """
        listed = read_annotations(
            self._root, self._split, annotations=self._annotations, class_names=subjects[0].class_names
        )
        self._hash = listed.manifest_hash
        return [
            ScoredVideo(record.video_id, record.group_id, record.label_name, record.path, record.status, record.reason)
            for record in listed.records
        ]

    def identify(self) -> dict[str, Any]:
        return {"split": self._split, "list_hash": self._hash}


class ExportSource:
    """The finished videos of an export, with the maps of one checkpoint or two (:class:`SaliencyExport`).

    ``method``, ``layers`` (those of the first and the second) and ``target`` are the export's.

    Raises InputError for a folder without an export, one without npz or Zarr files, and one whose maps tell two classes
    apart: a score is about one class.
    """

    def __init__(self, folder: Path) -> None:
        export = read_export(folder)
        self._folder = folder
        self._outcomes = [outcome for outcome in export.videos if outcome.status == "ok"]
        self._failed = [outcome for outcome in export.videos if outcome.status not in ("ok", "mapped")]
        if not self._outcomes:
            raise InputError(f"the export in {folder} has no finished video")
        try:
            settings = export.manifest["settings"]
            self.target = str(settings["target"])
            self.method: SaliencyMethod = create_method(settings["method"], **settings["method_options"])
            self._hashes = [str(checkpoint["checkpoint_hash"]) for checkpoint in export.manifest["checkpoints"]]
            self._config_hash = str(export.manifest["config_hash"])
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"the manifest of {folder} does not say how its maps were made ({error})") from error
        if any(outcome.versus for outcome in self._outcomes):
            raise InputError(f"the maps in {folder} tell two classes apart; export without --versus to score them")
        repeated = [
            name for name, count in Counter(outcome.video_id for outcome in self._outcomes).items() if count > 1
        ]
        if repeated:
            raise InputError(f"the export in {folder} has several videos called {repeated[0]!r}")
        first = self._find_maps(self._outcomes[0])
        layers = [None if self.method.place == "input" else read_saliency(path).layer for path in first.values()]
        self.layers = (layers[0], layers[-1])

    @property
    def words(self) -> str:
        return f"the export in {self._folder}"

    def list_videos(self, subjects: Sequence[Subject]) -> list[ScoredVideo]:
        """Return the videos with their maps.

        Raises InputError when the first subjects are not the export's checkpoints.
        """
        firsts = [subject for subject in subjects if subject.is_first]
        if [subject.checkpoint_hash for subject in firsts] != self._hashes:
            given = ", ".join(str(subject.model.path) for subject in firsts)
            raise InputError(
                f"the export in {self._folder} was not made with {given}: give the same {len(self._hashes)} "
                "checkpoint(s), in the same order, as --ckpt_path and --compare (by the SHA-256 in manifest.json)"
            )
        videos = [
            ScoredVideo(
                outcome.video_id,
                find_group(outcome.video_id),
                outcome.label,
                Path(outcome.path),
                *self._check_path(outcome),
                target=outcome.target,
                maps=self._find_maps(outcome),
                clip_hash=outcome.clip_hash,
            )
            for outcome in self._outcomes
        ]
        return videos + [
            ScoredVideo(
                outcome.video_id,
                find_group(outcome.video_id),
                outcome.label,
                Path(outcome.path),
                outcome.status,
                outcome.reason,
            )
            for outcome in self._failed
        ]

    def identify(self) -> dict[str, Any]:
        return {"export_hash": self._config_hash}

    def _find_maps(self, outcome: VideoOutcome) -> dict[str, Path]:
        """Return the file of each first subject's map."""
        maps = {}
        for kind in ("zarr", "npz"):
            for letter in "AB"[: len(self._hashes)]:
                name = outcome.files.get(f"{kind}.{letter}" if len(self._hashes) > 1 else kind)
                if name is not None:
                    maps[letter] = self._folder / name
        if len(maps) < len(self._hashes):
            raise InputError(f"the export in {self._folder} has no raw maps: export with --outputs npz")
        return maps

    def _check_path(self, outcome: VideoOutcome) -> tuple[str, str]:
        """Return (status, reason): a path from a file is opened only if it is that of a video."""
        path = Path(outcome.path)
        if path.suffix.lower() not in ANY_VIDEO_SUFFIXES:
            return "unreadable", "the manifest names a file that is no video"
        return ("ok", "") if path.is_file() else ("missing", "the video of the export is gone")
