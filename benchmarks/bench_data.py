"""Times our data loading beside bare decord and pytorchvideo, in one process and in turns, into a JSON file.

Training: an epoch of random clips (16 frames, every second one, 112 x 112). Testing: 10 clips x 3 crops of each video,
beside one decode of the frames needed and beside a decode for each view. The videos are made up here (340 x 256 H.264,
10 s, key frames every 12 or 250 frames); --root adds a data set of your own in Kinetics layout.
"""

import argparse
import datetime
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from data_peers import NUM_CLIPS, NUM_CROPS, Epoch, create_test_epochs, create_training_epochs
from made_up_videos import FPS, write_videos
from measuring import ROOT, check_output, describe_device, find_versions
from tqdm import tqdm

from videosoft.atomic_files import write_json
from videosoft.data import DecoderName, KineticsDataset, Preprocessing
from videosoft.errors import InputError, run_command

FORMAT_VERSION = 1
GROUP_SIZES = (12, 250)
# Our contenders and their decoders: the default, and the one that leaves out what nothing needs.
OURS: dict[str, DecoderName] = {"videosoft": "decord", "videosoft_pyav": "pyav"}
FRAMES: dict[str, Any] = {"num_frames": 16, "sampling_stride": 2, "crop": 112}


def main() -> None:
    args = parse_arguments()
    check_output(args.output, force=args.force)
    torch.set_num_threads(1)
    started = datetime.datetime.now(datetime.timezone.utc)
    load_at_start = round(os.getloadavg()[0], 2)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, root, split, fps in find_data(Path(folder), args):
            rows += measure_data(name, root, split, fps, args)
    record = {
        "format_version": FORMAT_VERSION,
        "command": describe_command(),
        "date": started.strftime("%Y-%m-%d %H:%M UTC"),
        "quick": args.quick,
        "rounds": args.rounds,
        "num_workers": args.workers,
        "load_average": {"start": load_at_start, "end": round(os.getloadavg()[0], 2)},
        "device": describe_device(torch.device("cpu")),
        "versions": find_versions() | {name: version(name) for name in ("decord2", "pytorchvideo", "torchvision")},
        "rows": rows,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, record)
    for row in rows:
        print(
            f"{row['data']:<12} {row['task']:<9} {row['contender']:<14} {row['median_per_second']:9.1f} {row['unit']}/s"
        )
    print(args.output)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "data_cpu.json")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    parser.add_argument("--root", type=Path, help="a data set in Kinetics layout to measure besides")
    parser.add_argument("--split", default="val", help="its split (default: val)")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode (default: 2)")
    parser.add_argument("--rounds", type=int, help="epochs of each contender (default: 5; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="few videos, one round: to see that it runs")
    args = parser.parse_args()
    if args.rounds is None:
        args.rounds = 1 if args.quick else 5
    if args.rounds < 1 or args.workers < 0:
        raise InputError(f"--rounds must be at least 1 and --workers 0 or more, got {args.rounds} and {args.workers}")
    return args


def describe_command() -> str:
    """The command line; of folders, which differ from one machine to the next, the names only."""
    arguments = [Path(argument).name if Path(argument).is_absolute() else argument for argument in sys.argv[1:]]
    return shlex.join(["python", "benchmarks/bench_data.py", *arguments])


def find_data(folder: Path, args: argparse.Namespace) -> Iterator[tuple[str, Path, str, float]]:
    """Name, root, split and frames per second of each data set."""
    for group_size in GROUP_SIZES:
        root = folder / f"gop{group_size}"
        num_different, num_copies = (2, 2) if args.quick else (16, 4)
        write_videos(root, num_different=num_different, num_copies=num_copies, group_size=group_size)
        yield f"gop{group_size}", root, "val", FPS
    if args.root is not None:
        yield args.root.name, args.root, args.split, 25.0


def measure_data(name: str, root: Path, split: str, fps: float, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each task and contender."""
    options: dict[str, Any] = {"preprocessing": Preprocessing(**FRAMES, short_side=128), "short_videos": "loop"}
    trained_on = {
        contender: KineticsDataset(root, split, training=True, decoder=decoder, **options)
        for contender, decoder in OURS.items()
    }
    tested_on = {
        contender: KineticsDataset(
            root, split, num_clips=NUM_CLIPS, num_crops=NUM_CROPS, packed_views=True, decoder=decoder, **options
        )
        for contender, decoder in OURS.items()
    }
    num_videos = len(trained_on["videosoft"])
    batch_size = min(8, num_videos)
    tasks = {
        "training": (
            "clips",
            create_training_epochs(trained_on, batch_size=batch_size, num_workers=args.workers, fps=fps),
        ),
        "10x3": ("videos", create_test_epochs(tested_on, num_workers=args.workers)),
    }
    rows = []
    for task, (unit, epochs) in tasks.items():
        rates = measure_in_turns(f"{name} {task}", epochs, args.rounds)
        for contender, values in rates.items():
            row = {"data": name, "task": task, "contender": contender, "unit": unit, "num_videos": num_videos}
            rows.append(
                row | {"samples": len(values), "per_second": values, "median_per_second": statistics.median(values)}
            )
    return rows


def measure_in_turns(label: str, epochs: dict[str, Epoch], rounds: int) -> dict[str, list[float]]:
    """Rates of each contender: an epoch each, in turns; the first, in which workers start, is not counted."""
    rates: dict[str, list[float]] = {contender: [] for contender in epochs}
    with tqdm(total=(rounds + 1) * len(epochs), desc=label, unit="epoch", disable=None) as progress:
        for round_number in range(rounds + 1):
            for contender, run_epoch in epochs.items():
                if contender == "each_view" and round_number % 3 != 1:  # takes long; a third of the rounds says enough
                    progress.update()
                    continue
                started = time.perf_counter()
                count = run_epoch()
                if round_number:
                    rates[contender].append(round(count / (time.perf_counter() - started), 2))
                progress.update()
    return rates


if __name__ == "__main__":
    sys.exit(run_command(main))
