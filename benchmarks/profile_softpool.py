"""Says what SoftPool's time on the CPU is made of: arithmetic, from inputs in the cache, beside the movement of memory.

    python benchmarks/profile_softpool.py

Takes the poolings of bench_softpool.py with inputs cut until they stay in a second-level cache of 1 MiB, and one
thread: what is left is arithmetic. Scaled to the whole input and divided by the threads of benchmarks/results/
softpool_cpu.json it stands beside that file's times, in docs/softpool_profile.md.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bench_softpool import LAYOUTS, POOLINGS
from measuring import ROOT, check_output, describe_device, find_versions, name_dtype
from softpool_peers import SOFTPOOLS, Pooling
from tqdm import tqdm

from videosoft.atomic_files import replace_when_done, write_json
from videosoft.errors import run_command

FORMAT_VERSION = 1
DOCUMENT = ROOT / "docs" / "softpool_profile.md"
SECONDS = 2.0
DTYPES = (torch.float32, torch.bfloat16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "profile_cpu.json")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    args = parser.parse_args()
    check_output(args.output, force=args.force)
    measured = json.loads((ROOT / "benchmarks" / "results" / "softpool_cpu.json").read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for pooling in tqdm(POOLINGS, unit="pooling", disable=None):
        for layout in LAYOUTS:
            for dtype in DTYPES:
                rows.append(profile(pooling, layout, dtype, measured))
    record = {
        "format_version": FORMAT_VERSION,
        "command": "python benchmarks/profile_softpool.py",
        "device": describe_device(torch.device("cpu")),
        "versions": find_versions(),
        "rows": rows,
    }
    write_json(args.output, record)
    with replace_when_done(DOCUMENT) as path:
        path.write_text(render(record), encoding="utf-8")
    print(f"{len(rows)} rows in {args.output} and {DOCUMENT}")


def cut(pooling: Pooling) -> Pooling:
    """The same rows and windows, fewer of them."""
    spatial = (16, pooling.shape[-1]) if pooling.num_dims == 2 else (pooling.kernel_size[0], 16, pooling.shape[-1])
    return replace(pooling, shape=(1, 64, *spatial))


def profile(pooling: Pooling, layout: str, dtype: torch.dtype, measured: dict[str, Any]) -> dict[str, Any]:
    small = cut(pooling)
    window = (small.kernel_size, small.stride, small.padding)
    memory_format = torch.contiguous_format
    if layout == "channels_last":
        memory_format = torch.channels_last if small.num_dims == 2 else torch.channels_last_3d
    input = torch.randn(small.shape).to(dtype).contiguous(memory_format=memory_format)
    softpool = SOFTPOOLS[small.num_dims]
    with torch.inference_mode():
        tiny = torch.zeros((1, 1, *small.kernel_size), dtype=dtype)
        seconds = measure(lambda: softpool(input, *window)) - measure(lambda: softpool(tiny, *window))
    # Outputs, not inputs: in the middle of a video a frame is met by as many windows as here.
    scale = math.prod(pooling.output_shape) / math.prod(small.output_shape)
    medians = {
        row["operation"]: row["median_ms"]
        for row in measured["rows"]
        if (row["pooling"], row["layout"], row["dtype"]) == (pooling.name, layout, name_dtype(dtype))
        and (row["pass"], row["data"]) == ("forward", "normal")
    }
    return {
        "pooling": pooling.name,
        "layout": layout,
        "dtype": name_dtype(dtype),
        "shape_in_cache": list(small.shape),
        "nanoseconds_per_16_numbers": round(seconds * scale / math.prod(pooling.shape) * 16e9, 3),
        "arithmetic_ms": round(seconds * scale / measured["device"]["threads"] * 1e3, 4),
        "copy_ms": medians["copy"],
        "softpool_ms": medians["softpool"],
    }


def measure(call: Callable[[], Any]) -> float:
    """The shortest of many calls: what the processor can do when nobody else wants it."""
    shortest = math.inf
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def render(record: dict[str, Any]) -> str:
    lines = [
        "# What SoftPool's forward on the CPU is made of",
        "",
        f"Written by `{record['command']}` from `benchmarks/results`.",
        "",
        "Arithmetic: the shortest call of one thread on an input that stays in the second-level cache, less that of a",
        "call on one window, scaled to the whole input and divided by two threads. Copy and SoftPool: medians of",
        "[softpool_speed.md](softpool_speed.md), two threads, memory. Milliseconds. If the two overlapped wholly",
        "SoftPool would take the larger of the two, if not at all their sum.",
        "",
        "| pooling | layout | dtype | arithmetic, ns per 16 numbers | arithmetic | copy | larger | sum | SoftPool |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in record["rows"]:
        parts = (row["arithmetic_ms"], row["copy_ms"])
        cells = (row["arithmetic_ms"], row["copy_ms"], max(parts), sum(parts), row["softpool_ms"])
        lines.append(
            f"| {row['pooling']} | {row['layout']} | {row['dtype']} | {row['nanoseconds_per_16_numbers']:.2f} | "
            + " | ".join(f"{cell:.2f}" for cell in cells)
            + " |"
        )
    versions = record["versions"]
    device = record["device"]
    lines += [
        "",
        f"{device['name']}, {device['capability']}; torch {versions['torch']}, commit {versions['revision']}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_command(main))
