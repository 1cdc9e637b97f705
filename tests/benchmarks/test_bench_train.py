"""The benchmark of the training loop: both loops do the same work, and its page shows what was measured."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import bench_train
import first_step
import pytest
import render_train
import summarize_gpu_check
import training_turns
from result_pages import find_results, read_record
from training_turns import Turns

from videosoft.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "demo"
    prepare = [sys.executable, str(ROOT / "datasets" / "demo" / "prepare.py"), "--output", str(root)]
    subprocess.run([*prepare, "--num_train", "32", "--num_val", "8"], check=True, capture_output=True)
    return root


@pytest.mark.slow
def test_both_loops_come_to_the_same_weights(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "train.json"
    cases = ("demo", "demo, reading videos")
    arguments = ["--quick", "--root", str(demo), "--output", str(output), "--only", *cases]
    monkeypatch.setattr(sys, "argv", ["bench_train.py", *arguments])
    bench_train.main()
    record = json.loads(output.read_text())
    assert [row["name"] for row in record["rows"]] == list(cases)
    for row in record["rows"]:
        assert row["same_weights"]
        assert row["clip"] == [8, 64, 64]
        assert [len(row["seconds"][loop]) for loop in ("bare", "lightning")] == [1, 1]
        assert row["ratios"] == [pytest.approx(row["seconds"]["lightning"][0] / row["seconds"]["bare"][0], abs=1e-3)]
    with pytest.raises(InputError, match="--quick"):
        read_record(output, render_train.SCRIPT, render_train.FORMAT_VERSION)
    with pytest.raises(InputError, match="exists already"):
        bench_train.main()


@pytest.mark.slow
def test_the_first_step_of_a_training_is_seen(demo: Path) -> None:
    arguments = ["--config", "r3d50_softpool_demo.yaml", "--data.root", str(demo), "--run.wandb", "off"]
    measured = first_step.measure_first_step([*arguments, "--trainer.accelerator", "cpu"], num_runs=1)
    assert 0 < measured["median_seconds"] == measured["seconds"][0]
    assert measured["median_cpu_seconds"] > 0


def test_a_command_that_fails_is_no_measurement() -> None:
    assert first_step.measure_help(num_runs=2)["median_seconds"] > 0
    with pytest.raises(InputError, match="unknown verb"):
        first_step.measure_help("fot", num_runs=1)


def test_seconds_of_turns_become_those_of_rounds() -> None:
    turns = Turns(num_rounds=2, steps_a_round=4, steps_a_turn=2, reads_videos=False)
    assert turns.num_turns == 7  # a round to warm up, two that count, and one that nobody sees the end of
    assert turns.sum_rounds([9.0, 9.0, 1.0, 2.0, 3.0, 4.0]) == [3.0, 7.0]


def test_recipes_that_do_more_than_the_bare_loop_are_refused() -> None:
    def create_cli(**changed: object) -> SimpleNamespace:
        trainer = {"precision": "32-true", "accumulate_grad_batches": 1, "gradient_clip_val": None} | changed
        augmentation = SimpleNamespace(pixels_on_device=False, changes_pixels=True, mixes_batches=False)
        return SimpleNamespace(
            trainer=SimpleNamespace(**trainer), datamodule=SimpleNamespace(augmentation=augmentation, num_repeats=1)
        )

    training_turns.check_recipe(create_cli())
    for changed in ({"precision": "16-mixed"}, {"accumulate_grad_batches": 2}, {"gradient_clip_val": 1.0}):
        with pytest.raises(InputError, match=next(iter(changed))):
            training_turns.check_recipe(create_cli(**changed))


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--only", "demi"], ["--device", "cuda"]])
def test_wrong_arguments(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_train.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["bench_train.py", *arguments])
    with pytest.raises(InputError, match=arguments[0]):
        bench_train.parse_arguments()


def create_record(device: str) -> dict:
    row = {
        "name": "some case",
        "batch_size": 8,
        "clip": [8, 64, 64],
        "ratios": [1.01, 1.05, 1.02],
        "lightning_over_bare": 1.02,
        "median_step_ms": {"bare": 98.761, "lightning": 100.9},
        "added_ms_a_step": 2.139,
        "clips_per_second": 79.29,
        "percent_of_bf16_peak": 12.345 if device == "cuda" else None,
        "same_weights": None if device == "cuda" else True,
    }
    versions = dict.fromkeys(("videosoft", "torch", "python", "compiler", "lightning", "torchmetrics", "wandb"), "1")
    entry = {"seconds": [9.5, 8.0, 9.0], "cpu_seconds": [11.0]}
    start = {} if device == "cuda" else {"first_step": entry, "help": {"lightning --help": entry}}
    return start | {
        "command": "python benchmarks/bench_train.py",
        "date": "2020-01-01",
        "rounds": 3,
        "device": {"type": device, "name": "a device"},
        "versions": versions | {"revision": None},
        "load_average": {"start": 0.0, "end": 1.0},
        "rows": [row],
    }


def test_the_page_shows_medians_and_ranges() -> None:
    page = render_train.render_document([create_record("cpu"), create_record("cuda")])
    row = "| some case | 8 x 3 x 8 x 64 x 64 | 98.8 | 101 | 2.1 | 1.020 (1.010, 1.050) |"
    assert f"{row} 79.3 | yes |" in page
    assert f"{row} 79 | 12.3 |" in page
    assert "| `lightning --help` | 9.0 (8.0, 9.5) | 11.0 (11.0, 11.0) |" in page


def test_the_page_shows_the_committed_measurements() -> None:
    paths = find_results("train")
    document = ROOT / render_train.DOCUMENT
    assert document.exists() == bool(paths), "run `python benchmarks/render_train.py`"
    if paths:
        records = [read_record(path, render_train.SCRIPT, render_train.FORMAT_VERSION) for path in paths]
        expected = render_train.render_document(records)
        assert document.read_text(encoding="utf-8") == expected, "run `python benchmarks/render_train.py`"


def test_the_gpu_check_names_the_loops_ratios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gpu_check_logs").mkdir()
    (tmp_path / "gpu_check_logs" / "stages.tsv").write_text("train\t0\t60\n")
    (tmp_path / "train_x.json").write_text(json.dumps(create_record("cuda")))
    monkeypatch.setattr(sys, "argv", ["summarize_gpu_check.py", "--gpu", "x", "--results", str(tmp_path)])
    summarize_gpu_check.main()
    found = json.loads((tmp_path / "gpu_check_x.json").read_text())["targets"]
    assert [(target["measured"], target["limit"], target["met"]) for target in found] == [(1.02, 1.02, True)]
    assert "training loop, some case, Lightning / bare" in capsys.readouterr().out


def test_a_share_of_the_peak_counts_three_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_train.torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    # r3d50 at 16 x 112^2 as in networks.json: 10.07 GMAC, 60.4 GFLOP a clip forward and backward.
    share = bench_train.find_percent_of_peak(10_069_925_888, 1000.0, "cuda")
    assert share == pytest.approx(100 * 60.42e12 / 989.4e12, rel=1e-3)
    assert bench_train.find_percent_of_peak(10_069_925_888, 1000.0, "cpu") is None
