"""Scores of the maps of one checkpoint, or of two and their further seeds, over the videos of a split."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videosoft import __version__
from videosoft.atomic_files import check_output_folder, replace_when_done, write_json
from videosoft.errors import InputError
from videosoft.explain.class_names import match_class, parse_class
from videosoft.explain.clips import ClipLoader, NoClipError, hash_frames
from videosoft.explain.export.models import resolve_device
from videosoft.explain.methods import SaliencyMethod
from videosoft.explain.methods.method import NotFiniteError
from videosoft.explain.saliency_files import read_saliency
from videosoft.explain.scores.baselines import Baseline
from videosoft.explain.scores.boxes import VideoBoxes, create_box_mask, read_boxes
from videosoft.explain.scores.clip_scores import ClipScorer, Randomization
from videosoft.explain.scores.figures import FIGURE_NAMES, draw_figures
from videosoft.explain.scores.markdown import format_summary
from videosoft.explain.scores.progress import ClipRecord, ProgressFile
from videosoft.explain.scores.seeds import summarize_seeds
from videosoft.explain.scores.subjects import load_subjects
from videosoft.explain.scores.summary import Summary, find_correct, summarize
from videosoft.explain.scores.summary_json import seeds_to_json, summary_to_json
from videosoft.explain.scores.table import ScoreTable, write_curves, write_scores
from videosoft.explain.scores.video_sources import ScoredVideo, VideoSource

__all__ = ["SUMMARY_FORMAT_VERSION", "SaliencyScoring", "ScoringSettings"]

SUMMARY_FORMAT_VERSION = 1
PROGRESS_NAME = "progress.jsonl"
SUMMARY_NAME = "summary.json"
RESULT_NAMES = ("scores.parquet", "curves.parquet", SUMMARY_NAME, "summary.md", *FIGURE_NAMES)


@dataclass(frozen=True)
class ScoringSettings:
    """What the scores of a clip depend on, beside the checkpoints and the data.

    ``layers`` are those of A and B (None: the feature layer). ``target`` is "label", "prediction" (of A), a class name
    or an index into A's classes; of an export, that of its maps. ``crop`` replaces the checkpoints' own. ``baseline``
    and ``num_steps`` are those of insertion and deletion, ``randomization`` is "cascade", "whole" or "none".
    """

    method: SaliencyMethod
    layers: tuple[str | None, str | None] = (None, None)
    target: str = "label"
    crop: int | None = None
    baseline: Baseline = "blur"
    num_steps: int = 16
    randomization: Randomization = "cascade"

    def to_json(self) -> dict[str, Any]:
        """Plain values, the method by its name and options."""
        return {**asdict(self), "method": self.method.name, "method_options": asdict(self.method)}


class SaliencyScoring:
    """Everything that can be checked before the first video is; :meth:`run` scores the videos, :meth:`finish` sums up.

    ``first`` holds the checkpoint A and further seeds of it, ``second`` B and further seeds (or nothing). ``source``
    is a :class:`SplitSource`, or an :class:`ExportSource`, whose maps of A and B are taken as they are. ``boxes`` is a
    file of true boxes (:func:`read_boxes`), None for none.

    A run that was interrupted goes on where it stopped when it is started again with the same settings.

    Raises InputError for a missing or foreign checkpoint, checkpoints that see different frames or are not the
    export's, data that cannot be listed, a class or a layer that is not known, an output folder that must not be
    written, and a device that is absent.
    """

    def __init__(
        self,
        first: Sequence[Path],
        second: Sequence[Path],
        output: Path,
        settings: ScoringSettings,
        source: VideoSource,
        *,
        boxes: Path | None,
        batch_size: int,
        device: str,
        max_videos: int | None,
        overwrite: bool,
        command: str,
    ) -> None:
        self._output = output
        self._subjects = load_subjects(
            first,
            second,
            resolve_device(device),
            method=settings.method,
            layers=settings.layers,
            crop=settings.crop,
        )
        owner = self._subjects[0]
        self.videos = source.list_videos(self._subjects)[:max_videos]
        self._boxes = read_boxes(boxes) if boxes is not None else {}
        self._target = settings.target
        if self._target not in ("label", "prediction"):
            self._target = parse_class(self._target, owner.class_names, owner=str(owner.model.path))
        self._scorer = ClipScorer(
            self._subjects,
            settings.method,
            baseline=settings.baseline,
            num_steps=settings.num_steps,
            batch_size=batch_size,
            randomization=settings.randomization,
        )
        self._header: dict[str, Any] = {
            "format_version": SUMMARY_FORMAT_VERSION,
            "tool": "score_saliency",
            "command": command,
            "versions": {"videosoft": __version__, "torch": str(torch.__version__)},
            "settings": {
                **source.identify(),
                "boxes_hash": None if boxes is None else hashlib.sha256(boxes.read_bytes()).hexdigest(),
                "max_videos": max_videos,
                "checkpoints": {subject.name: subject.checkpoint_hash for subject in self._subjects},
                **settings.to_json(),
                "layers": {subject.name: subject.layer for subject in self._subjects},
            },
            "data": source.words,
        }
        check_output_folder(output)
        self.is_complete = self._prepare_folder(overwrite)
        self._progress = ProgressFile(output / PROGRESS_NAME, self._header["settings"])

    @property
    def num_done(self) -> int:
        """How many videos an earlier, interrupted run has scored."""
        return len(self._progress.records)

    def run(self) -> Iterator[ClipRecord]:
        """Yield the record of each video, in the order of the list, once it is on disk.

        A video that cannot be read, or is shorter than a clip, is a record with a reason; the others go on.
        """
        self._output.mkdir(parents=True, exist_ok=True)
        self._progress.open()
        try:
            with ClipLoader(self._subjects[0].preprocessing) as loader:
                for video in self.videos:
                    done = self._progress.records.get(video.video_id)
                    if done is None:
                        done = self._score_video(video, loader)
                        self._progress.add(done)
                    yield done
        except OSError as error:
            raise InputError(f"results cannot be written to {self._output}: {error}") from error

    def finish(self, records: Sequence[ClipRecord]) -> dict[str, Summary]:
        """Write the tables, the summary and the plots of all records of :meth:`run`, and return the summaries.

        Raises InputError when no video was scored, and when a file cannot be written.
        """
        scored = [record for record in records if record.status == "ok"]
        if not scored:
            reasons = "; ".join(f"{record.path}: {record.status}: {record.reason}" for record in records[:3])
            raise InputError(f"none of the {len(records)} videos could be scored ({reasons})")
        table = ScoreTable(
            [(record.video_id, record.group_id, record.label_name) for record in scored],
            [record.scores for record in scored],
        )
        curves = [record.curves for record in scored]
        header = {
            **self._header,
            "checkpoints": [
                {
                    "name": subject.name,
                    "path": str(subject.model.path),
                    "checkpoint_hash": subject.checkpoint_hash,
                    "model": subject.model.loaded.metadata["model"],
                    "layer": subject.layer,
                    "grid": list(scored[0].grids[subject.name]),
                    "preprocessing": subject.preprocessing.to_dict(),
                }
                for subject in self._subjects
            ],
            "num_videos": len(records),
            "num_scored": len(scored),
        }
        skipped = [(record.path, record.status, record.reason) for record in records if record.status != "ok"]
        is_correct = find_correct(table)
        summaries = {
            "Correct clips": summarize(table, is_correct),
            "All clips": summarize(table, np.ones(len(table), dtype=bool)),
        }
        has_seeds = not all(subject.is_first for subject in self._subjects)
        is_known = ~np.isnan(table.columns["correct", self._subjects[0].name, ""])
        seeds = summarize_seeds(table) if has_seeds and is_known.any() else None
        write_scores(self._output / "scores.parquet", table, header)
        write_curves(self._output / "curves.parquet", table.video_ids, curves, header)
        # What a network sees in clips that it gets wrong is another question.
        drawn, words = (is_correct, "correct clips") if is_correct.any() else (np.ones_like(is_correct), "clips")
        figures = draw_figures(self._output, table, curves, drawn, f"{int(drawn.sum())} {words}")
        text = format_summary(header, summaries, seeds, skipped, figures)
        with replace_when_done(self._output / "summary.md") as temporary_path:
            temporary_path.write_text(text, encoding="utf-8")
        content = {
            **header,
            "skipped": [{"path": path, "status": status, "reason": reason} for path, status, reason in skipped],
            "summaries": {words: summary_to_json(summary) for words, summary in summaries.items()},
            "seeds": None if seeds is None else seeds_to_json(seeds),
        }
        write_json(self._output / SUMMARY_NAME, content)
        self._progress.remove()
        return summaries

    def _prepare_folder(self, overwrite: bool) -> bool:
        """Whether the folder holds the very results asked for; refuse to replace others unless told to."""
        present = [name for name in (*RESULT_NAMES, PROGRESS_NAME) if (self._output / name).exists()]
        if overwrite:
            for name in present:
                (self._output / name).unlink()
            return False
        if not present or PROGRESS_NAME in present:
            return False
        if _read_settings(self._output / SUMMARY_NAME) == json.loads(json.dumps(self._header["settings"])):
            return True
        raise InputError(
            f"{self._output} holds other results ({', '.join(present)}); give another --output, or --overwrite to "
            "replace them"
        )

    def _score_video(self, video: ScoredVideo, loader: ClipLoader) -> ClipRecord:
        def fail(status: str, reason: str) -> ClipRecord:
            return ClipRecord(video.video_id, video.group_id, video.label_name, str(video.path), status, reason)

        if video.status != "ok":
            return fail(video.status, video.reason)
        try:
            clip = loader(video.path)
        except NoClipError as error:
            return fail(error.status, error.reason)
        if video.clip_hash and hash_frames(clip.get_frames()) != video.clip_hash:
            return fail("changed", "its frames are not those that the export's maps are of")
        target = video.target or self._target
        if target == "label":
            target = video.label_name
        elif target == "prediction":
            target = self._subjects[0].class_names[self._scorer.predict(clip)]
        targets = []
        for subject in self._subjects:
            index = match_class(target, subject.class_names)
            if index is None:
                return fail("target_missing", f"{subject.model.path} has no class {target!r}")
            targets.append(index)
        boxes: VideoBoxes | None = self._boxes.get(video.video_id)
        mask = None
        if boxes is not None:
            mask = create_box_mask(boxes, clip.frames, clip.frame_size, self._subjects[0].preprocessing)
        saved = {name: read_saliency(path) for name, path in video.maps.items()}
        try:
            scored = self._scorer.score(video.video_id, clip, targets, video.label_name, mask, saved)
        except NotFiniteError as error:
            raise InputError(f"{error} ({video.path})") from error
        return ClipRecord(
            video.video_id,
            video.group_id,
            video.label_name,
            str(video.path),
            "ok",
            "",
            scored.scores,
            scored.curves,
            scored.grids,
        )


def _read_settings(path: Path) -> Any:
    """Return the settings of a summary.json, None when there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
