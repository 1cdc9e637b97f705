"""docs/packaging.md says what the committed record of check_wheels.py says."""

import json
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORD = json.loads((ROOT / "docs" / "results" / "packaging.json").read_text(encoding="utf-8"))
DOCUMENT = (ROOT / "docs" / "packaging.md").read_text(encoding="utf-8")


def test_the_record_holds_no_fault() -> None:
    find_faults = runpy.run_path(str(Path(__file__).with_name("check_wheels.py")))["find_faults"]
    assert find_faults(RECORD) == []
    broken = json.loads(json.dumps(RECORD))
    broken["runs"][0]["failures"] = 1
    broken["builds"][0]["sdist_lacks"] = ["csrc/softpool.cpp"]
    assert len(find_faults(broken)) == 2


def test_the_document_has_the_figures_of_the_record() -> None:
    rows = {line for line in DOCUMENT.splitlines() if line.endswith("pass |")}
    assert rows == {
        f"| {run['built_with']} | {run['torch']} |"
        f" {run['tests'] - run['failures'] - run['errors'] - run['skipped']} of {run['tests']} pass |"
        for run in RECORD["runs"]
    }
    build = RECORD["builds"][0]
    facts = (f"{build['compile_seconds']} seconds on {RECORD['cores']} cores", f"{build['library_bytes']} bytes")
    for fact in (*facts, f"wheel {build['wheel_bytes']}", RECORD["compiler"], RECORD["python"], RECORD["command"]):
        assert fact in DOCUMENT
