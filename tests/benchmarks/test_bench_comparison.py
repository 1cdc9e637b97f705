"""The benchmark of comparisons: every step runs, and leaves what the next one needs."""

from pathlib import Path

import bench_comparison
import torch


def test_every_step_runs(tmp_path: Path) -> None:
    num_threads = torch.get_num_threads()
    for step in bench_comparison.STEPS:
        measured = bench_comparison.run_step(step, str(tmp_path), 60, 7)
        assert measured["step"] == step
        assert measured["peak_megabytes"] > 0
        assert measured["cpu_seconds"] >= 0
    torch.set_num_threads(num_threads)
    assert (tmp_path / "metrics.json").is_file()
    assert (tmp_path / "comparison" / "comparison.md").is_file()
