#!/usr/bin/env python3
"""Show where and when in a video a network, or two side by side, see evidence for a class.

  python tools/export_saliency.py --ckpt_path A.ckpt --videos clips/ --output saliency
  python tools/export_saliency.py --ckpt_path A.ckpt --compare B.ckpt --data.root /data/kinetics700 --output saliency \\
      --target label --method grad_cam --layer layer3 --outputs npz overlay slices
  python tools/export_saliency.py --ckpt_path A.ckpt --list_layers

For each video: <video_id>_overlay.mp4, <video_id>_sheet.png and the raw maps (<video_id>.npz; .A.npz and .B.npz when
comparing), or what --outputs names; manifest.json lists them. Interrupted, the same command with --resume goes on.
Methods and how to read them: docs/saliency.md.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from videosoft.arguments import parse_positive
from videosoft.errors import InputError, run_command
from videosoft.printable import fit_terminal

if TYPE_CHECKING:
    from videosoft.explain import ListedVideo, SaliencyExport, VideoOutcome

SCALES = ("pair", "map", "rank", "fixed", "dataset")
OUTPUTS = ("npz", "zarr", "overlay", "gif", "sheet", "frames", "slices", "tube", "glb", "ply", "panels")


def create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, metavar="A.ckpt", help="checkpoint to explain")
    parser.add_argument(
        "--compare", type=Path, metavar="B.ckpt", help="second checkpoint: same frames, same class, one colour scale"
    )

    videos = parser.add_argument_group("videos")
    videos.add_argument("--videos", type=Path, nargs="+", metavar="PATH", help="files, or folders searched recursively")
    videos.add_argument("--data.root", dest="root", type=Path, help="or: a data set's folder in Kinetics layout")
    videos.add_argument("--data.split", dest="split", help="its split (default: val)")
    videos.add_argument(
        "--data.annotations", dest="annotations", type=Path, help="list or manifest (default: <root>/<split>.csv)"
    )
    videos.add_argument("--max_videos", type=parse_positive, metavar="N", help="take only the first N videos")

    question = parser.add_argument_group("what is asked")
    question.add_argument(
        "--target",
        default="prediction",
        metavar="CLASS",
        help="class to explain: 'prediction' (of A; default), 'label' (of the data set, or the name of the video's "
        "folder), a class name, or an index into A's classes",
    )
    question.add_argument(
        "--versus",
        metavar="CLASS",
        help="explain the difference to this class: a name, an index, or 'runner_up' (A's next best)",
    )
    question.add_argument("--method", default="saliency_tubes", help="--list_methods shows all (default: %(default)s)")
    question.add_argument(
        "--method_options", nargs="+", default=[], metavar="OPTION=VALUE", help="options of the method"
    )
    question.add_argument("--layer", metavar="NAME", help="layer to look at (default: the last feature map)")
    question.add_argument("--compare_layer", metavar="NAME", help="B's, where it has another name")
    question.add_argument("--list_layers", action="store_true", help="print the layers with their shapes and stop")
    question.add_argument("--list_methods", action="store_true", help="print the methods with their options and stop")

    results = parser.add_argument_group("results")
    results.add_argument("--output", type=Path, metavar="DIR", help="folder for the results")
    results.add_argument(
        "--outputs",
        nargs="+",
        choices=OUTPUTS,
        default=["npz", "overlay", "sheet", "frames"],
        metavar="KIND",
        help=f"files of each video: {', '.join(OUTPUTS)} (default: npz overlay sheet frames)",
    )
    results.add_argument(
        "--scale",
        choices=SCALES,
        default="pair",
        help="colours span: all values of the picture (pair, default), each map's own (map), ranks (rank), "
        "--scale_limit (fixed), the --scale_quantile of all videos (dataset)",
    )
    results.add_argument("--scale_limit", type=float, metavar="X", help="for --scale fixed, in the unit of the map")
    results.add_argument("--scale_quantile", type=float, default=0.995, metavar="Q", help="default: %(default)s")
    results.add_argument("--positive_only", action="store_true", help="draw no negative values; the raw maps keep them")
    results.add_argument("--overwrite", action="store_true", help="replace the results of an earlier export in DIR")
    results.add_argument("--resume", action="store_true", help="go on with the export in DIR; nothing is done twice")

    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--batch_size", type=parse_positive, default=8, help="clips that run together (default: 8)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    parser = create_parser()
    args = parser.parse_args(arguments)
    if args.list_methods:
        print_methods()
        return
    required = {"--ckpt_path": args.ckpt_path}
    if not args.list_layers:
        required |= {"--output": args.output, "--videos or --data.root": args.videos or args.root}
    if missing := [name for name, value in required.items() if not value]:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    if args.videos and args.root:
        parser.error("argument --data.root: not allowed with argument --videos")
    if args.root is None and (args.split or args.annotations):
        parser.error("arguments --data.split and --data.annotations need --data.root")
    if args.list_layers:
        print_layers([args.ckpt_path] + ([args.compare] if args.compare else []))
        return
    # Late, so that --help and a mistyped option answer at once.
    from videosoft.explain import ExportSettings, OutputFolder, SaliencyExport, create_method
    from videosoft.explain.methods import parse_options

    settings = ExportSettings(
        create_method(args.method, **parse_options(args.method_options)),
        layer=args.layer,
        compare_layer=args.compare_layer,
        target=args.target,
        versus=args.versus,
        scale=args.scale,
        scale_limit=args.scale_limit,
        scale_quantile=args.scale_quantile,
        positive_only=args.positive_only,
        outputs=tuple(args.outputs),
    )
    folder = OutputFolder(args.output, overwrite=args.overwrite, resume=args.resume)
    export = SaliencyExport(
        [args.ckpt_path] + ([args.compare] if args.compare else []),
        list_videos_of(args),
        folder,
        settings,
        device=args.device,
        batch_size=args.batch_size,
        command=sys.argv if arguments is None else [sys.argv[0], *arguments],
    )
    for line in describe_classes(export):
        print(fit_terminal(line))
    report(run_with_progress(export), args.output)


def list_videos_of(args: argparse.Namespace) -> "list[ListedVideo]":
    from videosoft.explain import list_split, list_videos

    if args.root is not None:
        videos = list_split(args.root, args.split or "val", annotations=args.annotations)
    else:
        videos = list_videos(args.videos, exclude=args.output)
    return videos[: args.max_videos]


def run_with_progress(export: "SaliencyExport") -> "list[VideoOutcome]":
    """Run the export and return the last outcome of each video."""
    from tqdm import tqdm

    outcomes: dict[str, VideoOutcome] = {}
    with tqdm(total=len(export.videos), unit="video", desc="saliency") as progress:
        for outcome in export.run():
            if outcome.path in outcomes and progress.n == progress.total:
                # All maps are there; now they are drawn on the scale of the data set.
                num_mapped = sum(one.status == "mapped" for one in outcomes.values())
                progress.reset(total=num_mapped)
                progress.set_description("pictures")
            outcomes[outcome.path] = outcome
            if outcome.status != "mapped":
                tqdm.write(format_outcome(outcome))
            progress.update()
    return list(outcomes.values())


def report(outcomes: "Sequence[VideoOutcome]", output: Path) -> None:
    """Say how many videos were explained and why the others were not."""
    failures = [outcome for outcome in outcomes if outcome.status != "ok"]
    num_done = len(outcomes) - len(failures)
    print(f"{num_done} of {len(outcomes)} videos explained")
    for failure in failures:
        print(fit_terminal(f"  {failure.status}: {failure.path}: {failure.reason}"))
    if num_done == 0:
        raise InputError(f"no video could be explained; the reasons are above and in {output / 'manifest.json'}")
    print(fit_terminal(f"results in {output}; manifest.json lists all files"))


def format_outcome(outcome: "VideoOutcome") -> str:
    """Return what the terminal says about one video."""
    if outcome.status != "ok":
        return fit_terminal(f"{outcome.video_id}: {outcome.status}: {outcome.reason}")
    lines = [f"{outcome.video_id}: target {outcome.target}" + (f" against {outcome.versus}" if outcome.versus else "")]
    score = "difference" if outcome.versus else "logit"
    for model in outcome.models:
        residual = "" if model.residual is None else f", {score} residual {model.residual:.1e}"
        lines.append(
            f"  {model.model}: predicts {model.prediction} ({model.probability:.3f}); target probability "
            f"{model.target_probability:.3f}, {score} {model.logit:+.4f}{residual}"
        )
    lines += [f"  warning: {warning}" for warning in outcome.warnings]
    return "\n".join(fit_terminal(line) for line in lines)


def describe_classes(export: "SaliencyExport") -> list[str]:
    """Return lines that say where two checkpoints' class lists differ."""
    overlap = export.class_overlap
    if overlap is None or not (overlap.only_first or overlap.only_second):
        return []
    lines = [
        f"{len(overlap.shared)} classes are in both checkpoints; videos of the others are listed as target_missing"
    ]
    for letter, names in (("A", overlap.only_first), ("B", overlap.only_second)):
        if names:
            more = f", and {len(names) - 10} more" if len(names) > 10 else ""
            lines.append(f"  only in {letter}: {', '.join(names[:10])}{more}")
    return lines


def print_layers(checkpoints: Sequence[Path]) -> None:
    from videosoft.explain.export import list_model_layers, load_models, resolve_device

    for path in checkpoints:
        (model,) = load_models([path], resolve_device("cpu"))
        preprocessing = model.preprocessing
        print(
            fit_terminal(
                f"{path}: {model.title}, for a clip of {preprocessing.num_frames} x {preprocessing.crop} x "
                f"{preprocessing.crop}"
            )
        )
        layers = list_model_layers(model)
        widths = [max(len(layer.name) for layer in layers), max(len(layer.class_name) for layer in layers)]
        print(f"{'layer':<{widths[0]}}  {'class':<{widths[1]}}  channels x frames x rows x columns")
        for layer in layers:
            print(f"{layer.name:<{widths[0]}}  {layer.class_name:<{widths[1]}}  {' x '.join(map(str, layer.shape))}")


def print_methods() -> None:
    from dataclasses import fields

    from videosoft.explain import list_methods
    from videosoft.explain.methods import get_method_class

    for name in list_methods():
        method = get_method_class(name)
        place = "any layer" if method.place == "layer" else "the clip itself"
        print(f"{name}: {method.needs} a clip; looks at {place}; in {method.unit}")
        for option in fields(method):
            print(f"  {option.name}={option.default}")


if __name__ == "__main__":
    sys.exit(run_command(main))
