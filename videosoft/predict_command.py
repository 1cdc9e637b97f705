"""`lightning predict --ckpt_path X --video a.mp4 clips/`: a checkpoint and files, no config and no list."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from videosoft.arguments import parse_count, parse_positive
from videosoft.atomic_files import check_output_folder
from videosoft.errors import InputError

PREDICTIONS_NAME = "predictions.parquet"
_CONFIG_SECTIONS = ("--config", "-c", "--data.", "--model.", "--trainer.", "--run.", "--print_config")


def takes_video_files(arguments: Sequence[str]) -> bool:
    """Whether ``lightning predict ARGUMENTS`` is about files, rather than about a split of a config's data."""
    return _names_videos(arguments) or not any(argument.startswith(_CONFIG_SECTIONS) for argument in arguments)


def run_predict(arguments: Sequence[str]) -> None:
    """Parse the arguments after ``predict`` and run.

    Raises:
        InputError: on wrong input.
    """
    if given := [argument for argument in arguments if argument.startswith(_CONFIG_SECTIONS)]:
        raise InputError(
            f"--video takes network, preprocessing and class names from the checkpoint: leave out {given[0]}, or leave "
            "out --video to predict a split of the config's data."
        )
    parsed = _create_parser().parse_args(arguments)
    output_dir = _prepare_output(parsed.output, overwrite=parsed.overwrite)
    # Here, not at the top: --help and wrong arguments need not wait for torch.
    from videosoft.training.predict import predict_videos

    predict_videos(
        parsed.ckpt_path,
        parsed.video,
        output_dir=output_dir,
        views=parsed.views,
        num_best=parsed.top,
        tube=parsed.tube,
        device=parsed.device,
        batch_size=parsed.batch_size,
        num_workers=parsed.num_workers,
        decoder=parsed.decoder,
        short_videos=parsed.short_videos,
        overwrite=parsed.overwrite,
        command=["lightning", "predict", *arguments],
    )


def _names_videos(arguments: Sequence[str]) -> bool:
    return any(argument == "--video" or argument.startswith("--video=") for argument in arguments)


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lightning predict",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="What a trained network sees in videos: the most probable classes of each, printed as they come, "
        f"and {PREDICTIONS_NAME}.\n\nThe videos of a config's test split instead:\n"
        "  lightning predict --config RECIPE.yaml --ckpt_path X   (--help after --config RECIPE.yaml lists its keys)",
        allow_abbrev=False,
    )
    parser.add_argument("--ckpt_path", type=Path, required=True, help="checkpoint of `lightning fit`")
    parser.add_argument(
        "--video", type=Path, nargs="+", required=True, metavar="PATH", help="files, or folders searched recursively"
    )
    parser.add_argument("--views", default="10x3", help="CLIPSxCROPS of a video (default: 10x3), or windows")
    parser.add_argument("--top", type=parse_positive, default=5, metavar="N", help="classes to print (default: 5)")
    parser.add_argument(
        "--tube", action="store_true", help="also show where and when the network sees the first class: overlay videos"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: the next free runs/predict/version_N")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier predictions in DIR")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--batch_size", type=parse_positive, default=32, help="clips per forward pass (default: 32)", metavar="N"
    )
    parser.add_argument(
        "--num_workers", type=parse_count, default=2, help="processes that decode (default: 2)", metavar="N"
    )
    parser.add_argument(
        "--decoder",
        choices=("decord", "pyav", "torchcodec"),
        default="decord",
        help="the library that decodes (default: decord)",
    )
    parser.add_argument(
        "--short_videos",
        choices=("skip", "loop"),
        default="skip",
        help="a video shorter than the clip is listed as too_short (skip, the default) or repeated (loop)",
    )
    return parser


def _prepare_output(output: Path | None, *, overwrite: bool) -> Path:
    output_dir = output or _find_free_version(Path("runs", "predict"))
    check_output_folder(output_dir)
    if not overwrite and (output_dir / PREDICTIONS_NAME).exists():
        raise InputError(f"{output_dir} already holds predictions: pass --overwrite, or another --output.")
    return output_dir


def _find_free_version(folder: Path) -> Path:
    numbers = [int(path.name[8:]) for path in folder.glob("version_*") if path.name[8:].isdecimal()]
    return folder / f"version_{max(numbers, default=-1) + 1}"
