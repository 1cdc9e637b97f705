"""Time and memory of writing, evaluating and comparing predictions of Kinetics-700's size, into a JSON file.

34,824 made-up videos x 700 classes.  Each step runs in a process of its own, so that its peak memory is its own; the
step "imports" does nothing else.
"""

import argparse
import datetime
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from measuring import ROOT, check_output, describe_device, find_versions
from tqdm import tqdm

from videosoft.atomic_files import write_json
from videosoft.errors import run_command
from videosoft.evaluation import read_predictions, write_evaluation, write_predictions

FORMAT_VERSION = 1
NUM_VIDEOS, NUM_CLASSES = 34_824, 700
QUICK_VIDEOS, QUICK_CLASSES = 500, 20


def main() -> None:
    args = parse_arguments()
    if args.step is not None:
        print(json.dumps(run_step(args.step, args.folder, args.num_videos, args.num_classes)))
        return
    check_output(args.output, force=args.force)
    num_videos, num_classes = (QUICK_VIDEOS, QUICK_CLASSES) if args.quick else (NUM_VIDEOS, NUM_CLASSES)
    started = datetime.datetime.now(datetime.timezone.utc)
    load_at_start = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory() as folder:
        steps = [measure_step(step, folder, num_videos, num_classes) for step in tqdm(STEPS)]
    record = {
        "format_version": FORMAT_VERSION,
        "command": "python benchmarks/bench_comparison.py" + " --quick" * args.quick,
        "date": started.strftime("%Y-%m-%d %H:%M UTC"),
        "load_average": {"start": load_at_start, "end": round(os.getloadavg()[0], 2)},
        "device": describe_device(torch.device("cpu")),
        "versions": find_versions(),
        "num_videos": num_videos,
        "num_classes": num_classes,
        "steps": steps,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, record)
    for step in steps:
        print(f"{step['step']:<24}{step['cpu_seconds']:>8.1f} s of a processor{step['peak_megabytes']:>8} MB at most")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "comparison_cpu.json")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_VIDEOS} videos x {QUICK_CLASSES} classes only")
    for name in ("--step", "--folder"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name in ("--num_videos", "--num_classes"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_step(step: str, folder: str, num_videos: int, num_classes: int) -> dict[str, Any]:
    options = ["--step", step, "--folder", folder, "--num_videos", str(num_videos), "--num_classes", str(num_classes)]
    done = subprocess.run([sys.executable, __file__, *options], check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def run_step(step: str, folder: str, num_videos: int, num_classes: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    STEPS[step](Path(folder), num_videos, num_classes)
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "step": step,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "peak_megabytes": peak,
    }


def make_up_scores(
    num_videos: int, num_classes: int, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    labels = np.random.default_rng(0).integers(num_classes, size=num_videos)
    logits = np.random.default_rng(seed).standard_normal((num_videos, num_classes), dtype=np.float32)
    logits[np.arange(num_videos), labels] += 3
    return logits, labels


def write_table(folder: Path, num_videos: int, num_classes: int, seed: int = 1) -> None:
    logits, labels = make_up_scores(num_videos, num_classes, seed)
    names = [f"class {number}" for number in range(num_classes)]
    rows = []
    for number, (label, row) in enumerate(zip(labels, logits, strict=True)):
        probabilities = np.exp(row - row.max())
        probabilities /= probabilities.sum()
        rows.append(
            {
                "video_id": f"v{number:06d}",
                "group_id": f"g{number * 9 // 10}",
                "path": f"val/v{number:06d}.mp4",
                "label_name": names[label],
                "label": int(label),
                "prediction": int(probabilities.argmax()),
                "probabilities": probabilities,
                "logits": row,
                "num_views": 30,
                "status": "ok",
            }
        )
    path = folder / f"{seed}.parquet"
    write_predictions(path, rows, class_names=names, checkpoint_hash=str(seed), protocol="10x3")


def evaluate(folder: Path, *_: int) -> None:
    write_evaluation(folder, read_predictions(folder / "1.parquet"), command="")


def write_second_table(folder: Path, num_videos: int, num_classes: int) -> None:
    write_table(folder, num_videos, num_classes, seed=2)


def write_pickles(folder: Path, num_videos: int, num_classes: int) -> None:
    logits, labels = make_up_scores(num_videos, num_classes, 2)
    scores, targets = torch.from_numpy(logits).softmax(dim=1), torch.from_numpy(labels)
    (folder / "slowfast.pkl").write_bytes(pickle.dumps([scores, targets]))
    dump = [{"pred_score": s.clone(), "gt_label": y[None].clone()} for s, y in zip(scores, targets, strict=True)]
    (folder / "mmaction.pkl").write_bytes(pickle.dumps(dump))
    lines = (f"val/v{number:06d}.mp4 {label}\n" for number, label in enumerate(labels))
    (folder / "list.txt").write_text("".join(lines))


def compare_with(name: str) -> Callable[..., None]:
    def compare(folder: Path, *_: int) -> None:
        from videosoft.evaluation.comparison import (
            Side,
            compare_sides,
            read_outcomes,
            read_video_list,
            write_comparison,
        )

        video_list = read_video_list(folder / "list.txt")
        a, b = (read_outcomes(folder / file, name=file, video_list=video_list) for file in ("1.parquet", name))
        write_comparison(folder / "comparison", compare_sides([Side("a", (a,)), Side("b", (b,))], command=""))

    return compare


STEPS: dict[str, Callable[[Path, int, int], None]] = {
    "imports": lambda *_: None,
    "write predictions": write_table,
    "evaluate predictions": evaluate,
    "write another": write_second_table,
    "write pickles": write_pickles,
    "compare with videosoft": compare_with("2.parquet"),
    "compare with SlowFast": compare_with("slowfast.pkl"),
    "compare with MMAction2": compare_with("mmaction.pkl"),
}


if __name__ == "__main__":
    sys.exit(run_command(main))
