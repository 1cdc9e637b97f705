"""The page's files, without a browser."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from made_up_clips import CLASSES, MODELS, make_clip

from videosoft.errors import InputError
from videosoft.explain.page import OUTCOMES, PageModel, PageWriter, count_outcomes, sort_outcome
from videosoft.explain.page import writing as page_writing


@pytest.mark.parametrize(
    ("label", "predicted", "outcome"),
    [
        ("x", ["x"], "right"),
        ("x", ["y"], "wrong"),
        (None, ["y"], "unlabelled"),
        ("x", ["x", "x"], "both_right"),
        ("x", ["x", "y"], "only_a"),
        ("x", ["y", "x"], "only_b"),
        ("x", ["y", "y"], "both_wrong"),
        ("x", ["y", "z"], "both_wrong"),
        (None, ["y", "y"], "unlabelled"),
    ],
)
def test_outcomes(label: str | None, predicted: list[str], outcome: str) -> None:
    assert sort_outcome(label, predicted) == outcome
    assert outcome in OUTCOMES[len(predicted)]


def test_statistics_are_of_labelled_videos() -> None:
    outcomes = ["both_right"] * 60 + ["only_a"] * 10 + ["only_b"] * 2 + ["both_wrong"] * 8 + ["unlabelled"] * 5
    statistics = count_outcomes(outcomes, OUTCOMES[2], scope="videos")
    assert statistics.num_labelled == 80
    assert statistics.accuracies == (70 / 80, 62 / 80)
    test = statistics.test_difference()
    assert test is not None
    # two-sided binomial of 2 in 12: 2 * (1 + 12 + 66) / 2^12
    assert (test.p_value, test.method) == (pytest.approx(2 * 79 / 4096), "exact binomial")


@pytest.mark.parametrize("counts", [["unlabelled"] * 3, []])
def test_statistics_without_labels(counts: list[str]) -> None:
    statistics = count_outcomes(counts, OUTCOMES[2], scope="videos")
    assert statistics.accuracies is None
    assert statistics.test_difference() is None


@pytest.mark.parametrize(
    ("num_models", "shown", "absent"), [(1, "this model", "two models"), (2, "two models", "this model")]
)
def test_the_caution_fits_the_number_of_models(tmp_path: Path, num_models: int, shown: str, absent: str) -> None:
    with PageWriter(tmp_path / "page.html", MODELS[:num_models], title="page") as page:
        page.add_clip(make_clip(0, num_models=num_models))
    head = (tmp_path / "page.html").read_text(encoding="utf-8").partition("</header>")[0].partition("<header>")[2]
    assert shown in head
    assert absent not in head


def test_names_cannot_leave_their_place(tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)><!--script-->\x1b[31m"
    clip = make_clip(0, label=hostile, predicted=(hostile, "a"), video_id=hostile)
    path = tmp_path / "page.html"
    with PageWriter(path, [PageModel(hostile, (hostile,))] * 2, title=hostile, notes=[hostile]) as page:
        page.add_clip(clip)
    text = path.read_text(encoding="utf-8")
    assert "<img" not in text
    assert "\x1b" not in text
    assert text.count("</script>") == 3  # content, one clip's media, the script
    match = re.search(r'<script type="application/json" id="content">(.*?)</script>', text)
    assert match is not None
    assert json.loads(match.group(1))["clips"][0]["video_id"].startswith("</script><img")


def test_large_pages_have_their_media_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_writing, "INLINE_BYTES", 10_000)
    path = tmp_path / "page.html"
    with PageWriter(path, MODELS, title="large") as page:
        for number in range(9):
            page.add_clip(make_clip(number))
    assert sorted(file.name for file in (tmp_path / "page_media").iterdir()) == [f"{n:05d}.js" for n in range(9)]
    assert 'id="media-' not in path.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="exists already"):
        PageWriter(path, MODELS, title="again")
    # A small page in the place of a large one leaves nothing of it.
    with PageWriter(path, MODELS, title="small", overwrite=True) as page:
        page.add_clip(make_clip(0, num_frames=1, side=8))
    assert not (tmp_path / "page_media").exists()


def test_interrupted_page_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_writing, "INLINE_BYTES", 1)

    def write() -> None:
        with PageWriter(tmp_path / "page.html", MODELS, title="cut") as page:
            page.add_clip(make_clip(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert not list(tmp_path.iterdir())


def test_foreign_media_folder_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "page_media"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match="holds other files"):
        PageWriter(tmp_path / "page.html", MODELS, title="page", overwrite=True)


def test_wrong_content_is_refused(tmp_path: Path) -> None:
    clip = make_clip(0)
    for change, message in [
        ({"tubes": (clip.tubes[0],)}, "one or two models"),
        ({"tubes": (clip.tubes[0], clip.tubes[1][1:])}, "does not fit frames"),
        ({"tubes": (clip.tubes[0], clip.tubes[1] * np.nan)}, "NaN"),
        ({"frames": clip.frames.astype(np.float32)}, "uint8"),
        ({"fps": 0.0}, "fps must be positive"),
    ]:
        with pytest.raises(InputError, match=message):
            type(clip)(**{**clip.__dict__, **change})
    with pytest.raises(InputError, match="no clip"), PageWriter(tmp_path / "empty.html", MODELS, title="empty"):
        pass
    with (
        pytest.raises(InputError, match="1 maps, the page 2"),
        PageWriter(tmp_path / "one.html", MODELS, title="one") as page,
    ):
        page.add_clip(make_clip(0, num_models=1, predicted=CLASSES[:1]))
    assert not list(tmp_path.iterdir())
