"""Tables, progress, summaries: what is written is read, and what is planted is found."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from videosoft.errors import InputError
from videosoft.explain.scores.markdown import format_summary
from videosoft.explain.scores.progress import ClipRecord, ProgressFile
from videosoft.explain.scores.summary import find_correct, list_subjects, summarize
from videosoft.explain.scores.table import Curve, Score, ScoreTable, read_scores, write_curves, write_scores

NAN = float("nan")


def create_record(video_id: str, status: str = "ok", value: float = 0.5) -> ClipRecord:
    scores = (Score("probability", "A", "", value), Score("drift", "A", "", NAN))
    curves = (Curve("insertion", "A", "A", (0.125, value)),)
    return ClipRecord(
        video_id, f"g{video_id}", "Archery", f"/{video_id}.mp4", status, "", scores, curves, {"A": (1, 2, 3)}
    )


def test_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = ScoreTable(
        [("v1", "g1", "Archery"), ("v2", "g1", "Diving | *")],
        [[Score("drift", "A", "", 1.5), Score("drift", "B", "", NAN)], [Score("drift", "A", "", 1 / 3)]],
    )
    write_scores(tmp_path / "scores.parquet", table, {"command": "x"})
    read, metadata = read_scores(tmp_path / "scores.parquet")
    assert metadata == {"format_version": 1, "command": "x"}
    assert (read.video_ids, read.group_ids, read.label_names) == (["v1", "v2"], ["g1", "g1"], ["Archery", "Diving | *"])
    assert list(read.columns) == [("drift", "A", ""), ("drift", "B", "")]
    np.testing.assert_array_equal(read.columns["drift", "A", ""], [1.5, 1 / 3])
    assert np.isnan(read.columns["drift", "B", ""]).all()
    plain = pq.read_table(tmp_path / "scores.parquet")
    assert plain.column_names == ["video_id", "group_id", "label_name", "score", "map", "against", "value"]
    assert plain["value"].to_pylist() == [1.5, None, 1 / 3, None]


def test_curves_are_one_row_each(tmp_path: Path) -> None:
    write_curves(tmp_path / "curves.parquet", ["v1"], [[Curve("deletion", "A", "B", (1.0, 0.5, 0.25))]], {})
    assert pq.read_table(tmp_path / "curves.parquet").to_pylist() == [
        {"video_id": "v1", "score": "deletion", "map": "A", "against": "B", "probabilities": [1.0, 0.5, 0.25]}
    ]


@pytest.mark.parametrize(
    ("metadata", "columns", "message"),
    [
        (None, {"x": [1]}, "is not a table of saliency scores"),
        ({"format_version": 2}, {"x": [1]}, "format_version 2; this version of videosoft reads 1 to 1"),
        ({"format_version": 1}, {"x": [1]}, r"has the columns \['x'\]"),
    ],
)
def test_foreign_tables_are_refused(tmp_path: Path, metadata: dict | None, columns: dict, message: str) -> None:
    table = pa.table(columns)
    if metadata:
        table = table.replace_schema_metadata({"videosoft": json.dumps(metadata)})
    pq.write_table(table, tmp_path / "scores.parquet")
    with pytest.raises(InputError, match=message):
        read_scores(tmp_path / "scores.parquet")


def test_progress_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    settings = {"layers": ("layer1", None), "num_steps": 4}
    begun = ProgressFile(path, settings)
    assert begun.records == {}
    begun.open()
    begun.add(create_record("a"))
    begun.add(create_record("b", status="unreadable"))
    begun.add(create_record("c", value=1 / 3))
    whole = path.read_text()
    path.write_text(whole + '{"video_id": "d", "gro')  # killed in the middle of a line
    resumed = ProgressFile(path, settings)
    assert list(resumed.records) == ["a", "c"]  # what failed is tried again
    assert resumed.records["c"].scores[0] == create_record("c", value=1 / 3).scores[0]
    assert np.isnan(resumed.records["c"].scores[1].value)
    assert resumed.records["a"].curves == create_record("a").curves
    resumed.open()
    resumed.add(create_record("d"))
    assert list(ProgressFile(path, settings).records) == ["a", "c", "d"]
    resumed.remove()
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format_version": 1, "settings": {"num_steps": 8, "layer": "x"}}\n', "differing: num_steps, layer"),
        ('{"format_version": 9, "settings": {"num_steps": 4}}\n', "has format_version 9, not 1"),
        ("[]\n", "is not the progress of a scoring run"),
        ("\n\n", "is not the progress of a scoring run"),
        ('{"format_version": 1, "settings": {"num_steps": 4}}\n{"video_id": "a"}\n', "is not the progress"),
        ("\0\n", "is not the progress of a scoring run"),
    ],
)
def test_progress_of_others_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        ProgressFile(path, {"num_steps": 4})
    assert "--overwrite" in str(caught.value)
    assert path.read_text() == content


def test_a_progress_file_without_a_whole_line_is_as_none(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text('{"format_ver')
    assert ProgressFile(path, {}).records == {}


def plant_table(effect: float, num_clips: int = 40) -> ScoreTable:
    """A beats the even map by ``effect`` in every clip; A is right in three of four clips; two seeds each."""
    rng = np.random.default_rng(0)
    clips, scores = [], []
    for number in range(num_clips):
        clips.append((f"v{number}", f"g{number // 2}", "x"))
        even = rng.uniform(0.2, 0.4)
        clip_scores = [Score("correct", "A", "", float(number % 4 != 0)), Score("probability", "A", "", 0.9)]
        clip_scores += [Score("probability", name, "", 0.9) for name in ("A2", "B", "B2")]
        clip_scores += [Score("correct", "B", "", 1.0)]
        clip_scores += [
            Score("energy_in_box", "A", "true box", even + effect + rng.normal(0, 0.01)),
            Score("energy_in_box", "even map", "true box", even),
        ]
        names = ("A", "A2", "B", "B2")
        for i, name in enumerate(names):
            for other in names[i + 1 :]:
                base = 0.8 if name[0] == other[0] else 0.5
                clip_scores += [
                    Score("rank_correlation", name, other, base + rng.normal(0, 0.05)),
                    Score("top_iou", name, other, NAN),
                ]
        scores.append(clip_scores)
    return ScoreTable(clips, scores)


def test_a_planted_difference_is_found_with_the_source_as_the_unit() -> None:
    table = plant_table(0.2)
    assert list_subjects(table) == ["A", "A2", "B", "B2"]
    summary = summarize(table, np.ones(40, dtype=bool))
    (comparison,) = summary.comparisons
    assert comparison.first == ("energy_in_box", "A", "true box")
    assert comparison.second == ("energy_in_box", "even map", "true box")
    assert (summary.num_clips, summary.num_groups, comparison.result.n) == (40, 20, 20)
    assert comparison.result.median_difference == pytest.approx(0.2, abs=0.02)
    assert comparison.result.p_value == pytest.approx(2 / 2**20)  # all 20 differences positive
    assert comparison.adjusted_p_value == comparison.result.p_value  # the only one
    by_key = {distribution.key: distribution for distribution in summary.distributions}
    column = table.columns["energy_in_box", "A", "true box"]
    assert by_key["energy_in_box", "A", "true box"].median == pytest.approx(np.median(column))
    assert by_key["energy_in_box", "A", "true box"].upper_quartile == pytest.approx(np.percentile(column, 75))
    assert by_key["top_iou", "A", "B"].n == 0


def test_the_noise_floor_of_a_table() -> None:
    floors = summarize(plant_table(0.0), np.ones(40, dtype=bool)).noise_floors
    floor = floors["rank_correlation"]
    assert floor.clips.median_difference == pytest.approx(0.3, abs=0.05)
    assert (floor.num_permutations, floor.permutation_p_value) == (3, pytest.approx(1 / 3))
    assert floors["top_iou"].clips.n == 0


def test_correct_clips_are_those_that_all_variants_get_right() -> None:
    table = plant_table(0.0)
    assert find_correct(table).tolist() == [number % 4 != 0 for number in range(40)]
    assert summarize(table, find_correct(table)).num_clips == 30
    assert summarize(table, np.zeros(40, dtype=bool)).noise_floors == {}


def test_names_from_outside_do_no_harm_in_markdown() -> None:
    hostile = "a|b`c`*<script>alert(1)</script>\x1b[31m"
    header = {
        "command": f"python {hostile}",
        "data": hostile,
        "settings": {"method": "m", "target": hostile, "baseline": "blur", "num_steps": 4},
        "checkpoints": [
            {
                "name": "A",
                "path": hostile,
                "model": {"name": "n", "kwargs": {}},
                "layer": None,
                "grid": [1, 2, 2],
                "checkpoint_hash": "0" * 64,
            }
        ],
        "num_videos": 2,
        "num_scored": 1,
    }
    table = plant_table(0.1)
    summaries = {"All clips": summarize(table, np.ones(40, dtype=bool))}
    text = format_summary(header, summaries, None, [(hostile, "unreadable", hostile)] * 60, ["x.png"])
    outside_code = text.replace(text.split("\n")[2], "")
    assert "<script>" not in outside_code
    assert "\x1b" not in text
    assert text.split("\n")[2].count("`") == 2
    rows = [line for line in text.split("\n") if line.startswith("| A | a")]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 7
    assert "and 10 more" in text
