"""Times the training loop of `lightning fit` beside a bare PyTorch loop, and the way to the first step.

Loops: the same network, optimiser, schedule and clips in both, in turns in one process (training_turns.py); a ratio of
the two comes from each round, the median of all rounds counts. "demo" is the recipe as it is, its clips ready in
memory; "demo, reading videos" the same with its loader; "larger step" a network and clips whose step takes longer.
Start: from the command to the end of the first step, each in a process of its own (first_step.py).
On a GPU: r3d50 in float32 and bfloat16, channels_last_3d and compiled, 16 x 112^2, clips in memory.

Run it with OMP_NUM_THREADS=1 on a CPU with few cores. `python benchmarks/render_train.py` makes tables of the file.
"""

import argparse
import datetime
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from first_step import measure_first_step, measure_help
from measuring import ROOT, check_device, check_output, describe_device, find_versions
from training_turns import Turns, TurnsCLI

from videosoft.atomic_files import write_json
from videosoft.errors import InputError, run_command
from videosoft.recipes import resolve_configs

FORMAT_VERSION = 1
HELPS = ((), ("fit",), ("predict",), ("card",))
CHANNELS_LAST = ("--model.memory_format", "channels_last_3d")
BFLOAT16 = ("--trainer.precision", "bf16-mixed")
COMPILED = ("--model.compile_mode", "default")
# Of the demo's short videos, enlarged.
LARGER = tuple(
    shlex.split(
        "--model.network.width 0.25 --data.num_frames 16 --data.sampling_stride 1 --data.short_side 128 "
        "--data.crop 112 --data.batch_size 4"
    )
)
CASES: dict[str, dict[str, tuple[str, ...]]] = {
    "cpu": {"demo": (), "demo, reading videos": (), "larger step": LARGER},
    "cuda": {
        "float32": (),
        "float32, channels_last_3d": CHANNELS_LAST,
        "bfloat16": BFLOAT16,
        "bfloat16, channels_last_3d": (*BFLOAT16, *CHANNELS_LAST),
        "bfloat16, channels_last_3d, compiled": (*BFLOAT16, *CHANNELS_LAST, *COMPILED),
    },
}
CONFIGS = {"cpu": "r3d50_softpool_demo.yaml", "cuda": "r3d50_softpool.yaml"}
# Dense bfloat16 operations a second, from NVIDIA's data sheets; Lightning's table has some with sparsity.
BF16_PEAKS = {
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA H100 80GB HBM3": 989.4e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H200": 989.4e12,
    "NVIDIA L4": 121e12,
}


def main() -> None:
    args = parse_arguments()
    check_output(args.output, force=args.force)
    if not (args.root / "train").is_dir():
        raise InputError(f"{args.root} holds no data: python datasets/demo/prepare.py --output {args.root}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    deadline = None if args.seconds is None else time.monotonic() + args.seconds
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "command": shlex.join(["python", "benchmarks/bench_train.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": args.quick,
        "rounds": args.rounds,
        "device": describe_device(torch.device(args.device)),
        "versions": find_versions() | {name: metadata.version(name) for name in ("lightning", "torchmetrics", "wandb")},
    }
    load_before = os.getloadavg()[0]
    if args.device == "cpu" and not args.only:
        record |= measure_start(args)
    cases = [name for name in CASES[args.device] if not args.only or name in args.only]
    record["rows"], record["left_out"] = [], []
    for name in cases:
        if deadline is not None and time.monotonic() > deadline:
            record["left_out"].append(name)
        else:
            record["rows"].append(measure_loops(args, name))
    record["load_average"] = {"start": round(load_before, 2), "end": round(os.getloadavg()[0], 2)}
    write_json(args.output, record)
    for row in record["rows"]:
        print(f"{row['name']}: Lightning / bare {row['lightning_over_bare']:.4f}")
    if record["left_out"]:
        print(f"left out, {args.seconds} seconds were over: {'; '.join(record['left_out'])}")
    print(args.output)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--root", type=Path, default=ROOT / "data" / "demo", help="the demo data (default: data/demo)")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/train_<device>.json")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    parser.add_argument("--rounds", type=int, help="of each case (default: 12; quick: 1)")
    parser.add_argument("--seconds", type=float, help="begin no further case after this long")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases alone, without the start")
    parser.add_argument("--quick", action="store_true", help="one round of few steps: to see that it runs")
    args = parser.parse_args()
    args.output = args.output or ROOT / "benchmarks" / "results" / f"train_{args.device}.json"
    args.rounds = args.rounds if args.rounds is not None else 1 if args.quick else 12
    if args.rounds < 1:
        raise InputError(f"--rounds must be at least 1, got {args.rounds}")
    if unknown := [name for name in args.only or () if name not in CASES[args.device]]:
        raise InputError(f"--only: no case {unknown[0]!r} on {args.device}, but {'; '.join(CASES[args.device])}")
    check_device(torch.device(args.device))
    return args


def measure_start(args: argparse.Namespace) -> dict[str, Any]:
    """With wandb, which logs into a folder as long as there is no key: what a new user has."""
    num_runs = 1 if args.quick else 5
    config = ["--config", CONFIGS["cpu"], "--data.root", str(args.root), "--run.wandb", "offline"]
    config += ["--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    return {
        "first_step": measure_first_step(config, num_runs=num_runs),
        "help": {" ".join(["lightning", *verb, "--help"]): measure_help(*verb, num_runs=num_runs) for verb in HELPS},
    }


def measure_loops(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """One case: both loops' seconds a round, and the median of their ratios."""
    turns = plan_turns(args, name)
    with tempfile.TemporaryDirectory() as folder:
        arguments = create_arguments(args, name, folder)
        # Where VideosoftCLI looks for its arguments; what the seed leaves for other processes is not ours to keep.
        with mock.patch.object(sys, "argv", ["lightning", *arguments]), mock.patch.dict(os.environ):
            cli = TurnsCLI(turns)
    assert cli.loader.bare is not None
    seconds = {loop: turns.sum_rounds(values) for loop, values in cli.loader.seconds.items()}
    ratios = [ours / bare for ours, bare in zip(seconds["lightning"], seconds["bare"], strict=True)]
    medians = {loop: statistics.median(values) for loop, values in seconds.items()}
    differences = [ours - bare for ours, bare in zip(seconds["lightning"], seconds["bare"], strict=True)]
    clips_per_second = turns.steps_a_round * cli.datamodule.batch_size / medians["lightning"]
    return {
        "name": name,
        "arguments": shlex.join(CASES[args.device][name]),
        "batch_size": cli.datamodule.batch_size,
        "clip": list(cli.model.network_size.clip_size),
        "macs_a_clip": cli.model.network_size.num_macs,
        "steps_a_round": turns.steps_a_round,
        "lightning_over_bare": round(statistics.median(ratios), 4),
        "ratios": [round(ratio, 4) for ratio in ratios],
        "median_step_ms": {loop: round(value / turns.steps_a_round * 1e3, 3) for loop, value in medians.items()},
        "added_ms_a_step": round(statistics.median(differences) / turns.steps_a_round * 1e3, 3),
        "clips_per_second": round(clips_per_second, 2),
        "percent_of_bf16_peak": find_percent_of_peak(cli.model.network_size.num_macs, clips_per_second, args.device),
        # Only arithmetic that is the same from run to run can tell: not that of a GPU.
        "same_weights": cli.loader.bare.has_weights_of(cli.model) if args.device == "cpu" else None,
        "seconds": {loop: [round(value, 5) for value in values] for loop, values in seconds.items()},
    }


def plan_turns(args: argparse.Namespace, name: str) -> Turns:
    """A round has at least one step that is logged; on a GPU it is one turn, as switching waits for the device."""
    reads_videos = name.endswith("reading videos")
    steps = 20 if args.device == "cpu" else 10
    if reads_videos:
        steps *= 2
    if args.quick:
        steps = 2
    steps_a_turn = 1 if args.device == "cpu" and not reads_videos else steps
    return Turns(num_rounds=args.rounds, steps_a_round=steps, steps_a_turn=steps_a_turn, reads_videos=reads_videos)


def create_arguments(args: argparse.Namespace, name: str, folder: str) -> Sequence[str]:
    """Those of `lightning fit`, as a user would type them, but that nothing is validated."""
    arguments = ["fit", "--config", CONFIGS[args.device], "--data.root", str(args.root), "--run.output", folder]
    arguments += ["--trainer.accelerator", args.device, "--trainer.devices", "1", "--trainer.max_epochs", "1"]
    arguments += ["--trainer.limit_val_batches", "0", "--run.wandb", "off" if args.quick else "offline"]
    arguments += ["--trainer.log_every_n_steps", str(plan_turns(args, name).steps_a_round)]
    if args.device == "cuda":
        # The demo's videos, enlarged: in memory it does not matter where clips came from.
        arguments += ["--data.batch_size", "32", "--data.num_workers", "4"]
    return resolve_configs([*arguments, *CASES[args.device][name]])


def find_percent_of_peak(num_macs: int, clips_per_second: float, device: str) -> float | None:
    """Operations of forward and backward pass (three times the forward's) as a share of what the GPU is sold with."""
    peak = BF16_PEAKS.get(torch.cuda.get_device_name()) if device == "cuda" else None
    return None if peak is None else round(100 * 3 * 2 * num_macs * clips_per_second / peak, 2)


if __name__ == "__main__":
    sys.exit(run_command(main))
