#!/usr/bin/env python3
"""Draw the SoftPool paper's figure S4 for given checkpoints: frames, original and SoftPool in rows, clip by clip.

  python tools/draw_saliency_figure.py --softpool SOFT.ckpt --original MAX.ckpt \\
      --videos ucf101_mini/val/Archery --max_videos 2 --target Archery --output figure_s4.png

The maps are Class Feature Pyramids as published, at the last feature map and theta = .55, unless told otherwise; both
models see the same frames and share each clip's colour scale. A record of what was drawn stands beside the picture, as
JSON. How to read it: docs/saliency.md.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from videosoft.arguments import parse_positive
from videosoft.errors import InputError, run_command
from videosoft.printable import fit_terminal


def create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--softpool", type=Path, required=True, metavar="SOFT.ckpt", help="checkpoint with SoftPool")
    parser.add_argument("--original", type=Path, metavar="MAX.ckpt", help="checkpoint with its original pooling")
    parser.add_argument(
        "--videos", type=Path, nargs="+", required=True, metavar="PATH", help="files, or folders searched recursively"
    )
    parser.add_argument(
        "--max_videos", type=parse_positive, default=2, metavar="N", help="take the first N (default: 2)"
    )
    parser.add_argument("--target", default="label", metavar="CLASS", help="as in export_saliency.py (default: label)")
    parser.add_argument("--theta", type=float, default=0.55, help="default: %(default)s")
    parser.add_argument("--mode", choices=("published", "exact"), default="published", help="default: %(default)s")
    parser.add_argument("--layer", metavar="NAME", help="layer whose maps are shown (default: the last feature map)")
    parser.add_argument("--output", type=Path, required=True, metavar="FIGURE.png")
    parser.add_argument("--overwrite", action="store_true", help="replace the picture and its record")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    args = create_parser().parse_args(arguments)
    record_path = args.output.with_suffix(".json")
    if args.output.suffix != ".png" or not args.output.absolute().parent.is_dir():
        raise InputError(f"--output must be a .png file in a folder that exists, got {args.output}")
    if not args.overwrite and (args.output.exists() or record_path.exists()):
        raise InputError(f"{args.output} or {record_path} exists already: pass --overwrite, or another --output")
    # Late, so that --help and a mistyped option answer at once.
    import torch

    from videosoft import __version__
    from videosoft.atomic_files import write_json
    from videosoft.explain import Explainer, FailedVideo, TargetPolicy, create_method, list_videos, load_models
    from videosoft.explain.export import choose_layer, create_figure, describe_video, resolve_device
    from videosoft.explain.rendering import create_color_scale
    from videosoft.explain.rendering.saliency_figure import write_saliency_figure

    method = create_method("class_feature_pyramids", mode=args.mode, theta=args.theta)
    videos = list_videos(args.videos, exclude=args.output)[: args.max_videos]
    device = resolve_device(args.device)
    paths = [args.original, args.softpool] if args.original else [args.softpool]
    models = load_models(paths, device)
    layers = [choose_layer(model, method, args.layer) for model in models]
    policy = TargetPolicy(models, args.target)
    policy.check_labels(videos)
    names = ["original", "SoftPool"] if args.original else ["SoftPool"]
    clips, records = [], []
    for explained in Explainer(models, method, layers, policy, device).explain(videos):
        if isinstance(explained, FailedVideo):
            print(fit_terminal(f"{explained.status}: {explained.video.path}: {explained.reason}"))
            continue
        outcome = describe_video(models, explained)
        tubes = [tube.tube.cpu().numpy() for tube in explained.tubes]
        figure = create_figure(
            outcome,
            models,
            tubes,
            [(tube.layer, tuple(tube.map.shape)) for tube in explained.tubes],
            explained.frames.numpy(),
            method=f"class_feature_pyramids, {args.mode}, theta {args.theta:g}",
            unit=explained.tubes[0].unit,
            scale="pair",
            limit=None,
            positive_only=False,
        )
        panels = tuple(replace(panel, title=name) for name, panel in zip(names, figure.panels, strict=False))
        scale = create_color_scale(tubes, figure.scale.label)
        clips.append(replace(figure, panels=panels, scale=scale))
        records.append(outcome.to_json() | {"path": explained.video.path.name})
    if not clips:
        raise InputError("no video could be explained; the reasons are above")
    write_saliency_figure(args.output, clips)
    write_json(
        record_path,
        {
            "tool": "draw_saliency_figure",
            "settings": {"mode": args.mode, "theta": args.theta, "layers": layers, "target": args.target},
            "checkpoints": [
                {"row": name, "file": model.path.name, "checkpoint_hash": model.loaded.metadata["checkpoint_hash"]}
                for name, model in zip(names, models, strict=True)
            ],
            "versions": {"videosoft": __version__, "torch": str(torch.__version__)},
            "videos": records,
        },
    )
    print(f"{args.output}: {len(clips)} of {len(videos)} clips")


if __name__ == "__main__":
    sys.exit(run_command(main))
