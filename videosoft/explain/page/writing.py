"""Writes the page: one file, or one file and a folder of media beside it."""

import base64
import hashlib
import html
import json
import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from videosoft import __version__
from videosoft.atomic_files import check_output_folder, replace_when_done
from videosoft.errors import InputError
from videosoft.explain.page.content import CAUTIONS, OUTCOMES, PageClip, PageModel, sort_outcome
from videosoft.explain.page.media import MAP_STEPS, describe_media, encode_media
from videosoft.explain.page.statistics import PageStatistics, count_outcomes
from videosoft.explain.rendering.colors import (
    LUMA,
    MAX_OPACITY,
    NEGATIVE_INNER,
    NEGATIVE_OUTER,
    POSITIVE_INNER,
    POSITIVE_OUTER,
)
from videosoft.explain.rendering.text import clean_text

__all__ = ["INLINE_BYTES", "PageWriter"]

INLINE_BYTES = 24 * 2**20
"""Media of more bytes than these are put beside the page, clip by clip, and loaded when they are seen."""


class PageWriter:
    """Collects clips one by one, and writes the page when the block ends well.

    The page needs no network: styles, script and, up to :data:`INLINE_BYTES`, the media are in it; larger media lie in
    ``<name>_media/`` beside it, as scripts, since a browser reads no other files from a page that was opened as one.
    All text is escaped; a Content-Security-Policy lets no script run but the page's own.

    Args:
        path: the HTML file.
        models: one, or two to compare.
        title: heading of the page.
        notes: lines under the heading, such as the command, or how the clips were chosen.
        statistics: of more videos than the page's clips, where there are predictions of them.
        overwrite: whether an older page (and its media folder) may be replaced.

    Raises:
        InputError: the file exists and may not be replaced, its folder cannot be written to, or the number of models
            is neither 1 nor 2.
    """

    def __init__(
        self,
        path: Path,
        models: Sequence[PageModel],
        *,
        title: str,
        notes: Sequence[str] = (),
        statistics: PageStatistics | None = None,
        overwrite: bool = False,
    ) -> None:
        if len(models) not in OUTCOMES:
            raise InputError(f"a page shows one model or two, got {len(models)}")
        self._path = path
        self._media_path = path.with_name(f"{path.stem}_media")
        for old in (self._path, self._media_path):
            if old.exists() and not overwrite:
                raise InputError(f"{old} exists already; name another page, or --overwrite to replace it")
        if self._media_path.exists() and not _holds_only_media(self._media_path):
            raise InputError(f"{self._media_path} holds other files than a page's media; name another page")
        check_output_folder(path.parent)
        self._models = list(models)
        self._title = title
        self._notes = list(notes)
        self._statistics = statistics
        self._clips: list[dict[str, Any]] = []
        self._inline: list[str] = []
        self._num_bytes = 0
        self._is_beside = False

    def __enter__(self) -> "PageWriter":
        if self._media_path.exists():
            shutil.rmtree(self._media_path)
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is None:
            self._write()
        elif self._is_beside:
            shutil.rmtree(self._media_path, ignore_errors=True)

    def add_clip(self, clip: PageClip) -> None:
        """Add one clip; its frames and maps are encoded at once and need not be kept.

        Raises:
            InputError: the clip has another number of models than the page, or its media cannot be written.
        """
        if len(clip.tubes) != len(self._models):
            raise InputError(f"clip {clip.video_id!r} has {len(clip.tubes)} maps, the page {len(self._models)} models")
        outcome = sort_outcome(clip.label, [name for name, _ in clip.predictions])
        self._clips.append(
            {
                "video_id": clean_text(clip.video_id),
                "label": None if clip.label is None else clean_text(clip.label),
                "target": clean_text(clip.target),
                "predictions": [[clean_text(name), probability] for name, probability in clip.predictions],
                "outcome": outcome,
                "fps": clip.fps,
                "unit": clip.unit,
                "warnings": [clean_text(warning) for warning in clip.warnings],
                **describe_media(clip),
            }
        )
        media = json.dumps(encode_media(clip))
        self._num_bytes += len(media)
        if not self._is_beside and self._num_bytes > INLINE_BYTES:
            self._is_beside = True
            self._media_path.mkdir()
            for number, earlier in enumerate(self._inline):
                self._write_media(number, earlier)
            self._inline.clear()
        if self._is_beside:
            self._write_media(len(self._clips) - 1, media)
        else:
            self._inline.append(media)

    def _write_media(self, number: int, media: str) -> None:
        with replace_when_done(self._media_path / f"{number:05d}.js") as temporary_path:
            temporary_path.write_text(f"receiveMedia({number}, {media});\n", encoding="ascii")

    def _write(self) -> None:
        if not self._clips:
            raise InputError("there is no clip to show on the page")
        assets = files("videosoft.explain.page") / "assets"
        style, script = ((assets / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
        outcomes = OUTCOMES[len(self._models)]
        on_page = count_outcomes((clip["outcome"] for clip in self._clips), outcomes, scope="clips on this page")
        content = {
            "models": [
                {"title": clean_text(model.title), "lines": [clean_text(line) for line in model.lines]}
                for model in self._models
            ],
            "outcomes": outcomes,
            "statistics": [
                _describe_statistics(statistics)
                for statistics in ([self._statistics] if self._statistics else []) + [on_page]
            ],
            "colors": {
                "positive": [POSITIVE_INNER, POSITIVE_OUTER],
                "negative": [NEGATIVE_INNER, NEGATIVE_OUTER],
                "max_opacity": MAX_OPACITY,
                "luma": LUMA,
            },
            "map_steps": MAP_STEPS,
            "media_folder": self._media_path.name if self._is_beside else None,
            "clips": self._clips,
        }
        sources = f"'sha256-{_hash(script)}'" + (" 'self' file:" if self._is_beside else "")
        media = "\n".join(
            f'<script type="application/json" id="media-{number}">{text}</script>'
            for number, text in enumerate(self._inline)
        )
        notes = "\n".join(f"<p>{html.escape(clean_text(note))}</p>" for note in self._notes)
        page = (assets / "page.html").read_text(encoding="utf-8")
        for name, text in {
            "policy": f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {sources}",
            "title": html.escape(clean_text(self._title)),
            "style": style,
            "notes": notes,
            "caution": html.escape(CAUTIONS[len(self._models)]),
            "version": html.escape(__version__),
            "content": _dump_for_script(content),
            "media": media,
            "script": script,
        }.items():
            # The marks of later texts cannot come from earlier ones: data holds no "<", which every mark begins with.
            page = page.replace(f"<!--{name}-->", text)
        with replace_when_done(self._path) as temporary_path:
            temporary_path.write_text(page, encoding="utf-8")


def _describe_statistics(statistics: PageStatistics) -> dict[str, Any]:
    test = statistics.test_difference()
    return {
        "scope": statistics.scope,
        "counts": statistics.counts,
        "num_labelled": statistics.num_labelled,
        "accuracies": statistics.accuracies,
        "p_value": test.p_value if test else None,
        "method": test.method if test else None,
    }


def _dump_for_script(content: dict[str, Any]) -> str:
    """JSON that cannot end the script element it stands in, whatever the names hold."""
    return json.dumps(content, allow_nan=False).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _holds_only_media(folder: Path) -> bool:
    return folder.is_dir() and all(
        file.is_file() and file.suffix == ".js" and file.stem.isdecimal() for file in folder.iterdir()
    )
