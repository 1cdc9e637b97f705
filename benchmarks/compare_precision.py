"""Trains a narrow r3d50 with SoftPool in float32, bfloat16 and float16 from the same start on the same clips.

The clips are made up: a bright square that moves left, right, up or down over noise. float16 runs under autocast with
torch's GradScaler; both half precisions keep their weights in float32, as Lightning's bf16-mixed and 16-mixed do.
Writes the losses, the scale, the steps that it skipped and the largest activations into a JSON file, and from that
docs/half_precision.md with its chart; --render only draws an existing file anew.
"""

import argparse
import datetime
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from measuring import ROOT, check_output, describe_device, find_versions
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from videosoft.atomic_files import replace_when_done, write_json
from videosoft.errors import InputError, run_command
from videosoft.layers import SoftPool3d
from videosoft.models import create_model

FORMAT_VERSION = 1
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
NUM_CLASSES, BATCH_SIZE, FRAMES, SIDE = 4, 8, 8, 32
WIDTH, RATE, MOMENTUM = 0.125, 0.02, 0.9
DOCUMENT, CHART = Path("docs", "half_precision.md"), Path("docs", "half_precision.png")
SMOOTHED_STEPS = 20
LARGEST_FLOAT16 = torch.finfo(torch.float16).max


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--steps", type=int, default=200, help="of each precision (default: 200)")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/precision_<device>.json")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    parser.add_argument("--render", action="store_true", help="only write the document from the existing file")
    args = parser.parse_args()
    output = args.output or ROOT / "benchmarks" / "results" / f"precision_{args.device}.json"
    if args.steps < 2:
        raise InputError(f"--steps must be at least 2, got {args.steps}")
    if not args.render:
        check_output(output, force=args.force)
        write_json(output, measure(torch.device(args.device), args.steps))
        print(output)
    if args.render or args.output is None:
        render(json.loads(output.read_text(encoding="utf-8")))


def measure(device: torch.device, num_steps: int) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "command": f"python benchmarks/compare_precision.py --device {device.type} --steps {num_steps}",
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "device": describe_device(device),
        "versions": find_versions(),
        "network": f"r3d50, SoftPool, width {WIDTH}",
        "shape": [BATCH_SIZE, 3, FRAMES, SIDE, SIDE],
        "steps": num_steps,
        "runs": {name: train(name, dtype, device, num_steps) for name, dtype in PRECISIONS.items()},
    }


def train(name: str, dtype: torch.dtype, device: torch.device, num_steps: int) -> dict[str, Any]:
    """One training; the start and the clips are those of every other."""
    torch.manual_seed(0)
    network = create_model("r3d50", num_classes=NUM_CLASSES, pool="soft", width=WIDTH, zero_init_last_norm=True)
    network = network.to(device).train()
    extremes = watch_softpool(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM, nesterov=True)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
    losses, scales, skipped, seconds = [], [], [], []
    for step in tqdm(range(num_steps), desc=name, unit="step", disable=None):
        clips, labels = make_batch(step)
        started = time.perf_counter()
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not torch.float32):
            loss = F.cross_entropy(network(clips.to(device)), labels.to(device))
        scaler.scale(loss).backward()
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
        scales.append(scale)
        if scaler.get_scale() < scale:
            skipped.append(step)
    return {
        "losses": losses,
        "scales": scales if scaler.is_enabled() else [],
        "skipped_steps": skipped,
        "softpool_dtype": extremes["dtype"],
        "softpool_largest_input": extremes["input"],
        "softpool_largest_output": extremes["output"],
        "softpool_all_finite": extremes["finite"],
        "weights_all_finite": all(bool(weight.isfinite().all()) for weight in network.parameters()),
        "median_step_seconds": round(statistics.median(seconds), 4),
    }


def watch_softpool(network: nn.Module) -> dict[str, Any]:
    """Filled at every forward pass: the type that SoftPool computes in, and the largest values in and out of it."""
    extremes: dict[str, Any] = {"dtype": None, "input": 0.0, "output": 0.0, "finite": True}

    def look(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        extremes["dtype"] = str(output.dtype).removeprefix("torch.")
        for key, value in (("input", inputs[0]), ("output", output)):
            extremes[key] = max(extremes[key], float(value.detach().abs().max()))
            extremes["finite"] &= bool(value.detach().isfinite().all())

    for layer in network.modules():
        if isinstance(layer, SoftPool3d):
            layer.register_forward_hook(look)
    return extremes


def make_batch(step: int) -> tuple[Tensor, Tensor]:
    """Clips (N, 3, T, H, W) and labels: a square that moves left, right, up or down over noise."""
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(NUM_CLASSES, (BATCH_SIZE,), generator=generator)
    clips = torch.randn(BATCH_SIZE, 3, FRAMES, SIDE, SIDE, generator=generator)
    corners = torch.randint(SIDE, (BATCH_SIZE, 2), generator=generator).tolist()
    for clip, label, (top, left) in zip(clips, labels.tolist(), corners, strict=True):
        down, right = ((0, -2), (0, 2), (-2, 0), (2, 0))[label]
        for time_index in range(FRAMES):
            rows = (torch.arange(8) + top + down * time_index) % SIDE
            columns = (torch.arange(8) + left + right * time_index) % SIDE
            clip[:, time_index, rows[:, None], columns] += 3.0
    return clips, labels


def smooth(losses: list[float]) -> list[float]:
    """Means over the last steps."""
    return [statistics.fmean(losses[max(0, index + 1 - SMOOTHED_STEPS) : index + 1]) for index in range(len(losses))]


def render(record: dict[str, Any]) -> None:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    losses_axes, scale_axes = figure.subplots(1, 2)
    for name, run in record["runs"].items():
        losses_axes.plot(smooth(run["losses"]), label=name, linewidth=1.2)
    losses_axes.set(xlabel="step", ylabel=f"cross entropy, mean of {SMOOTHED_STEPS} steps", ylim=(0, None))
    losses_axes.legend()
    scale_axes.step(range(record["steps"]), [math.log2(scale) for scale in record["runs"]["float16"]["scales"]])
    scale_axes.set(xlabel="step", ylabel="log2 of float16's loss scale")
    with replace_when_done(ROOT / CHART) as path:
        figure.savefig(path, format="png", dpi=120)
    with replace_when_done(ROOT / DOCUMENT) as path:
        path.write_text(format_document(record), encoding="utf-8")


def format_document(record: dict[str, Any]) -> str:
    rows = [
        f"| precision | first loss | loss of the last {SMOOTHED_STEPS} steps | skipped steps | SoftPool computes in | "
        "largest into SoftPool | all finite | seconds a step |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, run in record["runs"].items():
        finite = "yes" if run["softpool_all_finite"] and run["weights_all_finite"] else "no"
        rows.append(
            f"| {name} | {run['losses'][0]:.3f} | {smooth(run['losses'])[-1]:.3f} | {len(run['skipped_steps'])} | "
            f"{run['softpool_dtype']} | {run['softpool_largest_input']:.2f} | {finite} | "
            f"{run['median_step_seconds']:.3f} |"
        )
    device = record["device"]
    return f"""# Training in half precision

Written by `{record["command"]}` from what it measured ({record["date"]}, {device["name"]}, torch \
{record["versions"]["torch"]}): {record["network"]}, {record["steps"]} steps of {record["shape"][0]} made-up clips of \
{FRAMES} x {SIDE} x {SIDE}, the same start and the same clips for each.

{chr(10).join(rows)}

![Loss curves, and float16's loss scale over the steps]({CHART.name})

One seed each: the curves show that all three learn without an overflow, not which of them learns better.

Weights are float32 in all three; under autocast convolutions, SoftPool and the linear layer see half precision. The
largest number of float16 is {LARGEST_FLOAT16:.0f}: "largest into SoftPool" says how far from an overflow its input is.
A skipped step is one whose scaled gradients did overflow: torch's `GradScaler` begins with a scale of 65536, halves it
at each of them, and the weights stay as they were. CPUs without float16 instructions compute its convolutions slowly;
the seconds say nothing about a GPU.
"""


if __name__ == "__main__":
    sys.exit(run_command(main))
