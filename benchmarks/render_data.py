"""Makes docs/data_speed.md and its chart from what bench_data.py measured; every number comes out of the JSON file."""

import argparse
import sys
from pathlib import Path
from typing import Any

from result_pages import ROOT, describe_run, hash_file, read_record, render_table, write_text

from videosoft.atomic_files import replace_when_done
from videosoft.errors import run_command

FORMAT_VERSION = 1
SCRIPT = "bench_data.py"
RESULTS = ROOT / "benchmarks" / "results" / "data_cpu.json"
DOCUMENT = Path("docs", "data_speed.md")
CHART = Path("docs", "data_speed.png")
TITLES = {
    ("training", "decord"): "decord alone",
    ("training", "videosoft"): "videosoft",
    ("training", "videosoft_pyav"): "videosoft, PyAV",
    ("training", "pytorchvideo"): "pytorchvideo",
    ("10x3", "one_decode"): "one decode of the frames",
    ("10x3", "videosoft"): "videosoft",
    ("10x3", "videosoft_pyav"): "videosoft, PyAV",
    ("10x3", "each_view"): "a decode for each view",
}
# What the ratio of two medians is called: task, ours over which contender, or the other way round.
RATIOS = {
    "training": (
        ("videosoft / decord alone", "videosoft", "decord"),
        ("PyAV / decord alone", "videosoft_pyav", "decord"),
        ("videosoft / pytorchvideo", "videosoft", "pytorchvideo"),
        ("PyAV / pytorchvideo", "videosoft_pyav", "pytorchvideo"),
    ),
    "10x3": (
        ("one decode / videosoft", "one_decode", "videosoft"),
        ("one decode / PyAV", "one_decode", "videosoft_pyav"),
        ("videosoft / each view", "videosoft", "each_view"),
        ("PyAV / each view", "videosoft_pyav", "each_view"),
    ),
}
EXPLANATION = """\
Medians of epochs that took turns in one process, all with the same number of workers (lowest and highest in brackets).
Training: random clips of 16 frames, every second one, cut and resized to 112 x 112, batches of 8. "decord alone"
decodes the very frames of our clips and does nothing with them: the floor of whatever is built on decord. "videosoft"
is the loader as it is by default, on decord, "videosoft, PyAV" with `decoder: pyav`, which leaves out frames of H.264
that nothing needs and gives the same bits.
"pytorchvideo" is its `LabeledVideoDataset` with decord, the fastest of its decoders that still work, and torchvision's
transforms, since its own do not import any more; its clips are as long and as large.
10x3: the views of a test, 10 clips by 3 crops of each video. "one decode of the frames" opens each video once and
decodes the frames that the clips share, without resizing or cutting them; ours are counted when all views are cut out,
on the CPU; "a decode for each view" opens it thirty times. A cell without a number was not measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "results", nargs="?", type=Path, default=RESULTS, help="default: benchmarks/results/data_cpu.json"
    )
    args = parser.parse_args()
    record = read_record(args.results, SCRIPT, FORMAT_VERSION)
    write_text(ROOT / DOCUMENT, render_document(record))
    draw_chart(record, ROOT / CHART, hash_file(args.results))
    print(f"{DOCUMENT} and {CHART} show {args.results}")


def render_document(record: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {record['versions'][name]}" for name in ("decord2", "pytorchvideo", "torchvision"))
    parts = [
        "# How fast clips are fed",
        "Written by `python benchmarks/render_data.py` from `benchmarks/results/data_cpu.json`.",
        EXPLANATION,
        f"{describe_run(record)} {record['num_workers']} workers; {versions}.",
        f"![Bars of the tables below]({CHART.name})",
        f"Command: `{record['command']}`",
    ]
    for task, unit in (("training", "clips"), ("10x3", "videos")):
        contenders = [name for found_task, name in TITLES if found_task == task]
        medians = {(row["data"], row["contender"]): row for row in record["rows"] if row["task"] == task}
        rows = []
        for data in dict.fromkeys(row["data"] for row in record["rows"]):
            cells = [format_rates(medians.get((data, name))) for name in contenders]
            ratios = [
                format_ratio(medians.get((data, over)), medians.get((data, under))) for _, over, under in RATIOS[task]
            ]
            rows.append([data, str(medians[data, contenders[0]]["num_videos"]), *cells, *ratios])
        head = [
            "data",
            "videos",
            *(TITLES[task, name] for name in contenders),
            *(title for title, _, _ in RATIOS[task]),
        ]
        parts += [f"## {task.capitalize()}: {unit} a second", render_table(head, rows)]
    return "\n\n".join(parts) + "\n"


def format_ratio(over: dict[str, Any] | None, under: dict[str, Any] | None) -> str:
    if over is None or under is None:
        return ""
    return f"{over['median_per_second'] / under['median_per_second']:.2f}"


def format_rates(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['median_per_second']:.1f} ({min(row['per_second']):.1f}, {max(row['per_second']):.1f})"


def draw_chart(record: dict[str, Any], path: Path, source: str) -> None:
    """Bars of the medians; ``source``, the hash of the file they come from, is written into the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    data_names = list(dict.fromkeys(row["data"] for row in record["rows"]))
    for axes, (task, unit) in zip(figure.subplots(1, 2), (("training", "clips"), ("10x3", "videos")), strict=True):
        contenders = [name for found_task, name in TITLES if found_task == task]
        for index, name in enumerate(contenders):
            rows = [row for row in record["rows"] if row["task"] == task and row["contender"] == name]
            positions = [data_names.index(row["data"]) + (index - 1.5) * 0.21 for row in rows]
            bars = axes.bar(positions, [row["median_per_second"] for row in rows], width=0.19, label=TITLES[task, name])
            axes.bar_label(bars, fmt="%.1f", fontsize=6)
        axes.set_xticks(range(len(data_names)), data_names)
        axes.set_ylabel(f"{unit} a second")
        axes.set_title(task)
        axes.legend(fontsize=7)
    figure.suptitle(describe_run(record).replace("; ", "\n"), fontsize=7)
    with replace_when_done(path) as temporary_path:
        figure.savefig(temporary_path, format="png", dpi=110, metadata={"Source": source, "Software": None})


if __name__ == "__main__":
    sys.exit(run_command(main))
