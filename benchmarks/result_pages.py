"""What the pages of results share: which files they show, and how tables and machines are written down."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from videosoft.atomic_files import replace_when_done
from videosoft.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


def find_results(kind: str) -> list[Path]:
    """What was measured on each device: ``benchmarks/results/<kind>_*.json``."""
    return sorted((ROOT / "benchmarks" / "results").glob(f"{kind}_*.json"))


def choose_results(given: Sequence[Path], kind: str, script: str) -> list[Path]:
    """The files given, else all that there are."""
    paths = list(given) or find_results(kind)
    if not paths:
        raise InputError(f"there is nothing in benchmarks/results; run `python benchmarks/{script}` first")
    return paths


def read_record(path: Path, script: str, format_version: int) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no result of {script}: {error}") from error
    if not isinstance(record, dict) or record.get("format_version") != format_version or "rows" not in record:
        raise InputError(f"{path} is no result of {script} of format version {format_version}")
    if record["quick"]:
        raise InputError(f"{path} comes from a run with --quick, which measures nothing; run without it")
    return record


def describe_run(record: dict[str, Any]) -> str:
    device, versions = record["device"], record["versions"]
    threads = f", {device['threads']} threads" if "threads" in device else ""
    names = {"videosoft": "videosoft", "torch": "torch", "python": "Python", "compiler": "compiled by"}
    known = [f"{title} {versions[name]}" for name, title in names.items() if versions[name]]
    if versions["revision"]:
        known.append(f"commit {versions['revision']}")
    load = f"load average {record['load_average']['start']} before, {record['load_average']['end']} after"
    return f"{device['name']}{threads}; {', '.join(known)}; {record['rounds']} rounds, {record['date']}, {load}."


def hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def render_table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace_block(text: str, block: str, begin: str, end: str, document: str | Path) -> str:
    """``text`` with ``block`` between the two marks, which stay."""
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise InputError(f"{document} must have the lines {begin} and {end} once each and in this order")
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{block}\n{end}{after}"


def write_text(path: Path, text: str) -> None:
    with replace_when_done(path) as temporary_path:
        temporary_path.write_text(text, encoding="utf-8")
