"""What the doctor says: a line for each thing looked at, and whether the run would fail."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "note", "warn", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``FAIL`` means that the run would not work, ``warn`` that it would be slow or wrong."""

    severity: Severity
    topic: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity:<5} {self.topic:<16} {self.text}"


def summarize_findings(findings: list[Finding]) -> str:
    """The last line: whether the run would work, and how many things to look at."""
    counts = {severity: sum(finding.severity == severity for finding in findings) for severity in ("FAIL", "warn")}
    if counts["FAIL"]:
        return f"the run would FAIL: {counts['FAIL']} failed, {counts['warn']} warned"
    return f"the run would work: {counts['warn']} warned" if counts["warn"] else "the run would work"
