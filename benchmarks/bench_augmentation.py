"""Times what changes the pixels of a training clip, beside decoding one, into a JSON file.

Milliseconds a clip of 16 frames of 112 x 112: processor time on the CPU, where workers do it, or the time of a batch on
a GPU, where `pixels_on_device` does it, over its clips. Decoding is that of decord, of made-up 340 x 256 H.264 with key
frames every 12 frames, with cutting and resizing apart.
"""

import argparse
import datetime
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from made_up_videos import write_videos
from measuring import ROOT, check_device, check_output, describe_device, find_versions
from tqdm import tqdm

from videosoft.atomic_files import write_json
from videosoft.data import Augmentation, Preprocessing, augment_batch_pixels, open_video, sample_training_clips
from videosoft.data.augmentation import cut_clip
from videosoft.errors import InputError, run_command

FORMAT_VERSION = 1
NUM_FRAMES, CROP = 16, 112
SETTINGS = {
    "erasing": Augmentation(erasing_probability=1.0),
    "brightness": Augmentation(brightness=0.4),
    "brightness, contrast, saturation": Augmentation(brightness=0.4, contrast=0.4, saturation=0.4),
    "hue": Augmentation(hue=0.1),
    "RandAugment, 2 operations": Augmentation(rand_augment_ops=2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batch", type=int, default=32, help="clips that are changed at once (default: 32)")
    parser.add_argument("--rounds", type=int, default=7, help="batches of each (default: 7)")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/augmentation_<device>.json")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    args = parser.parse_args()
    output = args.output or ROOT / "benchmarks" / "results" / f"augmentation_{args.device}.json"
    check_output(output, force=args.force)
    check_device(torch.device(args.device))
    if min(args.batch, args.rounds) < 1:
        raise InputError(f"--batch and --rounds must be at least 1, got {args.batch} and {args.rounds}")
    torch.set_num_threads(1)
    device = torch.device(args.device)
    started = datetime.datetime.now(datetime.timezone.utc)
    load_at_start = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory() as folder:
        tasks = create_tasks(Path(folder), args.batch, device)
        rows = measure_in_turns(tasks, args.rounds, args.batch, device)
    record = {
        "format_version": FORMAT_VERSION,
        "command": f"python benchmarks/bench_augmentation.py --device {args.device}",
        "date": started.strftime("%Y-%m-%d %H:%M UTC"),
        "rounds": args.rounds,
        "batch": args.batch,
        "load_average": {"start": load_at_start, "end": round(os.getloadavg()[0], 2)},
        "device": describe_device(device),
        "versions": find_versions(),
        "rows": rows,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, record)
    for row in rows:
        print(f"{row['task']:<34} {row['median_milliseconds']:8.3f} ms a clip")
    print(output)


def create_tasks(folder: Path, batch: int, device: torch.device) -> dict[str, Callable[[int], None]]:
    """What is measured -> it, done to as many clips as a batch has, with the draws of a round."""
    write_videos(folder, num_different=4, num_copies=1, group_size=12)
    paths = sorted(folder.glob("val/*/*.mp4"))
    preprocessing = Preprocessing(NUM_FRAMES, 2, CROP, CROP)
    frames = torch.randint(0, 256, (NUM_FRAMES, 256, 340, 3), dtype=torch.uint8)
    clips = torch.randint(0, 256, (batch, NUM_FRAMES, CROP, CROP, 3), dtype=torch.uint8, device=device)

    def decode(round_number: int) -> None:
        generator = torch.Generator().manual_seed(round_number)
        for number in range(batch):
            with open_video(paths[number % len(paths)]) as video:
                [indices] = sample_training_clips(video.num_frames, preprocessing, 1, generator)
                video.get_frames(indices)

    def cut(round_number: int) -> None:
        generator = torch.Generator().manual_seed(round_number)
        for _ in range(batch):
            cut_clip(frames, Augmentation(), CROP, generator)

    def create_change(settings: Augmentation) -> Callable[[int], None]:
        def change(round_number: int) -> None:
            seeds = [[round_number * batch + number] for number in range(batch)]
            augment_batch_pixels(clips.permute(0, 4, 1, 2, 3), settings, seeds)

        return change

    return {"decoding": decode, "cutting and resizing": cut} | {
        name: create_change(settings) for name, settings in SETTINGS.items()
    }


def measure_in_turns(
    tasks: dict[str, Callable[[int], None]], rounds: int, batch: int, device: torch.device
) -> list[dict[str, Any]]:
    """One row a task: milliseconds a clip in each round, all tasks in turns; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for round_number in tqdm(range(rounds + 1), unit="round", disable=None):
        for name, task in tasks.items():
            on_device = device.type == "cuda" and name in SETTINGS
            read_clock = time.perf_counter if on_device else time.process_time
            started = read_clock()
            task(round_number)
            if on_device:
                torch.cuda.synchronize(device)
            if round_number:
                times[name].append(round(1000 * (read_clock() - started) / batch, 4))
    return [
        {"task": name, "milliseconds": values, "median_milliseconds": statistics.median(values)}
        for name, values in times.items()
    ]


if __name__ == "__main__":
    sys.exit(run_command(main))
