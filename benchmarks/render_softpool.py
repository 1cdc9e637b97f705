"""Makes docs/softpool_speed.md, its charts and README's table from what bench_softpool.py measured.

Every number comes out of the JSON files; a cell that was not measured stays empty.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from result_pages import (
    ROOT,
    choose_results,
    describe_run,
    hash_file,
    read_record,
    render_table,
    replace_block,
    write_text,
)

from videosoft.atomic_files import replace_when_done
from videosoft.errors import InputError, run_command

FORMAT_VERSION = 1
SCRIPT = "bench_softpool.py"
BEGIN, END = "<!-- softpool-speed:begin -->", "<!-- softpool-speed:end -->"
DOCUMENT = Path("docs", "softpool_speed.md")
TITLES = {
    "softpool": "SoftPool",
    "softpool_large": "SoftPool, large values",
    "max_pool": "max_pool",
    "avg_pool": "avg_pool",
    "composite": "exp and avg_pool",
    "composite_compiled": "exp and avg_pool, compiled",
    "softmax_compiled": "softmax of windows, compiled",
    "copy": "copy of the bytes",
}
PASS_TITLES = {
    "forward": "forward",
    "backward": "backward",
    "forward_backward": "forward and backward",
    "inference_mode": "forward in inference_mode",
}
EXPLANATION = """\
Medians in milliseconds of calls that took turns in one process, quartiles in brackets, inputs not in the cache; empty
where PyTorch does not offer the operation. "SoftPool" is `videosoft.ops.softpool2d/3d` with the exact gradient;
"large values" is the same on inputs of standard deviation 40. "exp and avg_pool" is
`avg_pool(exp(x) * x) / avg_pool(exp(x))`, which overflows where x is large; "softmax of windows" unfolds the windows;
"compiled" is `torch.compile`.
"copy of the bytes" is `Tensor.copy_` of as many bytes as the operation must read and write if it touches everything
once (forward: x and y; backward: x, dy and dx). It writes to memory that is there already; the others make new results.
Forward is without gradients; backward (GPUs only) is `torch.autograd.grad` on a graph that is kept; forward and
backward is `torch.autograd.grad(y, x, g)`, the forward included."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", type=Path, help="default: all of benchmarks/results/softpool_*.json")
    args = parser.parse_args()
    paths = choose_results(args.results, "softpool", SCRIPT)
    records = [read_record(path, SCRIPT, FORMAT_VERSION) for path in paths]
    types = [record["device"]["type"] for record in records]
    if len(set(types)) != len(types):
        raise InputError(f"give one file for each type of device, got {', '.join(types)}")
    readme = ROOT / "README.md"
    text = replace_block(readme.read_text(encoding="utf-8"), render_block(records), BEGIN, END, "README.md")
    write_text(ROOT / DOCUMENT, render_document(records))
    for path, record in zip(paths, records, strict=True):
        draw_chart(record, ROOT / name_chart(record), hash_file(path))
    write_text(readme, text)
    print(f"README.md and {DOCUMENT} show {', '.join(map(str, paths))}")


def render_block(records: list[dict[str, Any]]) -> str:
    """README's part: float32, forward and backward, medians only."""
    parts = []
    for record in records:
        cells = collect_cells(record)
        rows = [
            [
                title,
                layout,
                *(format_median(cells.get((name, layout, "float32", "forward_backward", o))) for o in TITLES),
            ]
            for name, title in title_poolings(record).items()
            for layout in ("contiguous", "channels_last")
        ]
        parts += [
            "Milliseconds for forward and backward in float32:",
            render_table(["pooling", "layout", *TITLES.values()], rows),
            f"![{TITLES['softpool']} beside its peers]({name_chart(record).as_posix()})",
            describe_run(record),
        ]
    parts.append(f"All passes, layouts and dtypes, and what the columns mean: [{DOCUMENT}]({DOCUMENT}).")
    return "\n\n".join(parts)


def render_document(records: list[dict[str, Any]]) -> str:
    parts = [
        "# How fast SoftPool is",
        "Written by `python benchmarks/render_softpool.py` from `benchmarks/results`; `make bench` measures anew.",
        EXPLANATION,
    ]
    for record in records:
        parts += [f"## {record['device']['name']}", describe_run(record)]
        parts += [f"![Bars of the table below]({name_chart(record).name})", f"Command: `{record['command']}`"]
        cells = collect_cells(record)
        for pass_name in dict.fromkeys(row["pass"] for row in record["rows"]):
            groups = {(row["pooling"], row["layout"], row["dtype"]) for row in record["rows"]}
            rows = [
                [title, layout, dtype]
                + [format_quartiles(cells.get((name, layout, dtype, pass_name, o))) for o in TITLES]
                + [compare(cells, (name, layout, dtype, pass_name), peer) for peer in ("max_pool", "copy")]
                for name, title in title_poolings(record).items()
                for layout in ("contiguous", "channels_last")
                for dtype in ("float32", "bfloat16", "float16")
                if (name, layout, dtype) in groups
            ]
            head = ["pooling", "layout", "dtype", *TITLES.values(), "SoftPool / max_pool", "SoftPool / copy"]
            parts += [f"### {PASS_TITLES[pass_name].capitalize()}", render_table(head, rows)]
        if record["small"]:
            parts += ["### A small input", *render_small(record)]
        errors = sorted({(row["operation"], row["dtype"], row["error"]) for row in record["rows"] if row["error"]})
        if errors:
            lines = (f"- {TITLES[operation]}, {dtype}: `{error}`" for operation, dtype, error in errors)
            parts += ["### Why cells are empty", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def render_small(record: dict[str, Any]) -> list[str]:
    shape = "x".join(map(str, record["small"][0]["shape"]))
    times = {(row["pass"], row["operation"]): row for row in record["small"]}
    rows = []
    for pass_name in ("inference_mode", "forward", "forward_backward"):
        entries = [times.get((pass_name, operation)) for operation in ("softpool", "max_pool")]
        title = "forward, recorded for autograd" if pass_name == "forward" else PASS_TITLES[pass_name]
        rows.append([title, *(format_quartiles(entry, "us") for entry in entries)])
    return [
        f"Microseconds a call on {shape}, float32, window 2.",
        render_table(["pass", "SoftPool", "max_pool3d"], rows),
    ]


def collect_cells(record: dict[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    """(pooling, layout, dtype, pass, operation) -> row."""
    return {
        (
            row["pooling"],
            row["layout"],
            row["dtype"],
            row["pass"],
            row["operation"] + ("_large" if row["data"] == "large" else ""),
        ): row
        for row in record["rows"]
    }


def title_poolings(record: dict[str, Any]) -> dict[str, str]:
    """Name -> shape and window as a reader wants them, in the order of the file."""

    def join(sizes: list[int], separator: str) -> str:
        return separator.join(map(str, sizes)) if len(set(sizes)) > 1 else str(sizes[0])

    return {
        row["pooling"]: f"{'x'.join(map(str, row['shape']))}, window {join(row['kernel_size'], 'x')},"
        f" stride {join(row['stride'], 'x')}, padding {join(row['padding'], 'x')}"
        for row in record["rows"]
    }


def name_chart(record: dict[str, Any]) -> Path:
    return Path("docs", f"softpool_speed_{record['device']['type']}.png")


def format_time(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def format_median(row: dict[str, Any] | None) -> str:
    return "" if row is None or row["median_ms"] is None else format_time(row["median_ms"])


def format_quartiles(row: dict[str, Any] | None, unit: str = "ms") -> str:
    if row is None or row[f"median_{unit}"] is None:
        return ""
    median, lower, upper = (
        format_time(row[f"{name}_{unit}"]) for name in ("median", "lower_quartile", "upper_quartile")
    )
    return f"{median} ({lower}, {upper})"


def compare(cells: dict[tuple[str, ...], dict[str, Any]], group: tuple[str, ...], peer: str) -> str:
    times = [
        cells[(*group, operation)]["median_ms"] if (*group, operation) in cells else None
        for operation in ("softpool", peer)
    ]
    return "" if None in times else f"{times[0] / times[1]:.2f}"


def draw_chart(record: dict[str, Any], path: Path, source: str) -> None:
    """Bars of the float32 medians; ``source``, the hash of the file they come from, is written into the picture."""
    from matplotlib.figure import Figure

    cells, titles = collect_cells(record), title_poolings(record)
    figure = Figure(figsize=(12, 8), layout="constrained")
    panels = figure.subplots(2, 2, sharey="row")
    for row, pass_name in zip(panels, ("forward", "forward_backward"), strict=True):
        for axes, layout in zip(row, ("contiguous", "channels_last"), strict=True):
            for index, (operation, title) in enumerate(TITLES.items()):
                medians = [cells.get((name, layout, "float32", pass_name, operation)) for name in titles]
                measured = [
                    (place, cell["median_ms"])
                    for place, cell in enumerate(medians)
                    if cell and cell["median_ms"] is not None
                ]
                positions = [place + (index - len(TITLES) / 2) * 0.1 for place, _ in measured]
                axes.bar(positions, [time for _, time in measured], width=0.1, label=title)
            axes.set_yscale("log")
            axes.set_ylabel("milliseconds")
            axes.set_title(f"{PASS_TITLES[pass_name]}, {layout}, float32")
            axes.set_xticks(range(len(titles)), [title.replace(", ", "\n") for title in titles.values()], fontsize=6)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(describe_run(record).replace("; ", "\n"), fontsize=8)
    with replace_when_done(path) as temporary_path:
        figure.savefig(temporary_path, format="png", dpi=110, metadata={"Source": source, "Software": None})


if __name__ == "__main__":
    sys.exit(run_command(main))
