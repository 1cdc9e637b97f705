"""tools/compare_predictions.py: the committed pair and the published table by other means, seeds, and wrong input."""

import csv
import json
import pickle
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from statsmodels.stats.contingency_tables import mcnemar

from videosoft.evaluation import write_predictions

REPOSITORY = Path(__file__).resolve().parents[2]
TOOL = REPOSITORY / "tools" / "compare_predictions.py"
RESULTS = REPOSITORY / "docs" / "results"
PAIR = [RESULTS / f"ucf101_mini_{pool}pool" for pool in ("soft", "max")]
TABLE_S2 = RESULTS / "softpool_table_s2" / "cells.csv"
NAMES = tuple("abcdefg")


def run_tool(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path | int) -> int:
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    return int(stop.value.code or 0)


def write_run(path: Path, *, skill: float, seed: int, num_videos: int = 300, **changes: Any) -> Path:
    """Predictions of a made-up run on videos that are the same for all seeds, three clips a source."""
    labels = np.random.default_rng(0).integers(0, 7, num_videos)
    logits = np.random.default_rng(seed).normal(size=(num_videos, 7)).astype(np.float32)
    logits[np.arange(num_videos), labels] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = [
        {
            "video_id": f"v{i}",
            "group_id": f"g{i // 3}",
            "path": f"val/v{i}.mp4",
            "label_name": NAMES[labels[i]],
            "label": int(labels[i]),
            "prediction": int(probabilities[i].argmax()),
            "probabilities": probabilities[i],
            "logits": logits[i],
            "num_views": 30,
            "status": "ok",
        }
        for i in range(num_videos)
    ]
    fields = {"class_names": NAMES, "checkpoint_hash": f"hash{seed}", "protocol": "10x3", **changes}
    write_predictions(path, rows, **fields)
    return path


def test_the_committed_pair_by_other_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(monkeypatch, *PAIR, "--names", "SoftPool", "MaxPool", "--output", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    tables = [pq.read_table(folder / "predictions.parquet").to_pandas().set_index("video_id") for folder in PAIR]
    right = pd.concat([(table.prediction == table.label).rename(i) for i, table in enumerate(tables)], axis=1)
    crossed = pd.crosstab(right[0], right[1]).reindex(index=[True, False], columns=[True, False], fill_value=0)
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    (comparison,) = report["comparisons"]
    videos = comparison["top1"]["by_video"]
    cells = [videos[name] for name in ("both_right", "only_a_right", "only_b_right", "both_wrong")]
    assert cells == crossed.to_numpy().ravel().tolist() == [56, 0, 6, 27]
    assert videos["mcnemar"]["p_value"] == pytest.approx(mcnemar(crossed.to_numpy(), exact=True).pvalue)
    # three of 18 sources differ, all in favour of MaxPool
    by_source = (right[0].astype(int) - right[1].astype(int)).groupby(tables[0].group_id).sum()
    assert sorted(by_source[by_source != 0]) == [-3, -2, -1]
    assert comparison["top1"]["by_source"]["sign_flip_p_value"] == pytest.approx(2 / 2**3)
    assert report["num_sources"] == by_source.size == 18
    assert comparison["same_prediction"] == pytest.approx((tables[0].prediction == tables[1].prediction).mean())
    accuracies = right.groupby(tables[0].label_name).mean()
    for item in comparison["per_class"]:
        found = (item["accuracy_a"], item["accuracy_b"])
        assert found == pytest.approx(tuple(accuracies.loc[item["label_name"]]))
    assert "-6.74" in printed
    assert "| SoftPool wrong | 6 " in printed
    assert "89 videos were cut from 18 sources" in printed
    assert (tmp_path / "out" / "comparison.md").read_text() in printed
    with (tmp_path / "out" / "per_class.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6
    with Image.open(tmp_path / "out" / "comparison.png") as picture:
        picture.verify()


def test_the_committed_comparison_is_what_the_tool_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = RESULTS / "ucf101_mini_comparison"
    monkeypatch.chdir(REPOSITORY)
    pair = [folder.relative_to(REPOSITORY) for folder in PAIR]
    assert run_tool(monkeypatch, *pair, "--names", "SoftPool", "MaxPool", "--output", tmp_path) == 0
    assert (tmp_path / "comparison.md").read_text() == (committed / "comparison.md").read_text()


# Recomputed from the cells of Table S2 of the SoftPool supplement.
CHI_SQUARED = {
    **{"ResNet18": 90.08, "ResNet34": 15.04, "ResNet50": 61.80, "ResNet101": 23.13, "ResNet152": 50.29},
    **{"DenseNet121": 411.02, "DenseNet161": 46.52, "DenseNet169": 27.32, "ResNeXt50": 45.13},
    **{"ResNeXt101": 695.87, "wide-ResNet50": 39.41, "InceptionV1": 106.41, "InceptionV3": 80.19},
}


def test_the_published_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    arguments = (
        "--table",
        TABLE_S2.relative_to(REPOSITORY),
        "--names",
        "SoftPool",
        "original",
        "--output",
        tmp_path / "out",
    )
    assert run_tool(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    rows = {row["name"]: row for row in json.loads((tmp_path / "out" / "comparison.json").read_text())["rows"]}
    assert {name: round(row["mcnemar"]["statistic"], 2) for name, row in rows.items()} == CHI_SQUARED
    assert {row["num_videos"] for row in rows.values()} == {50_000}
    assert {name: row["contradictions"] for name, row in rows.items() if row["contradictions"]} == {
        "wide-ResNet50": [{"total": "total_b_right", "printed": 38781, "summed": 39274}],
        "InceptionV3": [{"total": "total_a_right", "printed": 14874, "summed": 39370}],
    }
    for name, statistic in CHI_SQUARED.items():
        assert f"{statistic:.2f}" in next(line for line in printed.splitlines() if line.startswith(f"| {name} "))
    assert "SoftPool right printed as 14874, by the cells 39370" in printed
    assert "In 2 of the 13 rows a printed total is not the sum of its cells" in printed
    assert printed == (RESULTS / "softpool_table_s2" / "comparison.md").read_text()


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([3795, 3011, 50000], ["chi-squared", "chi2 90.08", "difference A - B: +1.57 points", "+1.25 to +1.89"]),
        ([0, 6], ["exact binomial", "p 0.0312"]),
    ],
)
def test_published_counts(
    counts: list[int], words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(monkeypatch, "--counts", *counts) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in words)


def test_several_seeds_a_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a = [write_run(tmp_path / f"a{seed}.parquet", skill=1.6, seed=seed) for seed in (1, 2, 3)]
    b = [write_run(tmp_path / f"b{seed}.parquet", skill=1.0, seed=seed) for seed in (4, 5, 6)]
    names = ("--names", "better", "worse", "--output", tmp_path / "out")
    assert run_tool(monkeypatch, "--a", *a, "--b", *b, *names) == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    (comparison,) = report["comparisons"]
    tables = [pq.read_table(path).to_pandas() for path in (*a, *b)]
    right = np.array([(table.prediction == table.label).to_numpy() for table in tables])
    accuracies = right.mean(axis=1)
    seeds = comparison["seeds"]
    assert seeds["accuracies_a"]["runs"] == pytest.approx(accuracies[:3].tolist())
    assert seeds["accuracies_a"]["sd"] == pytest.approx(np.std(accuracies[:3], ddof=1))
    assert comparison["top1"]["difference"] == pytest.approx(accuracies[:3].mean() - accuracies[3:].mean())
    assert comparison["top1"]["by_video"] is None
    assert comparison["top1"]["by_source"]["num_sources"] == 100
    assert (seeds["test"]["method"], len(seeds["pairs"])) == ("paired t", 3)
    assert seeds["pairs"][1]["only_a_right"] == int((right[1] & ~right[4]).sum())
    assert [run["side"] for run in report["runs"]] == ["better"] * 3 + ["worse"] * 3
    assert "fewer than five runs a side" in printed
    assert "paired t, 2 degrees of freedom" in printed
    assert run_tool(monkeypatch, "--a", *a, "--b", *b[:2]) == 0
    assert "Welch t" in capsys.readouterr().out


def test_several_others_against_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [write_run(tmp_path / f"r{seed}.parquet", skill=1 + 0.2 * seed, seed=seed) for seed in (1, 2, 3)]
    assert run_tool(monkeypatch, *files, "--output", tmp_path / "out") == 0
    comparisons = json.loads((tmp_path / "out" / "comparison.json").read_text())["comparisons"]
    assert [(item["a"], item["b"]) for item in comparisons] == [("r1", "r2"), ("r1", "r3")]
    p_values = [item["top1"]["by_source"]["sign_flip_p_value"] for item in comparisons]
    adjusted = [item["top1"]["by_source"]["sign_flip_p_value_holm"] for item in comparisons]
    assert min(adjusted) == pytest.approx(min(1, 2 * min(p_values)))
    assert "(Holm)" in capsys.readouterr().out


def test_ours_against_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A SlowFast pickle with its list and an unordered CSV of the same answers: no difference to the original."""
    ours = write_run(tmp_path / "ours.parquet", skill=1.0, seed=1)
    table = pq.read_table(ours).to_pandas()
    scores = torch.from_numpy(np.stack(table.probabilities))
    (tmp_path / "slowfast.pkl").write_bytes(pickle.dumps([30 * scores, torch.tensor(table.label.to_numpy())]))
    (tmp_path / "test.csv").write_text(
        "".join(f"val/{i}.mp4 {y}\n" for i, y in table[["video_id", "label"]].to_numpy())
    )
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    shuffled = table.sample(frac=1, random_state=0)
    pd.DataFrame(
        {
            "video_id": shuffled.video_id,
            "label_name": shuffled.label_name,
            "prediction_name": [NAMES[prediction] for prediction in shuffled.prediction],
        }
    ).to_csv(tmp_path / "mine.csv", index=False)
    arguments = (ours, tmp_path / "slowfast.pkl", tmp_path / "mine.csv", "--list", tmp_path / "test.csv")
    options = ("--class_names", tmp_path / "names.txt", "--output", tmp_path / "out")
    assert run_tool(monkeypatch, *arguments, *options) == 0
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [run["kind"] for run in report["runs"]] == ["videosoft predictions", "SlowFast results", "CSV"]
    for comparison in report["comparisons"]:
        counts = comparison["top1"]["by_video"]
        assert (counts["only_a_right"], counts["only_b_right"]) == (0, 0)
        assert comparison["top1"]["by_source"] | {"sign_flip_p_value_holm": 1.0} == {
            "num_sources": 100,
            "num_sources_that_differ": 0,
            "difference_confidence_interval_95": None,
            "sign_flip_p_value": 1.0,
            "sign_flip_p_value_holm": 1.0,
        }
    assert "the views differ (10x3, unknown)" in capsys.readouterr().out


def test_names_cannot_steer_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [["v1", "=cmd()", "=cmd()"], ["v2", "a|b", "<b>"], ["v3", "\x1b[31mred", "a|b"], ["v4", "<b>", "<b>"]]
    for name in ("a", "b"):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["video_id", "label_name", "prediction_name"], *rows])
    assert run_tool(monkeypatch, tmp_path / "a.csv", tmp_path / "b.csv", "--output", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "<b>" not in printed
    assert r"a\|b" in printed
    assert "'=cmd()" in (tmp_path / "out" / "per_class.csv").read_text()


def test_comparisons_are_not_overwritten_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*PAIR, "--output", tmp_path / "out")
    assert run_tool(monkeypatch, *arguments) == 0
    assert run_tool(monkeypatch, *arguments) == 2
    assert "already holds a comparison: pass --overwrite" in capsys.readouterr().err
    assert run_tool(monkeypatch, *arguments, "--overwrite") == 0


A = "{tmp}/a.parquet"
BAD_INPUT: list[tuple[list[str], str]] = [
    ([], "give files, or --a and --b, or --counts, or --table"),
    ([A], "a comparison needs at least two files"),
    ([A, A, "--counts", "1", "2"], "give files, or --a and --b, or --counts, or --table"),
    (["--a", A], "--a and --b belong together"),
    (["--counts", "1"], "--counts takes two or three numbers"),
    (["--counts", "-1", "2"], "must not be negative, got -1 and 2"),
    (["--counts", "10", "20", "25"], "b + c <= n videos, n at least 1; got 10, 20 and 25"),
    (["--counts", "one", "2"], "invalid int value: 'one'"),
    (["--counts", "1", "2", "--output", "{tmp}/out"], "prints its answer only"),
    ([A, A, "--names", "one"], "--names needs 2 names"),
    ([A, A, "--names", "one", "one"], "two sides of different names, got 'one', 'one'"),
    ([A, "{tmp}/none.parquet"], "none.parquet does not exist"),
    ([A, "{tmp}/empty"], "empty/predictions.parquet does not exist"),
    ([A, "{tmp}/video.mp4"], "video.mp4 is neither a predictions.parquet, nor a pickle"),
    ([A, "{tmp}/foreign.parquet"], "foreign.parquet is not a predictions file of videosoft"),
    ([A, "{tmp}/newer.parquet"], "newer.parquet has format_version 2, newer than 1"),
    ([A, "{tmp}/torn.parquet"], "torn.parquet is not a readable Parquet file"),
    ([A, "{tmp}/nan.csv"], "nan.csv: row 1 has scores that are not finite"),
    ([A, "{tmp}/twice.csv"], "twice.csv: video 'v1' has 2 rows"),
    ([A, "{tmp}/elsewhere.csv"], "no video is in all of the files"),
    ([A, "{tmp}/other_classes.parquet"], "1 of the 7 classes of {tmp}/a.parquet are not in"),
    ([A, "{tmp}/hostile.pkl"], "hostile.pkl: the pickle asks for builtins.print"),
    ([A, A, "--list", "{tmp}/nan.csv"], "nan.csv:1: expected `path label`"),
    ([A, A, "--list", "{tmp}/none.txt"], "cannot read the list"),
    ([A, "{tmp}/hostile.pkl", "--list", "{tmp}/list.txt", "{tmp}/list.txt"], "--list names 2 lists for 1 pickles"),
    ([A, A, "--class_names", "{tmp}/none.txt"], "cannot be read"),
    ([A, A, "--class_names", "{tmp}/same.txt"], "must name each class once"),
    ([A, A, "--output", A], "a.parquet cannot be used"),
    (["--table", "{tmp}/none.csv"], "cannot read the table"),
    (["--table", "{tmp}/nan.csv"], "lacks the columns name, both_right"),
    (["--table", "{tmp}/table.csv"], "table.csv:3: only_a_right must be a count, got '-2'"),
    (["--table", "{tmp}/empty_table.csv"], "has no row"),
    (["--table", "{tmp}/zero_table.csv"], "zero_table.csv:2: no video in any cell"),
]


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    a = write_run(folder / "a.parquet", skill=1, seed=1)
    (folder / "empty").mkdir()
    (folder / "video.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)))
    table = pq.read_table(a)
    pq.write_table(table.replace_schema_metadata(None), folder / "foreign.parquet")
    metadata = json.loads(table.schema.metadata[b"videosoft"]) | {"format_version": 2}
    pq.write_table(table.replace_schema_metadata({"videosoft": json.dumps(metadata)}), folder / "newer.parquet")
    (folder / "torn.parquet").write_bytes(a.read_bytes()[:-500])
    (folder / "nan.csv").write_text("video_id,label,score_0,score_1\nv1,0,nan,1\n")
    (folder / "twice.csv").write_text("video_id,label,prediction\nv1,0,1\nv1,0,1\n")
    (folder / "elsewhere.csv").write_text("video_id,label,prediction\nw1,0,1\n")
    names = [*NAMES[:-1], "x"]
    metadata = json.loads(table.schema.metadata[b"videosoft"]) | {"class_names": names}
    renamed = ["x" if name == "g" else name for name in table["label_name"].to_pylist()]
    other = table.set_column(3, "label_name", [renamed]).replace_schema_metadata({"videosoft": json.dumps(metadata)})
    pq.write_table(other, folder / "other_classes.parquet")
    (folder / "hostile.pkl").write_bytes(b"\x80\x04cbuiltins\nprint\n(Vdone\ntR.")
    (folder / "list.txt").write_text("a.mp4 1\n")
    (folder / "same.txt").write_text("a\na\n")
    header = "name,both_right,only_a_right,only_b_right,both_wrong\n"
    (folder / "table.csv").write_text(f"# remark\n{header}x,1,-2,3,4\n")
    (folder / "empty_table.csv").write_text(header)
    (folder / "zero_table.csv").write_text(f"{header}x,0,0,0,0\n")
    return folder


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT)
def test_bad_input(
    arguments: list[str],
    message: str,
    bad_files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_tool(monkeypatch, *(argument.format(tmp=bad_files) for argument in arguments)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    last = printed.err.splitlines()[-1]
    assert "error: " in last
    assert message.format(tmp=bad_files) in last
    assert not (bad_files / "out").exists()
