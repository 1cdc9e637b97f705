"""The page in headless Chromium: opened, filtered, scrubbed, played, looked at."""

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_up_clips import CLASSES, MODELS, make_clip
from PIL import Image

from videosoft.explain import upsample_map
from videosoft.explain.page import PageClip, PageWriter
from videosoft.explain.page import writing as page_writing
from videosoft.explain.rendering.colors import ColorScale, draw_overlay
from videosoft.explain.rendering.scaling import scale_tubes

PREDICTED = [(a, b) for a in CLASSES[:2] for b in CLASSES[:2]]  # of label archery: both, only A, only B, none
DRAWN = ".clip[data-drawn]"


def write_page(path: Path, clips: list[PageClip], num_models: int = 2) -> None:
    with PageWriter(path, MODELS[:num_models], title="A beside B") as page:
        for clip in clips:
            page.add_clip(clip)


@pytest.fixture
def open_page(browser: Any) -> Any:
    """Opens a page file; what it asks for outside its folder, and its script errors, fail the test."""
    opened = []

    def open_file(path: Path, *, width: int = 1200) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((path.parent.as_uri(), "data:")) else errors.append(request.url)
            ),
        )
        page.goto(path.as_uri())
        page.locator(DRAWN).first.wait_for()
        opened.append((page, errors))
        return page

    yield open_file
    for page, errors in opened:
        assert errors == []
        page.close()


def read_canvas(page: Any, number: int, place: int) -> np.ndarray:
    data = page.evaluate(
        "([number, place]) => document.querySelector(`[data-number='${number}']`)"
        ".querySelectorAll('figure canvas')[place].toDataURL('image/png')",
        [number, place],
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGB"))


def list_shown(page: Any) -> list[int]:
    return page.evaluate("[...document.querySelectorAll('.clip')].map((clip) => Number(clip.dataset.number))")


def test_filters(tmp_path: Path, open_page: Any) -> None:
    clips = [make_clip(n, predicted=PREDICTED[n % 4], label=CLASSES[0] if n < 8 else CLASSES[2]) for n in range(10)]
    write_page(tmp_path / "page.html", clips)
    page = open_page(tmp_path / "page.html")
    assert page.inner_text("#statistics tr:nth-child(2)").split("\t")[1:5] == ["2", "2", "2", "4"]
    expected = {"both_right": [0, 4], "only_a": [1, 5], "only_b": [2, 6], "both_wrong": [3, 7, 8, 9]}
    for outcome, numbers in expected.items():
        page.click(f"[data-outcome={outcome}]")
        assert list_shown(page) == numbers
    page.select_option("#class", CLASSES[2])
    assert list_shown(page) == [8, 9]
    page.click("[data-outcome=only_a]")
    assert list_shown(page) == []
    assert page.inner_text("#count") == "0 of 10 clips"
    page.click("[data-outcome=all]")
    page.select_option("#class", "")
    page.fill("#query", "CLIP_00")
    page.select_option("#order", "sure")
    assert list_shown(page) == list(range(10))
    page.fill("#query", "_007")
    assert list_shown(page) == [7]


@pytest.mark.parametrize("scale", ["pair", "map", "page"])
def test_scrubbing_draws_what_the_exported_pictures_show(tmp_path: Path, open_page: Any, scale: str) -> None:
    """Against draw_overlay, within the rounding of maps to bytes and of JPEG."""
    clips = [make_clip(0, num_frames=5), make_clip(1)]
    write_page(tmp_path / "page.html", clips)
    page = open_page(tmp_path / "page.html")
    page.select_option("#scale", scale)
    slider = page.locator("[data-number='0'] input[type=range]")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.inner_text("[data-number='0'] output") == "frame 4 of 5"
    a, b = clips[0].tubes
    limits = {"pair": [3, 3, 3], "page": [3, 3, 3], "map": [1, 2, 3]}[scale]  # max |a - b| = 1 + 2
    for place, (tube, limit) in enumerate(zip([a, b, a - b], limits, strict=True), start=1):
        expected = draw_overlay(clips[0].frames, tube, ColorScale(limit))[3].astype(int)
        difference = np.abs(read_canvas(page, 0, place).astype(int) - expected)
        assert difference.mean() < 4
        assert np.percentile(difference, 99) < 30
    # The other clip stays where it was.
    assert page.inner_text("[data-number='1'] output") == "frame 1 of 8"


@pytest.mark.parametrize(("scale_name", "outlier"), [("pair", 1), ("rank", 100)])
@pytest.mark.parametrize("num_models", [1, 2])
def test_smooth_maps_are_drawn_as_in_the_exported_pictures(
    tmp_path: Path, open_page: Any, scale_name: str, outlier: float, num_models: int
) -> None:
    """With values of both signs; by ranks also with one that is a hundred times as large."""
    clip = make_clip(0, num_models=num_models)
    size = clip.frames.shape[:3]
    generator = torch.Generator().manual_seed(0)
    tubes = [upsample_map(torch.randn(2, 4, 4, generator=generator), size).numpy() for _ in clip.tubes]
    for tube in tubes:
        tube[0, 0, 0] = outlier * np.abs(tube).max()
    write_page(tmp_path / "page.html", [replace(clip, tubes=tuple(tubes))], num_models)
    page = open_page(tmp_path / "page.html")
    assert page.locator("#scale option[value=map]").count() == num_models - 1  # a clip's only map has its own anyway
    page.select_option("#scale", scale_name)
    drawn, scale = scale_tubes(tubes, scale_name, unit="logits")
    assert page.inner_text(".legend").startswith(scale.label)
    assert float(page.inner_text(".legend li").removeprefix("+")) == pytest.approx(scale.limit, abs=0.05)
    for place, tube in enumerate(drawn, start=1):
        expected = draw_overlay(clip.frames, tube, scale)[0].astype(int)
        difference = np.abs(read_canvas(page, 0, place).astype(int) - expected)
        assert difference.mean() < 4
        assert expected.std() > 20  # and not a blank picture


def test_playing_moves_clips_on_the_screen(tmp_path: Path, open_page: Any) -> None:
    write_page(tmp_path / "page.html", [make_clip(0), make_clip(1)])
    page = open_page(tmp_path / "page.html")
    page.click("#play")
    page.locator(".clip[data-drawn='2']").nth(1).wait_for()  # both at once
    page.click("#play")
    assert page.inner_text("#play") == "play"


def test_two_hundred_clips_load_as_they_are_seen(
    tmp_path: Path, open_page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_writing, "INLINE_BYTES", 50_000)
    folder = tmp_path / "a folder #1"
    folder.mkdir()
    write_page(folder / "page.html", [make_clip(n) for n in range(200)])
    page = open_page(folder / "page.html")
    assert 0 < page.locator(DRAWN).count() < 20
    page.locator("[data-number='199']").scroll_into_view_if_needed()
    page.locator("[data-number='199'][data-drawn='0']").wait_for()
    assert page.locator(DRAWN).count() < 60
    assert read_canvas(page, 199, 1).std() > 5


def test_hostile_names_stay_text(tmp_path: Path, open_page: Any) -> None:
    hostile = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    write_page(tmp_path / "page.html", [make_clip(0, label=hostile, predicted=(hostile, "b"), video_id=hostile)])
    page = open_page(tmp_path / "page.html")
    assert page.title() == "A beside B"
    assert page.inner_text(".clip h2") == hostile
    assert page.locator("img").count() == 0


def test_missing_media_are_said(tmp_path: Path, browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_writing, "INLINE_BYTES", 1)
    write_page(tmp_path / "page.html", [make_clip(0), make_clip(1)])
    (tmp_path / "page_media" / "00000.js").unlink()
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.locator("[data-number='1'][data-drawn='0']").wait_for()
    assert page.inner_text("[data-number='0'] output") == "media could not be loaded: page_media/00000.js is missing"
    page.close()


def test_nothing_sticks_out(tmp_path: Path, open_page: Any) -> None:
    write_page(tmp_path / "page.html", [make_clip(0, video_id="a_very_long_name" * 12)])
    page = open_page(tmp_path / "page.html")
    for width in (360, 800, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    image = np.asarray(Image.open(io.BytesIO(page.screenshot())))
    assert image.std() > 10
