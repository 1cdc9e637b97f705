#!/usr/bin/env python3
"""Show where and when in a video a network, or two side by side, see evidence for a class.

  python tools/export_saliency.py --ckpt_path A.ckpt --videos clips/ --output saliency
  python tools/export_saliency.py --ckpt_path A.ckpt --compare B.ckpt --videos clips/ --output saliency --target label

For each video: <video_id>_overlay.mp4, <video_id>_sheet.png and the raw maps (<video_id>.npz; .A.npz and .B.npz when
comparing); manifest.json lists them. How to read them: docs/saliency.md.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from videosoft.errors import InputError, run_command

if TYPE_CHECKING:
    from videosoft.explain import VideoOutcome


def create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, required=True, metavar="A.ckpt", help="checkpoint to explain")
    parser.add_argument(
        "--compare", type=Path, metavar="B.ckpt", help="second checkpoint: same frames, same class, one colour scale"
    )
    parser.add_argument(
        "--videos", type=Path, nargs="+", required=True, metavar="PATH", help="files, or folders searched recursively"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--target",
        default="prediction",
        metavar="CLASS",
        help="class to explain: 'prediction' (of A; default), 'label' (name of the video's folder), a class name, "
        "or an index into A's classes",
    )
    parser.add_argument("--max_videos", type=_parse_positive, metavar="N", help="take only the first N videos")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier export in DIR")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    args = create_parser().parse_args(arguments)
    # Late, so that --help and a mistyped option answer at once.
    from tqdm import tqdm

    from videosoft.explain import SaliencyExport

    export = SaliencyExport(
        [args.ckpt_path] + ([args.compare] if args.compare else []),
        args.videos,
        args.output,
        target=args.target,
        device=args.device,
        max_videos=args.max_videos,
        overwrite=args.overwrite,
        command=sys.argv if arguments is None else [sys.argv[0], *arguments],
    )
    outcomes = []
    with tqdm(total=len(export.videos), unit="video", desc="saliency") as progress:
        for outcome in export.run():
            outcomes.append(outcome)
            tqdm.write(format_outcome(outcome))
            progress.update()

    failures = [outcome for outcome in outcomes if outcome.status != "ok"]
    num_done = len(outcomes) - len(failures)
    print(f"{num_done} of {len(outcomes)} videos explained")
    for failure in failures:
        print(_make_printable(f"  {failure.status}: {failure.path}: {failure.reason}"))
    if num_done == 0:
        raise InputError(f"no video could be explained; the reasons are above and in {args.output / 'manifest.json'}")
    print(
        _make_printable(
            f"results in {args.output}: open the _overlay.mp4 and _sheet.png files; manifest.json lists all"
        )
    )


def format_outcome(outcome: "VideoOutcome") -> str:
    """Return what the terminal says about one video."""
    if outcome.status != "ok":
        return _make_printable(f"{outcome.video_id}: {outcome.status}: {outcome.reason}")
    lines = [f"{outcome.video_id}: target {outcome.target}"]
    for model in outcome.models:
        lines.append(
            f"  {model.model}: predicts {model.prediction} ({model.probability:.3f}); target probability "
            f"{model.target_probability:.3f}, logit {model.logit:+.4f}, logit residual {model.residual:.1e}"
        )
    lines += [f"  warning: {warning}" for warning in outcome.warnings]
    return "\n".join(_make_printable(line) for line in lines)


def _make_printable(text: str) -> str:
    """Return the text as the terminal can show it: no control characters, no undecodable bytes."""
    encoding = sys.stdout.encoding or "utf-8"
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return printable.encode(encoding, "replace").decode(encoding)


def _parse_positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(run_command(main))
