"""Evaluate a checkpoint on Kinetics-layout videos with several views each.

Writes metrics.json, predictions.parquet, the confusion matrix (CSV and PNG) and a reliability diagram; the
preprocessing and the class names are those of the checkpoint. Interrupted, it goes on when the same command is given
again.
"""

import argparse
import shlex
import sys
from pathlib import Path

from videosoft.arguments import parse_count, parse_positive
from videosoft.errors import run_command


def main() -> None:
    arguments = _parse_arguments()
    # Here, not at the top: --help and wrong arguments need not wait for torch.
    from videosoft.training.evaluate import evaluate_checkpoint

    evaluate_checkpoint(
        arguments.ckpt_path,
        root=arguments.root,
        split=arguments.split,
        source=arguments.source,
        annotations=arguments.annotations,
        decoder=arguments.decoder,
        views=arguments.views,
        output_dir=arguments.output or arguments.ckpt_path.parent / f"evaluation_{arguments.split}_{arguments.views}",
        batch_size=arguments.batch_size,
        num_workers=arguments.num_workers,
        short_videos=arguments.short_videos,
        accelerator=arguments.accelerator,
        devices=arguments.devices,
        command=shlex.join(["python", *sys.argv]),
        overwrite=arguments.overwrite,
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, required=True, help="checkpoint of `lightning fit`")
    parser.add_argument("--data.root", dest="root", required=True, help="folder in Kinetics layout")
    parser.add_argument("--data.split", dest="split", default="val", help="split to evaluate (default: val)")
    parser.add_argument("--data.annotations", dest="annotations", help="list or manifest (default: <root>/<split>.csv)")
    parser.add_argument(
        "--data.source",
        dest="source",
        choices=("files", "litdata"),
        default="files",
        help="litdata where <root>/<split> holds chunks, in a folder or in object storage",
    )
    parser.add_argument(
        "--data.decoder",
        dest="decoder",
        choices=("decord", "pyav", "torchcodec"),
        default="decord",
        help="the library that decodes (default: decord)",
    )
    parser.add_argument("--views", default="10x3", help="CLIPSxCROPS of a video (default: 10x3), or windows")
    parser.add_argument("--output", type=Path, help="default: evaluation_SPLIT_VIEWS beside the checkpoint")
    parser.add_argument(
        "--overwrite", action="store_true", help="begin anew, and replace the results of an earlier evaluation"
    )
    parser.add_argument("--batch_size", type=parse_positive, default=32, help="clips per forward pass (default: 32)")
    parser.add_argument("--num_workers", type=parse_count, default=2, help="processes that decode (default: 2)")
    parser.add_argument(
        "--short_videos",
        choices=("skip", "loop"),
        default="skip",
        help="a video shorter than the clip is listed as too_short (skip, the default) or repeated (loop)",
    )
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument(
        "--devices",
        type=_parse_devices,
        default=1,
        help="devices that share the videos, or auto for all (default: 1); the results are the same",
    )
    return parser.parse_args()


def _parse_devices(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of devices, at least 1, nor auto")
    return int(text)


if __name__ == "__main__":
    sys.exit(run_command(main))
