"""How many CPU cores there are to work on."""

import os


def count_cores() -> int:
    """The cores that this process may use, by its affinity where the system has one; else all of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
