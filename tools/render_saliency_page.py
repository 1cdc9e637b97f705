#!/usr/bin/env python3
"""Make one HTML page of a saliency export: clips by who is right, the maps of each under one scrubber.

Of one model, or of two with their difference, A - B:

  python tools/export_saliency.py --ckpt_path A.ckpt --compare B.ckpt --data.root /data/kinetics700 --target label \\
      --output saliency
  python tools/render_saliency_page.py saliency --predictions test_a/predictions.parquet test_b/predictions.parquet

The page needs no network and no server: open it in a browser. Media of more than 24 MB lie in a folder beside it.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from videosoft.arguments import parse_positive
from videosoft.errors import run_command

if TYPE_CHECKING:
    from videosoft.explain import SavedExport


def create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path, metavar="EXPORT", help="folder that tools/export_saliency.py filled")
    parser.add_argument("--output", type=Path, metavar="PAGE.html", help="default: EXPORT/page.html")
    parser.add_argument(
        "--predictions",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="predictions of the model, or of A and of B, for labels and for figures of all videos: "
        "predictions.parquet, or what tools/compare_predictions.py reads",
    )
    parser.add_argument("--title", help="heading of the page")
    parser.add_argument("--max_clips", type=parse_positive, metavar="N", help="show only the first N clips")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier page")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    args = create_parser().parse_args(arguments)
    # Late, so that --help and a mistyped option answer at once.
    from tqdm import tqdm

    from videosoft.explain import read_export
    from videosoft.explain.page import (
        PageWriter,
        describe_models,
        iterate_clips,
        judge_predictions,
        list_shown_videos,
    )

    export = read_export(args.export)
    models = describe_models(export)
    judged = judge_predictions(args.predictions, len(models)) if args.predictions else None
    num_finished = len(list_shown_videos(export))
    num_clips = min(num_finished, args.max_clips or num_finished)
    title = args.title or ("Saliency of A beside B" if len(models) > 1 else f"Saliency of {models[0].title}")
    path = args.output or args.export / "page.html"
    command = [Path(sys.argv[0]).name, *(sys.argv[1:] if arguments is None else arguments)]
    with PageWriter(
        path,
        models,
        title=title,
        notes=[*describe_choice(export, num_clips), shlex.join(command)],
        statistics=judged.statistics if judged else None,
        overwrite=args.overwrite,
    ) as page:
        clips = iterate_clips(export, judged.labels if judged else None)
        for _, clip in zip(tqdm(range(num_clips), unit="clip", desc="page"), clips, strict=False):
            page.add_clip(clip)
    print(f"{num_clips} clips: {path}")


def describe_choice(export: "SavedExport", num_clips: int) -> list[str]:
    """Say what the clips are, and which of the videos they are."""
    settings = export.manifest.get("settings", {})
    about = ", ".join(
        f"{name} {settings[name]}" for name in ("method", "layer", "target", "versus") if settings.get(name)
    )
    failed = [video.status for video in export.videos if video.status != "ok"]
    counts = ", ".join(f"{failed.count(status)} {status}" for status in sorted(set(failed)))
    chosen = f"the first {num_clips} of {export.manifest.get('num_videos', len(export.videos))} videos of the export"
    return [about, chosen + (f" (not shown: {counts})" if counts else "")]


if __name__ == "__main__":
    sys.exit(run_command(main))
