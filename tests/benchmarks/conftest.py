"""The benchmark's modules, for all tests of it."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
# They lie beside the commands, as they do when one is started.
sys.path.insert(0, str(BENCHMARKS))
