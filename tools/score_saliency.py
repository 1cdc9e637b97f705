#!/usr/bin/env python3
"""Score the saliency maps of a trained network, or of two side by side, over the videos of a data set.

  python tools/score_saliency.py --ckpt_path A.ckpt --data.root data/demo --output scores
  python tools/score_saliency.py --ckpt_path A.ckpt A_seed2.ckpt --compare B.ckpt B_seed2.ckpt \\
      --data.root data/kinetics700 --max_videos 500 --output scores
  python tools/score_saliency.py --ckpt_path A.ckpt --export saliency --output scores

Writes scores.parquet (one row a clip and score), curves.parquet, summary.md, summary.json and plots. How to read them:
docs/saliency_scores.md. Interrupted, it goes on where it stopped when it is started again in the same way.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from videosoft.arguments import parse_positive
from videosoft.errors import run_command
from videosoft.printable import fit_terminal

BOXES_NAME = "boxes.parquet"
OF_THE_MAPS = ("method", "method_options", "layer", "compare_layer", "target", "crop")


def create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--ckpt_path",
        type=Path,
        nargs="+",
        required=True,
        metavar="A.ckpt",
        help="checkpoint A; those after the first are A trained with other seeds",
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        default=[],
        metavar="B.ckpt",
        help="checkpoint B: same frames, same class; those after the first are B trained with other seeds",
    )
    videos = parser.add_argument_group("videos")
    videos.add_argument("--data.root", dest="root", type=Path, metavar="DIR", help="a data set's folder")
    videos.add_argument("--data.split", dest="split", help="its split (default: val)")
    videos.add_argument(
        "--data.annotations", dest="annotations", type=Path, help="list or manifest (default: <root>/<split>.csv)"
    )
    videos.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="or: a folder of tools/export_saliency.py, whose videos and maps of A and B are taken as they are",
    )
    videos.add_argument(
        "--boxes", type=Path, metavar="FILE", help=f"true boxes (default: <root>/{BOXES_NAME}, where it is there)"
    )
    videos.add_argument("--max_videos", type=parse_positive, metavar="N", help="take only the first N videos")

    maps = parser.add_argument_group("maps (those of an export are as they are)")
    maps.add_argument("--method", help="tools/export_saliency.py --list_methods shows all (default: saliency_tubes)")
    maps.add_argument("--method_options", nargs="+", metavar="OPTION=VALUE", help="options of the method")
    maps.add_argument("--layer", metavar="NAME", help="layer to look at (default: the last feature map)")
    maps.add_argument("--compare_layer", metavar="NAME", help="B's, where it has another name")
    maps.add_argument(
        "--target",
        metavar="CLASS",
        help="class to explain: 'label' (default), 'prediction' (of A), a class name, or an index into A's classes",
    )
    maps.add_argument(
        "--crop", type=parse_positive, metavar="PIXELS", help="side of the centre crop (default: the checkpoint's)"
    )

    scores = parser.add_argument_group("scores")
    scores.add_argument(
        "--baseline",
        choices=["blur", "mean"],
        default="blur",
        help="what stands for voxels taken away, in insertion and deletion (default: blur)",
    )
    scores.add_argument(
        "--num_steps", type=parse_positive, default=16, help="steps of insertion and deletion (default: 16)"
    )
    scores.add_argument(
        "--randomization",
        choices=["cascade", "whole", "none"],
        default="cascade",
        help="compare with fresh weights: from the output down, part by part (default), only all at once, or not",
    )

    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--batch_size", type=parse_positive, default=16, help="clips per forward pass (default: 16)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run in DIR")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    parser = create_parser()
    args = parser.parse_args(arguments)
    if bool(args.root) == bool(args.export):
        parser.error("one of the arguments --data.root and --export is required")
    if args.export and (given := [f"--{name}" for name in OF_THE_MAPS if getattr(args, name) is not None]):
        parser.error(f"the maps of an export are as they are: leave out {', '.join(given)}")
    if args.root is None and (args.split or args.annotations):
        parser.error("arguments --data.split and --data.annotations need --data.root")
    if args.compare_layer and not args.compare:
        parser.error("argument --compare_layer: it is the layer of B, give --compare")
    # Late, so that --help and a mistyped option answer at once.
    from tqdm import tqdm

    from videosoft.explain.methods import create_method, parse_options
    from videosoft.explain.scores.scoring import SaliencyScoring, ScoringSettings
    from videosoft.explain.scores.video_sources import ExportSource, SplitSource

    source: ExportSource | SplitSource
    boxes = args.boxes
    if args.export:
        source = ExportSource(args.export)
        method, layers, target = source.method, source.layers, source.target
    else:
        source = SplitSource(args.root, args.split or "val", args.annotations)
        method = create_method(args.method or "saliency_tubes", **parse_options(args.method_options or []))
        layers, target = (args.layer, args.compare_layer or args.layer), args.target or "label"
        if boxes is None and (args.root / BOXES_NAME).exists():
            boxes = args.root / BOXES_NAME
    scoring = SaliencyScoring(
        args.ckpt_path,
        args.compare,
        args.output,
        ScoringSettings(
            method=method,
            layers=layers,
            target=target,
            crop=args.crop,
            baseline=args.baseline,
            num_steps=args.num_steps,
            randomization=args.randomization,
        ),
        source,
        boxes=boxes,
        batch_size=args.batch_size,
        device=args.device,
        max_videos=args.max_videos,
        overwrite=args.overwrite,
        command=shlex.join(["python", *(sys.argv if arguments is None else [sys.argv[0], *arguments])]),
    )
    if scoring.is_complete:
        print(f"{args.output} holds these scores already; nothing to do")
        return
    if scoring.num_done:
        print(f"{scoring.num_done} of {len(scoring.videos)} videos were scored before; going on")
    records = []
    with tqdm(total=len(scoring.videos), unit="video", desc="scores", mininterval=0.5) as progress:
        for record in scoring.run():
            records.append(record)
            if record.status != "ok":
                tqdm.write(fit_terminal(f"{record.path}: {record.status}: {record.reason}"))
            progress.update()
    summaries = scoring.finish(records)
    num_scored = sum(record.status == "ok" for record in records)
    print(f"{num_scored} of {len(records)} videos scored; {summaries['Correct clips'].num_clips} predicted correctly")
    print(fit_terminal(f"results in {args.output}: summary.md, and scores.parquet with one row a clip and score"))


if __name__ == "__main__":
    sys.exit(run_command(main))
