"""Puts what gpu_check.sh found into one file, gpu_check_<gpu>.json, and one table: each target, what was measured.

A target that was not measured stays blank. Exits with 1 if a stage failed.
"""

import argparse
import datetime
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from measuring import find_versions
from render_softpool import collect_cells

from videosoft.atomic_files import write_json
from videosoft.errors import InputError, run_command

FORMAT_VERSION = 1
# Of the bandwidth of a copy that moves the same bytes.
LEAST_FORWARD = 0.85
LEAST_BACKWARD = {"3d_2": 0.80, "3d_1x3x3": 0.65, "3d_3": 0.65}
PEERS = ("max_pool", "avg_pool", "composite_compiled")
MOST_SOFT_OVER_MAX = 1.01
# The fused form is worth taking from here on.
LEAST_SEPARATE_OVER_FUSED = 1.0
MOST_LOOP_OVER_BARE = 1.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", required=True, help="the name in the files' names")
    parser.add_argument("--results", type=Path, required=True)
    args = parser.parse_args()
    logs = args.results / "gpu_check_logs"
    stages = read_stages(logs / "stages.tsv")
    counts = {stage["stage"]: count_tests(logs / f"{stage['stage']}.xml") for stage in stages}
    benchmark = read_json(args.results / f"softpool_{args.gpu}.json")
    training = read_json(args.results / f"training_step_{args.gpu}.json")
    fused = read_json(args.results / f"fused_{args.gpu}.json")
    targets = check_benchmark(benchmark) if benchmark else []
    if training:
        ratio = training["soft_over_max"]
        targets.append(describe_target("r3d50 bf16 step, SoftPool / MaxPool", ratio, MOST_SOFT_OVER_MAX, at_most=True))
    for ratio in fused["ratios"] if fused else []:
        title = f"{ratio['name']}, separate / fused"
        targets.append(describe_target(title, ratio["separate_over_fused"], LEAST_SEPARATE_OVER_FUSED, at_most=False))
    train = read_json(args.results / f"train_{args.gpu}.json")
    for row in train["rows"] if train else []:
        title = f"training loop, {row['name']}, Lightning / bare"
        targets.append(describe_target(title, row["lightning_over_bare"], MOST_LOOP_OVER_BARE, at_most=True))
    record = {
        "format_version": FORMAT_VERSION,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "device": benchmark["device"] if benchmark else {"type": "cuda", "name": args.gpu},
        "versions": find_versions(),
        "stages": [stage | counts[stage["stage"]] for stage in stages],
        "targets": targets,
    }
    write_json(args.results / f"gpu_check_{args.gpu}.json", record)
    print(render(record))
    if any(stage["status"] != "0" for stage in stages):
        raise SystemExit(1)


def read_stages(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; gpu_check.sh writes it") from error
    names = ("stage", "status", "seconds")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines]


def count_tests(path: Path) -> dict[str, int]:
    """Passed, failed and skipped, of a report in JUnit's format; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        suite = ElementTree.parse(path).getroot().find("testsuite")
    except ElementTree.ParseError:
        return {}
    if suite is None:
        return {}
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    skipped = int(suite.get("skipped", 0))
    return {"passed": int(suite.get("tests", 0)) - failed - skipped, "failed": failed, "skipped": skipped}


def read_json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def check_benchmark(record: dict[str, Any]) -> list[dict[str, Any]]:
    cells = collect_cells(record)
    targets = []
    for group in sorted({key[:4] for key in cells}):
        pooling, layout, dtype, pass_name = group
        if pass_name not in ("forward", "backward"):
            continue
        times = {
            operation: cells[(*group, operation)]["median_ms"]
            for operation in ("softpool", "copy", *PEERS)
            if (*group, operation) in cells
        }
        ours = times.get("softpool")
        copy, peers = times.get("copy"), [times[name] for name in PEERS if times.get(name) is not None]
        least = LEAST_FORWARD if pass_name == "forward" else LEAST_BACKWARD[pooling]
        title = f"{pooling} {layout} {dtype} {pass_name}"
        share = copy / ours if ours and copy else None
        targets.append(describe_target(f"{title}, of the copy's bandwidth", share, least, at_most=False))
        speed_up = min(peers) / ours if ours and peers else None
        targets.append(describe_target(f"{title}, fastest peer / SoftPool", speed_up, 1.0, at_most=False))
    return targets


def describe_target(title: str, measured: float | None, limit: float, *, at_most: bool) -> dict[str, Any]:
    met = None if measured is None else (measured <= limit if at_most else measured >= limit)
    rounded = None if measured is None else round(measured, 4)
    return {"target": title, "limit": limit, "at_most": at_most, "measured": rounded, "met": met}


def render(record: dict[str, Any]) -> str:
    lines = [f"{record['device']['name']}, torch {record['versions']['torch']}, {record['date']}", ""]
    for stage in record["stages"]:
        tests = ", ".join(f"{stage[name]} {name}" for name in ("passed", "failed", "skipped") if name in stage)
        result = "ok" if stage["status"] == "0" else f"FAILED ({stage['status']})"
        lines.append(f"{stage['stage']:<16} {result:<14} {stage['seconds']:>4} s  {tests}")
    lines.append("")
    for target in record["targets"]:
        verdict = {None: "", True: "met", False: "MISSED"}[target["met"]]
        measured = "" if target["measured"] is None else f"{target['measured']:.3f}"
        sign = "<=" if target["at_most"] else ">="
        lines.append(f"{target['target']:<80} {measured:>8} {sign} {target['limit']:.2f}  {verdict}")
    met = sum(target["met"] is True for target in record["targets"])
    lines.append(f"\n{met} of {len(record['targets'])} targets met")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run_command(main))
