"""Makes docs/training_speed.md from what bench_train.py measured; every number comes out of the JSON files."""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from result_pages import ROOT, choose_results, describe_run, read_record, render_table, write_text

from videosoft.errors import run_command

FORMAT_VERSION = 1
SCRIPT = "bench_train.py"
DOCUMENT = Path("docs", "training_speed.md")
MOST_LOOP_OVER_BARE = 1.02
MOST_SECONDS_TO_FIRST_STEP = 15
EXPLANATION = f"""\
The loop of `lightning fit`, with all of its callbacks, loggers and the progress bar, beside a loop without a framework:
the clips to the device, normalisation, forward, cross entropy, `zero_grad`, backward, the optimiser's step, the
schedule's step; no metric, no log, no look at the loss. Both train a copy of one network on the same batches, in turns
in one process; "same weights" says that they came to the very same numbers. Lightning / bare is the median over rounds
(lowest and highest in brackets), at most {MOST_LOOP_OVER_BARE} is the aim; what Lightning adds to a step hardly depends
on the network, so that a longer step pays a smaller share. Every round logs at least once. "reading videos" is with the
recipe's loader, the other rows have their clips in memory."""
START_EXPLANATION = f"""\
From the command `lightning fit` on the demo, wandb (offline) and Lightning's two batches of validation before the
training included, to the end of the first step; at most {MOST_SECONDS_TO_FIRST_STEP} s is the aim. CPU seconds are
those of all processes and hardly depend on what else runs. Medians, lowest and highest in brackets."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="*", type=Path, help="default: all of benchmarks/results/train_*.json")
    args = parser.parse_args()
    paths = choose_results(args.results, "train", SCRIPT)
    records = [read_record(path, SCRIPT, FORMAT_VERSION) for path in paths]
    write_text(ROOT / DOCUMENT, render_document(records))
    print(f"{DOCUMENT} shows {', '.join(map(str, paths))}")


def render_document(records: list[dict[str, Any]]) -> str:
    parts = [
        "# What the training loop costs, and how soon it starts",
        "Written by `python benchmarks/render_train.py` from `benchmarks/results`.",
        EXPLANATION,
    ]
    for record in records:
        versions = ", ".join(f"{name} {record['versions'][name]}" for name in ("lightning", "torchmetrics", "wandb"))
        parts += [
            f"## {record['device']['name']}",
            f"{describe_run(record)} {versions}.",
            f"Command: `{record['command']}`",
            render_loops(record),
        ]
        if "first_step" in record:
            parts += ["### The first step", START_EXPLANATION, render_start(record)]
    return "\n\n".join(parts) + "\n"


def render_loops(record: dict[str, Any]) -> str:
    is_gpu = record["device"]["type"] == "cuda"
    rows = []
    for row in record["rows"]:
        size = " x ".join(map(str, [row["batch_size"], 3, *row["clip"]]))
        step = [format_ms(row["median_step_ms"][loop]) for loop in ("bare", "lightning")]
        cells = [row["name"], size, *step, format_ms(row["added_ms_a_step"]), format_range(row["ratios"], 3)]
        if is_gpu:
            share = row["percent_of_bf16_peak"]
            cells += [f"{row['clips_per_second']:.0f}", "" if share is None else f"{share:.1f}"]
        else:
            cells += [f"{row['clips_per_second']:.1f}", "yes" if row["same_weights"] else "no"]
        rows.append(cells)
    head = ["case", "clips of a step", "bare, ms", "Lightning, ms", "added, ms", "Lightning / bare", "clips/s"]
    return render_table([*head, "% of the bfloat16 peak" if is_gpu else "same weights"], rows)


def render_start(record: dict[str, Any]) -> str:
    entries = {"`lightning fit`, first step": record["first_step"]}
    entries |= {f"`{command}`": entry for command, entry in record["help"].items()}
    rows = [
        [name, format_range(entry["seconds"], 1), format_range(entry["cpu_seconds"], 1)]
        for name, entry in entries.items()
    ]
    return render_table(["command", "seconds", "CPU seconds"], rows)


def format_ms(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def format_range(values: list[float], digits: int) -> str:
    """Median (lowest, highest)."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}, {max(values):.{digits}f})"


if __name__ == "__main__":
    sys.exit(run_command(main))
