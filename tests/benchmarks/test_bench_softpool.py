"""The benchmark of SoftPool: its peers compute SoftPool, and what it writes is complete."""

import json
import sys
from pathlib import Path

import bench_softpool
import pytest
import torch
from softpool_peers import Pooling, create_operations

from videosoft.errors import InputError

POOLINGS = [
    Pooling("3d", (2, 3, 4, 6, 7), (2, 2, 2), (2, 2, 2), (0, 0, 0)),
    Pooling("3d_padded", (2, 3, 4, 6, 7), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Pooling("2d_padded", (2, 3, 6, 7), (3, 3), (2, 2), (1, 1)),
]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_softpool.py", *map(str, arguments)])
    threads = torch.get_num_threads()
    try:
        bench_softpool.main()
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _without_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the peers compute matters here, not how fast: torch.compile takes seconds each and needs a compiler."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


@pytest.mark.parametrize("name", ["composite", "composite_compiled", "softmax_compiled"])
@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda pooling: pooling.name)
def test_the_peers_compute_softpool(pooling: Pooling, name: str) -> None:
    operations = create_operations(pooling)
    input = torch.randn(pooling.shape, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(pooling.output_shape, dtype=torch.float64)
    expected, found = operations["softpool"](input), operations[name](input)
    torch.testing.assert_close(found, expected)
    (expected_gradient,) = torch.autograd.grad(expected, input, gradient)
    (found_gradient,) = torch.autograd.grad(found, input, gradient)
    torch.testing.assert_close(found_gradient, expected_gradient)


def test_a_run_writes_its_rows_and_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "new" / "speed.json"
    run(monkeypatch, "--quick", "--threads", 1, "--only", "contiguous/bfloat16/forward/", "--output", output)
    record = json.loads(output.read_text())
    assert record["quick"]
    assert record["device"]["threads"] == 1
    assert record["versions"]["torch"] == torch.__version__
    assert "--only contiguous/bfloat16/forward/" in record["command"]
    assert record["small"] == []
    rows = {(row["pooling"], row["operation"], row["data"]): row for row in record["rows"]}
    assert len(rows) == len(record["rows"]) == 4 * 8
    ours, missing = rows["3d_2", "softpool", "normal"], rows["3d_2", "avg_pool", "normal"]
    assert ours["lower_quartile_ms"] <= ours["median_ms"] <= ours["upper_quartile_ms"]
    # 8 x 16 x 56 x 56 cells read, an eighth of them written, two bytes each.
    assert ours["bytes_by_definition"] == ours["bytes_of_copy"] == 2 * 8 * 16 * 56 * 56 * 9 // 8
    # A peer that PyTorch does not have leaves its cell empty and says why.
    assert missing["median_ms"] is None
    assert missing["samples"] == 0
    assert "BFloat16" in missing["error"]


def test_the_small_section_is_in_microseconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "speed.json"
    run(monkeypatch, "--quick", "--only", "small/", "--output", output)
    record = json.loads(output.read_text())
    assert record["rows"] == []
    passes = [(row["pass"], row["operation"]) for row in record["small"]]
    names = ("inference_mode", "forward", "forward_backward")
    assert passes == [(name, operation) for name in names for operation in ("softpool", "max_pool")]
    assert all(row["median_us"] > 0 for row in record["small"])


def test_results_are_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "speed.json"
    output.write_text("kept")
    with pytest.raises(InputError, match="--force"):
        run(monkeypatch, "--output", output)
    assert output.read_text() == "kept"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--rounds", "0"], "--rounds must be at least 1"), (["--only", "no such thing"], "is in no label")],
)
def test_wrong_options_are_named(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=words):
        run(monkeypatch, "--output", tmp_path / "speed.json", *arguments)


def test_wrong_numbers_are_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules["softpool_peers"].SOFTPOOLS, 2, torch.nn.functional.avg_pool2d)
    output = tmp_path / "speed.json"
    with pytest.raises(InputError, match="the output of softpool is wrong"):
        run(monkeypatch, "--quick", "--only", "2d_3/contiguous/float32/forward/softpool", "--output", output)
    assert not output.exists()
