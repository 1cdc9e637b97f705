"""Times SoftPool beside its peers and a copy of the same bytes, all in one process and in turns, into a JSON file.

Every round calls each operation once, in an order that changes from round to round, so that whatever else happens on
the machine hits all of them alike. `python benchmarks/render_softpool.py` makes tables and a chart of the file.
"""

import argparse
import datetime
import gc
import itertools
import math
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
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
from softpool_peers import Operation, Pooling, create_operations
from tqdm import tqdm

from videosoft.atomic_files import write_json
from videosoft.errors import InputError, run_command
from videosoft.ops import describe_backends, reference, softpool3d
from videosoft.ops._window import create_window

FORMAT_VERSION = 1
# The backward alone is for GPUs, where autograd's work on the CPU does not count.
PASSES = {"cpu": ("forward", "forward_backward"), "cuda": ("forward", "backward", "forward_backward")}
LAYOUTS = ("contiguous", "channels_last")
POOLINGS_ON_GPU = (
    Pooling("3d_2", (32, 64, 16, 56, 56), (2, 2, 2), (2, 2, 2), (0, 0, 0)),
    Pooling("3d_1x3x3", (32, 64, 8, 112, 112), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Pooling("3d_3", (32, 64, 16, 56, 56), (3, 3, 3), (2, 2, 2), (1, 1, 1)),
)
POOLINGS = (
    Pooling("3d_2", (2, 64, 16, 56, 56), (2, 2, 2), (2, 2, 2), (0, 0, 0)),
    Pooling("3d_1x3x3", (2, 64, 8, 112, 112), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Pooling("3d_3", (2, 64, 16, 56, 56), (3, 3, 3), (2, 2, 2), (1, 1, 1)),
    Pooling("2d_3", (16, 64, 112, 112), (3, 3), (2, 2), (1, 1)),
)
SMALL = Pooling("small", (1, 8, 4, 8, 8), (2, 2, 2), (2, 2, 2), (0, 0, 0))
# Kernels may take a slower way where exp would leave the range of the dtype: values of this size make them.
LARGE = 40.0

# Inputs and copies are taken in turn from buffers of this size together, so that none is found in a cache.
ROTATED_BYTES = 2**28
# |difference| to the float64 reference: tolerance * (1 + |expected|).
TOLERANCES = {torch.float32: 1e-4, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def main() -> None:
    args = parse_arguments()
    device = torch.device(args.device)
    check_output(args.output, force=args.force)
    check_device(device)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    load_at_start = round(os.getloadavg()[0], 2)
    started = datetime.datetime.now(datetime.timezone.utc)
    poolings = POOLINGS_ON_GPU if device.type == "cuda" else POOLINGS
    if args.quick:
        poolings = tuple(replace(pooling, shape=(1, 8, *pooling.shape[2:])) for pooling in poolings)
    dtypes = [torch.float32, torch.bfloat16] + ([torch.float16] if device.type == "cuda" else [])
    clock = Clock(device)
    rows, small = [], []
    groups = list(itertools.product(poolings, LAYOUTS, dtypes, PASSES[device.type]))
    deadline = time.monotonic() + (args.seconds or math.inf)
    left_out = 0
    with tqdm(total=len(groups) + 1, unit="group", disable=None) as progress:
        for pooling, layout, dtype, pass_name in groups:
            progress.set_description(f"{pooling.name} {layout} {name_dtype(dtype)} {pass_name}")
            if time.monotonic() > deadline:
                left_out += 1
            else:
                rows += measure_group(pooling, layout, dtype, pass_name, device, clock, args)
            progress.update()
        progress.set_description("small")
        small = measure_small(clock, device, args)
        progress.update()
    if not rows and not small:
        raise InputError(
            f"--only {args.only!r} is in no label; labels look like 3d_2/contiguous/float32/forward/softpool"
        )
    record = {
        "format_version": FORMAT_VERSION,
        "command": shlex.join(["python", "benchmarks/bench_softpool.py", *sys.argv[1:]]),
        "date": started.strftime("%Y-%m-%d %H:%M UTC"),
        "quick": args.quick,
        "rounds": args.rounds,
        # Groups of rows for which --seconds did not suffice.
        "left_out": left_out,
        # What else kept the processor busy: this run alone comes to the number of threads.
        "load_average": {"start": load_at_start, "end": round(os.getloadavg()[0], 2)},
        "device": describe_device(device),
        "versions": find_versions(),
        "backend": describe_backends()[device.type],
        "rows": rows,
        "small": small,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, record)
    print(f"{len(rows) + len(small)} rows in {args.output}")
    if left_out:
        print(f"{left_out} of {len(groups)} groups left out: {args.seconds} seconds were over")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/softpool_<device>.json")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    parser.add_argument("--threads", type=int, default=2, help="threads of the CPU (default: 2)")
    parser.add_argument("--rounds", type=int, help="how often each operation is called (default: 15; quick: 3)")
    parser.add_argument("--quick", action="store_true", help="small inputs, few rounds: to see that it runs")
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="only what has TEXT in its label, such as 3d_2/contiguous/float32/forward/softpool",
    )
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="leave this operation out")
    parser.add_argument("--seconds", type=float, help="begin no group of rows after this time (default: no limit)")
    args = parser.parse_args()
    args.output = args.output or ROOT / "benchmarks" / "results" / f"softpool_{args.device}.json"
    if args.rounds is None:
        args.rounds = 3 if args.quick else 15
    for name in ("threads", "rounds"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(args, name)}")
    return args


def measure_group(
    pooling: Pooling,
    layout: str,
    dtype: torch.dtype,
    pass_name: str,
    device: torch.device,
    clock: Clock,
    args: argparse.Namespace,
) -> list[dict[str, Any]]:
    """One row for each operation on one shape, layout, dtype and pass; the operations take turns."""
    num_input, num_output = math.prod(pooling.shape), math.prod(pooling.output_shape)
    # Forward: read x, write y. Backward: read x and dy, write dx.
    num_moved = {
        "forward": num_input + num_output,
        "backward": 2 * num_input + num_output,
        "forward_backward": 3 * num_input + 2 * num_output,
    }[pass_name]
    prefix = f"{pooling.name}/{layout}/{name_dtype(dtype)}/{pass_name}"
    common = {
        **describe_pooling(pooling),
        "layout": layout,
        "dtype": name_dtype(dtype),
        "pass": pass_name,
        "bytes_by_definition": num_moved * dtype.itemsize,
        "bytes_of_copy": num_moved // 2 * 2 * dtype.itemsize,
    }
    available = create_operations(pooling)
    peers = set(available) - {"softpool"}
    if unknown := set(args.without) - peers:
        raise InputError(f"--without {unknown.pop()}: what can be left out is {', '.join(sorted(peers))}")
    operations = {
        f"{prefix}/{name}": (name, "normal", 1.0, call) for name, call in available.items() if name not in args.without
    }
    ours = operations[f"{prefix}/softpool"][-1]
    operations[f"{prefix}/softpool_large"] = ("softpool", "large", LARGE, ours)
    wanted = {label: operation for label, operation in operations.items() if args.only in label}
    with_copy = args.only in f"{prefix}/copy"
    if not wanted and not with_copy:
        return []
    if "softpool" in {operation[0] for operation in wanted.values()}:
        check_ours(pooling, layout, dtype, device)

    num_buffers = count_buffers(num_input * dtype.itemsize, device)
    inputs = {}
    for scale in {operation[2] for operation in wanted.values()}:
        input = create_input(pooling, layout, dtype, device, scale)
        inputs[scale] = [input.clone() for _ in range(num_buffers)]
    gradient = lay_out(torch.randn(pooling.output_shape, device=device, dtype=dtype), layout)
    jobs = []
    for label, (name, data, scale, call) in wanted.items():
        row = {**common, "operation": name, "data": data}
        jobs.append(Job(label, row, create_call(call, inputs[scale], gradient, pass_name)))
    if with_copy:
        row = {**common, "operation": "copy", "data": "normal"}
        jobs.append(Job(f"{prefix}/copy", row, create_copy(num_moved // 2, dtype, device)))
    rows = measure_in_turns(jobs, clock.measure, args.rounds)
    # A compiled function belongs to one case; dynamo gives up on a function that it compiled too often.
    torch.compiler.reset()
    gc.collect()
    return rows


def measure_small(clock: Clock, device: torch.device, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Ours and max_pool3d on an input so small that what is timed is the way to the kernel, the CPU's part included."""
    input = torch.randn(SMALL.shape, device=device)
    gradient = torch.randn(SMALL.output_shape, device=device)
    num_calls = 10 if args.quick else 200
    jobs = []
    for pass_name in ("inference_mode", *PASSES["cpu"]):
        for name, pool in (("softpool", softpool3d), ("max_pool", F.max_pool3d)):
            label = f"{SMALL.name}/{pass_name}/{name}"
            if args.only in label:
                row = describe_pooling(SMALL) | {"dtype": "float32", "pass": pass_name, "operation": name}
                jobs.append(Job(label, row, create_small_call(pool, input, gradient, pass_name, num_calls)))
    # Microseconds: these calls are a thousand times shorter than the others.
    return measure_in_turns(jobs, lambda call: clock.measure_all(call) / num_calls, args.rounds, unit="us")


def create_small_call(
    pool: Operation, input: torch.Tensor, gradient: torch.Tensor, pass_name: str, num_calls: int
) -> Callable[[], None]:
    """A call that pools ``num_calls`` times."""
    tracked = input.clone().requires_grad_()

    def infer() -> None:
        with torch.inference_mode():
            for _ in range(num_calls):
                pool(input, SMALL.kernel_size)

    def go_forward() -> None:
        for _ in range(num_calls):
            pool(tracked, SMALL.kernel_size)

    def go_both_ways() -> None:
        for _ in range(num_calls):
            torch.autograd.grad(pool(tracked, SMALL.kernel_size), tracked, gradient)

    return {"inference_mode": infer, "forward": go_forward, "forward_backward": go_both_ways}[pass_name]


def create_call(
    operation: Operation, inputs: list[torch.Tensor], gradient: torch.Tensor, pass_name: str
) -> Callable[[], torch.Tensor]:
    """A call of the operation on the next of the inputs."""
    if pass_name == "forward":
        rotation = itertools.cycle(inputs)
        return lambda: operation(next(rotation))
    tracked = [input.detach().requires_grad_() for input in inputs]
    if pass_name == "backward":
        graphs: list[tuple[torch.Tensor, torch.Tensor]] = []
        turns = itertools.count()

        def go_back() -> torch.Tensor:
            # In the first call, which is not timed, and where what a peer cannot do is noted.
            if not graphs:
                graphs.extend((operation(input), input) for input in tracked)
            return torch.autograd.grad(*graphs[next(turns) % len(graphs)], gradient, retain_graph=True)[0]

        return go_back
    tracked_rotation = itertools.cycle(tracked)

    def go_both_ways() -> torch.Tensor:
        input = next(tracked_rotation)
        return torch.autograd.grad(operation(input), input, gradient)[0]

    return go_both_ways


def create_copy(num_elements: int, dtype: torch.dtype, device: torch.device) -> Callable[[], torch.Tensor]:
    """The floor: ``num_elements`` read and as many written, into memory that is there already."""
    count = count_buffers(2 * num_elements * dtype.itemsize, device)
    pairs = [torch.zeros(2, num_elements, dtype=dtype, device=device) for _ in range(count)]
    rotation = itertools.cycle(pairs)

    def copy() -> torch.Tensor:
        source, target = next(rotation)
        return target.copy_(source)

    return copy


def count_buffers(num_bytes: int, device: torch.device) -> int:
    """How many buffers of this size to take turns with; a GPU's cache is emptied before each measurement anyway."""
    return 1 if device.type == "cuda" else max(2, math.ceil(ROTATED_BYTES / num_bytes))


def create_input(
    pooling: Pooling, layout: str, dtype: torch.dtype, device: torch.device, scale: float = 1.0
) -> torch.Tensor:
    return lay_out((scale * torch.randn(pooling.shape, device=device)).to(dtype), layout)


def lay_out(tensor: torch.Tensor, layout: str) -> torch.Tensor:
    if layout == "contiguous":
        return tensor
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return tensor.contiguous(memory_format=formats[tensor.dim()])


def check_ours(pooling: Pooling, layout: str, dtype: torch.dtype, device: torch.device) -> None:
    """InputError unless output and gradient agree with the float64 reference: wrong numbers are not worth timing."""
    sliced = replace(pooling, shape=(1, 8, *pooling.shape[2:]))
    window = create_window(pooling.num_dims, pooling.kernel_size, pooling.stride, pooling.padding, ceil_mode=False)
    definition = reference.Pooling(window, 1.0, True)
    softpool = create_operations(sliced)["softpool"]
    for scale in (1.0, LARGE):
        input = create_input(sliced, layout, dtype, device, scale).requires_grad_()
        gradient = lay_out(torch.randn(sliced.output_shape, device=device).to(dtype), layout)
        output = softpool(input)
        (grad_input,) = torch.autograd.grad(output, input, gradient)
        values = input.detach().double()
        expected = reference.softpool_forward(values, definition)
        expected_gradient = reference.softpool_backward(gradient.double(), values, definition)
        for what, found, right in (("output", output, expected), ("gradient", grad_input, expected_gradient)):
            error = ((found.double() - right).abs() / (1 + right.abs())).max().item()
            if not error <= TOLERANCES[dtype]:
                raise InputError(
                    f"the {what} of softpool is wrong, nothing was timed: {pooling.name} {layout} {name_dtype(dtype)}"
                    f" on {device.type}, inputs of size {scale:g}: off by {error:.1e} (at most {TOLERANCES[dtype]:.0e})"
                )


def describe_pooling(pooling: Pooling) -> dict[str, Any]:
    return {
        "pooling": pooling.name,
        "shape": pooling.shape,
        "kernel_size": pooling.kernel_size,
        "stride": pooling.stride,
        "padding": pooling.padding,
    }


if __name__ == "__main__":
    sys.exit(run_command(main))
