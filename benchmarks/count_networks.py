"""Counts parameters and multiply-adds of every registered network, and puts them into docs/models.md.

Nothing is trained, run or timed: the figures are the same on every machine.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from result_pages import ROOT, render_table, replace_block, write_text

from videosoft.atomic_files import write_json
from videosoft.errors import run_command
from videosoft.models import count_macs, count_parameters, create_model

FORMAT_VERSION = 1
RESULTS = ROOT / "benchmarks" / "results" / "networks.json"
DOCUMENT = Path("docs", "models.md")
BEGIN, END = "<!-- networks:begin -->", "<!-- networks:end -->"
# Network, classes, clip (frames, side): the literature's, so that its figures can be compared.
ROWS = [
    ("r3d50", 700, 16, 112),
    ("r3d50", 700, 16, 224),
    ("r3d50_stergiou", 700, 16, 224),
    ("slow_r50", 400, 4, 224),
    ("slow_r50", 400, 8, 224),
    ("slow_r50", 400, 8, 256),
    ("slowfast_r50", 400, 32, 224),
    ("slowfast_r50", 400, 32, 256),
    ("x3d_xs", 400, 4, 160),
    ("x3d_s", 400, 13, 160),
    ("x3d_m", 400, 16, 224),
    ("x3d_l", 400, 16, 312),
    ("r2plus1d_r50", 400, 16, 224),
    ("r2plus1d_r50", 400, 16, 256),
    ("csn_r101", 400, 32, 224),
    ("csn_r101", 400, 32, 256),
    ("r3d_18", 400, 16, 112),
    ("mc3_18", 400, 16, 112),
    ("r2plus1d_18", 400, 16, 112),
    ("s3d", 400, 16, 224),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    rows = [count_row(*row) for row in ROWS]
    write_json(
        RESULTS, {"format_version": FORMAT_VERSION, "command": "python benchmarks/count_networks.py", "rows": rows}
    )
    document = ROOT / DOCUMENT
    text = document.read_text(encoding="utf-8")
    write_text(document, replace_block(text, render_block(rows), BEGIN, END, DOCUMENT))
    print(f"{RESULTS.relative_to(ROOT)} and {DOCUMENT}")


def count_row(name: str, num_classes: int, num_frames: int, side: int) -> dict[str, Any]:
    with torch.device("meta"):
        network = create_model(name, num_classes=num_classes)
    return {
        "name": name,
        "num_classes": num_classes,
        "clip": [num_frames, side, side],
        "parameters": count_parameters(network),
        "macs": count_macs(network, (num_frames, side, side)),
    }


def render_block(rows: list[dict[str, Any]]) -> str:
    head = ["network", "clip", "classes", "parameters, millions", "multiply-adds of a clip, G"]
    cells = [
        [
            f"`{row['name']}`",
            f"{row['clip'][0]} x {row['clip'][1]}^2",
            str(row["num_classes"]),
            f"{row['parameters'] / 1e6:.2f}",
            f"{row['macs'] / 1e9:.2f}",
        ]
        for row in rows
    ]
    return render_table(head, cells)


if __name__ == "__main__":
    sys.exit(run_command(main))
