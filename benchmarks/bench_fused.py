"""Times SoftPool after ReLU in one pass beside the separate functions, in turns in one process, into a JSON file.

Three things are compared: `relu` is ReLU and SoftPool; `norm_eval` a batch norm in evaluation as well, without
gradients; `norm_train` a batch norm in training, which is separate in both ways. What decides is the ratio of the
medians, separate / fused: the fused form is worth taking where it is above 1.
"""

import argparse
import datetime
import gc
import itertools
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bench_softpool import TOLERANCES, count_buffers, create_call, create_input, describe_pooling, lay_out
from measuring import (
    ROOT,
    Clock,
    Job,
    check_device,
    check_output,
    describe_device,
    find_versions,
    measure_in_turns,
    name_dtype,
)
from softpool_peers import Operation, Pooling
from torch import nn
from tqdm import tqdm

from videosoft.atomic_files import write_json
from videosoft.errors import InputError, run_command
from videosoft.layers import SoftPool3d, normalize_relu_pool
from videosoft.ops import describe_backends, softpool3d, softpool_relu3d

FORMAT_VERSION = 1
LAYOUTS = ("contiguous", "channels_last")
DTYPES = {"cpu": (torch.float32, torch.bfloat16), "cuda": (torch.float32, torch.bfloat16, torch.float16)}
# The first is a stem that keeps the frames apart, at 16 x 224^2; the second that of r3d50 at 16 x 112^2.
POOLINGS = (
    Pooling("3d_1x3x3", (32, 64, 16, 112, 112), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Pooling("3d_3", (32, 64, 16, 56, 56), (3, 3, 3), (2, 2, 2), (1, 1, 1)),
    Pooling("3d_2", (32, 64, 16, 56, 56), (2, 2, 2), (2, 2, 2), (0, 0, 0)),
)
# The backward alone is for GPUs, where autograd's work on the CPU does not count.
PASSES = {
    "relu": {"cpu": ("forward", "forward_backward"), "cuda": ("forward", "backward", "forward_backward")},
    "norm_eval": {"cpu": ("forward",), "cuda": ("forward",)},
    "norm_train": {"cpu": ("forward_backward",), "cuda": ("forward_backward",)},
}


def main() -> None:
    args = parse_arguments()
    device = torch.device(args.device)
    check_output(args.output, force=args.force)
    check_device(device)
    torch.manual_seed(0)
    started = datetime.datetime.now(datetime.timezone.utc)
    poolings = POOLINGS
    if device.type == "cpu":
        outer = (1, 8, 4) if args.quick else (2, 32, 8)
        poolings = tuple(replace(pooling, shape=(*outer, *pooling.shape[3:])) for pooling in POOLINGS)
    clock = Clock(device)
    rows = []
    groups = [
        (*group, comparison, pass_name)
        for group in itertools.product(poolings, LAYOUTS, DTYPES[device.type])
        for comparison, passes in PASSES.items()
        for pass_name in passes[device.type]
    ]
    deadline = None if args.seconds is None else time.monotonic() + args.seconds
    left_out = 0
    for pooling, layout, dtype, comparison, pass_name in tqdm(groups, unit="group", disable=None):
        if deadline is not None and time.monotonic() > deadline:
            left_out += 1
        else:
            rows += measure_group(pooling, layout, dtype, comparison, pass_name, clock, device, args)
    record = {
        "format_version": FORMAT_VERSION,
        "command": shlex.join(["python", "benchmarks/bench_fused.py", *sys.argv[1:]]),
        "date": started.strftime("%Y-%m-%d %H:%M UTC"),
        "quick": args.quick,
        "rounds": args.rounds,
        # Groups of rows for which --seconds did not suffice.
        "left_out": left_out,
        "device": describe_device(device),
        "versions": find_versions(),
        "backend": describe_backends()[device.type],
        "rows": rows,
        "ratios": compute_ratios(rows),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, record)
    for ratio in record["ratios"]:
        print(f"{ratio['name']:<60} separate / fused {ratio['separate_over_fused']:.3f}")
    print(f"{len(rows)} rows in {args.output}")
    if left_out:
        print(f"{left_out} of {len(groups)} groups left out: {args.seconds} seconds were over")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/fused_<device>.json")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    parser.add_argument("--rounds", type=int, help="how often each operation is called (default: 15; quick: 3)")
    parser.add_argument("--quick", action="store_true", help="few rounds, and on the CPU small inputs")
    parser.add_argument("--compiled", action="store_true", help="the separate functions by torch.compile as well")
    parser.add_argument("--seconds", type=float, help="begin no group of rows after this time (default: no limit)")
    args = parser.parse_args()
    args.output = args.output or ROOT / "benchmarks" / "results" / f"fused_{args.device}.json"
    if args.rounds is None:
        args.rounds = 3 if args.quick else 15
    if args.rounds < 1:
        raise InputError(f"--rounds must be at least 1, got {args.rounds}")
    return args


def measure_group(
    pooling: Pooling,
    layout: str,
    dtype: torch.dtype,
    comparison: str,
    pass_name: str,
    clock: Clock,
    device: torch.device,
    args: argparse.Namespace,
) -> list[dict[str, Any]]:
    """One row for each way of doing the same; the ways take turns."""
    ways = create_ways(pooling, comparison, device)
    check(ways, pooling, comparison, layout, dtype, device)
    if args.compiled:
        ways["separate_compiled"] = torch.compile(ways["separate"], dynamic=False)
    input = create_input(pooling, layout, dtype, device)
    num_buffers = 1 if args.quick else count_buffers(input.nbytes, device)
    inputs = [input.clone() for _ in range(num_buffers)]
    gradient = lay_out(torch.randn(pooling.output_shape, device=device, dtype=dtype), layout)
    common = {
        **describe_pooling(pooling),
        "layout": layout,
        "dtype": name_dtype(dtype),
        "comparison": comparison,
        "pass": pass_name,
    }
    label = f"{pooling.name}/{layout}/{name_dtype(dtype)}/{comparison}/{pass_name}"
    jobs = [
        Job(f"{label}/{way}", common | {"operation": way}, create_call(call, inputs, gradient, pass_name))
        for way, call in ways.items()
    ]
    rows = measure_in_turns(jobs, clock.measure, args.rounds)
    if args.compiled:
        # A compiled function belongs to one case; dynamo gives up on a function that it compiled too often.
        torch.compiler.reset()
    gc.collect()
    return rows


def create_ways(pooling: Pooling, comparison: str, device: torch.device) -> dict[str, Operation]:
    """The fused form and the separate functions."""
    window = (pooling.kernel_size, pooling.stride, pooling.padding)
    if comparison == "relu":
        return {
            "fused": lambda input: softpool_relu3d(input, *window),
            "separate": lambda input: softpool3d(torch.relu(input), *window),
        }
    norm = nn.BatchNorm3d(pooling.shape[1]).train(comparison == "norm_train").to(device)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.normal_()
        norm.bias.normal_()
    norm.requires_grad_(comparison == "norm_train")
    # As r3d50 has it: ReLU where the norm's output lies.
    relu, pool = nn.ReLU(inplace=True), SoftPool3d(*window)
    return {
        "fused": lambda input: normalize_relu_pool(input, norm, relu, pool),
        "separate": lambda input: pool(relu(norm(input))),
    }


def check(
    ways: dict[str, Operation], pooling: Pooling, comparison: str, layout: str, dtype: torch.dtype, device: torch.device
) -> None:
    """InputError unless the ways give the same numbers: wrong ones are not worth timing."""
    sliced = replace(pooling, shape=(1, *pooling.shape[1:2], 4, *pooling.shape[3:]))
    input = create_input(sliced, layout, dtype, device)
    gradient = lay_out(torch.randn(sliced.output_shape, device=device).to(dtype), layout)
    found, expected = [], []
    for way, results in (("fused", found), ("separate", expected)):
        leaf = input.detach().requires_grad_(comparison != "norm_eval")
        results.append(ways[way](leaf))
        if leaf.requires_grad:
            results += torch.autograd.grad(results[0], leaf, gradient)
    for one, other in zip(found, expected, strict=True):
        error = ((one.double() - other.double()).abs() / (1 + other.double().abs())).max().item()
        # The separate functions round a half type once more, in the norm.
        if not error <= 2 * TOLERANCES[dtype]:
            raise InputError(
                f"the fused form is wrong, nothing was timed: {pooling.name} {layout} {name_dtype(dtype)} {comparison}"
                f" on {device.type}: off by {error:.1e} (at most {2 * TOLERANCES[dtype]:.0e})"
            )


def compute_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """separate / fused of every group of rows that has both."""
    medians: dict[str, dict[str, float | None]] = {}
    for row in rows:
        name = " ".join(row[key] for key in ("pooling", "layout", "dtype", "comparison", "pass"))
        medians.setdefault(name, {})[row["operation"]] = row["median_ms"]
    ratios = []
    for name, group in medians.items():
        fused, separate = group.get("fused"), group.get("separate")
        if fused and separate:
            ratios.append({"name": name, "separate_over_fused": round(separate / fused, 4)})
    return ratios


if __name__ == "__main__":
    sys.exit(run_command(main))
