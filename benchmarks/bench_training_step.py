"""Times a training step of r3d50 with SoftPool beside one with MaxPool, in turns in one process, into a JSON file.

A step is forward, cross entropy, backward and SGD on clips that are on the device already, in bfloat16 autocast and
channels_last_3d. What decides is the ratio of the medians: SoftPool should not cost more than 1 %.
"""

import argparse
import datetime
import random
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from measuring import ROOT, Clock, check_device, check_output, describe_device, find_versions
from tqdm import tqdm

from videosoft.atomic_files import write_json
from videosoft.errors import InputError, run_command
from videosoft.models import create_model
from videosoft.ops import describe_backends

FORMAT_VERSION = 1
NUM_CLASSES = 700
# The first steps choose cuDNN's algorithms and create the optimiser's state.
WARMUP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--batch", type=int, default=32, help="clips in a step (default: 32)")
    parser.add_argument("--clip", type=int, nargs=2, default=(16, 112), metavar=("FRAMES", "SIDE"))
    parser.add_argument("--rounds", type=int, default=30, help="steps of each network (default: 30)")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/training_step_<device>.json")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    args = parser.parse_args()
    output = args.output or ROOT / "benchmarks" / "results" / f"training_step_{args.device}.json"
    check_output(output, force=args.force)
    check_device(torch.device(args.device))
    for name in ("batch", "rounds"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(args, name)}")
    if min(args.clip) < 8:
        raise InputError(f"--clip must be at least 8 frames of side 8, got {' '.join(map(str, args.clip))}")
    output.parent.mkdir(parents=True, exist_ok=True)

    device = torch.device(args.device)
    frames, side = args.clip
    torch.manual_seed(0)
    clips = torch.randn(args.batch, 3, frames, side, side, device=device)
    clips = clips.contiguous(memory_format=torch.channels_last_3d)
    labels = torch.randint(NUM_CLASSES, (args.batch,), device=device)
    steps = {pool: create_step(pool, clips, labels) for pool in ("soft", "max")}
    clock = Clock(device)
    times: dict[str, list[float]] = {pool: [] for pool in steps}
    shuffler = random.Random(0)
    with tqdm(total=(WARMUP + args.rounds) * len(steps), unit="step", disable=None) as progress:
        for round_number in range(-WARMUP, args.rounds):
            for pool in shuffler.sample(sorted(steps), len(steps)):
                seconds = clock.measure_all(steps[pool])
                if round_number >= 0:
                    times[pool].append(seconds)
                progress.update()
    medians = {pool: statistics.median(values) * 1e3 for pool, values in times.items()}
    started = datetime.datetime.now(datetime.timezone.utc)
    record = {
        "format_version": FORMAT_VERSION,
        "date": started.strftime("%Y-%m-%d %H:%M UTC"),
        "device": describe_device(device),
        "versions": find_versions(),
        "backend": describe_backends()[device.type],
        "network": "r3d50",
        "precision": "bfloat16 autocast",
        "shape": list(clips.shape),
        "rounds": args.rounds,
        "median_ms": {pool: round(value, 4) for pool, value in medians.items()},
        "times_ms": {pool: [round(value * 1e3, 4) for value in values] for pool, values in times.items()},
        "soft_over_max": round(medians["soft"] / medians["max"], 4),
    }
    write_json(output, record)
    print(f"SoftPool {medians['soft']:.2f} ms, MaxPool {medians['max']:.2f} ms a step; in {output}")


def create_step(pool: str, clips: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    torch.manual_seed(0)
    network = create_model("r3d50", num_classes=NUM_CLASSES, pool=pool)
    network = network.to(clips.device, memory_format=torch.channels_last_3d).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)

    def step() -> None:
        with torch.autocast(clips.device.type, dtype=torch.bfloat16):
            loss = F.cross_entropy(network(clips), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    sys.exit(run_command(main))
