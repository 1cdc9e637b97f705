"""What a person sees: files decoded again, heat where it was planted, text that stays inside the picture."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from videosoft.atomic_files import replace_when_done, write_json
from videosoft.errors import InputError
from videosoft.explain.rendering import (
    ClipFigure,
    TubePanel,
    clean_text,
    create_color_scale,
    draw_overlay,
    render_overlay_video,
    write_contact_sheet,
    write_gif,
    write_mp4,
    write_overlay_video,
    write_slices,
)
from videosoft.explain.rendering.contact_sheet import select_columns
from videosoft.explain.rendering.overlay_video import MARGIN, MIN_PANEL_SIDE
from videosoft.explain.rendering.slices import find_strongest_row_and_column
from videosoft.explain.rendering.text import draw_text, fit_text

GREY = 128
ODD_TITLE = "a $\\frac{ title_ % & < \x1b[31m\n‮ 射箭 " + "x" * 500


def create_figure(
    num_frames: int = 6,
    height: int = 64,
    width: int = 64,
    *,
    title: str = "clip",
    warning: str | None = "one map for the whole clip: T' = 1",
    num_panels: int = 1,
) -> ClipFigure:
    """Grey frames; every tube says +2 in the upper left quarter, -2 in the lower right, 0 elsewhere."""
    tube = np.zeros((num_frames, height, width), np.float32)
    tube[:, : height // 2, : width // 2] = 2
    tube[:, height // 2 :, width // 2 :] = -2
    return ClipFigure(
        title=title,
        subtitle=title,
        warning=warning,
        frames=np.full((num_frames, height, width, 3), GREY, np.uint8),
        frame_indices=tuple(range(10, 10 + 2 * num_frames, 2)),
        fps=12.5,
        panels=tuple(TubePanel(title, (title, "predicts it (0.99)"), tube) for _ in range(num_panels)),
        scale=create_color_scale([tube]),
    )


def decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_overlay_keeps_signs_apart_and_never_wraps() -> None:
    figure = create_figure()
    tube = figure.panels[0].tube
    picture = draw_overlay(figure.frames, tube, create_color_scale([tube])).astype(int)
    red, blue = picture[..., 0], picture[..., 2]
    assert ((red - blue)[tube > 0] > 60).all()
    assert ((blue - red)[tube < 0] > 60).all()
    assert (picture[tube == 0] == GREY).all()


@pytest.mark.parametrize("frame_value", [0, 255])
def test_overlay_grows_monotonically_with_the_map(frame_value: int) -> None:
    """Stronger evidence is never painted like weaker or opposite evidence, on black and on white frames."""
    values = np.linspace(-3, 3, 601, dtype=np.float32).reshape(1, 1, -1)
    frames = np.full((1, 1, 601, 3), frame_value, np.uint8)
    picture = draw_overlay(frames, values, create_color_scale([values]))[0, 0].astype(int)
    difference = picture[:, 0] - picture[:, 2]
    assert (np.diff(difference) >= -1).all()
    assert difference[0] < -100
    assert difference[-1] > 100


def test_frame_colours_do_not_pass_for_evidence() -> None:
    frames = np.zeros((1, 4, 4, 3), np.uint8)
    frames[..., 0] = 250
    picture = draw_overlay(frames, np.zeros((1, 4, 4), np.float32), create_color_scale([np.zeros(1)]))
    assert (picture == picture[..., :1]).all()


@pytest.mark.parametrize(
    ("tubes", "limit"), [([[1.0, -4.0], [2.0]], 4.0), ([[0.5], [3.0]], 3.0), ([[0.0], [0.0]], 1.0)]
)
def test_one_scale_covers_all_tubes(tubes: list[list[float]], limit: float) -> None:
    assert create_color_scale(np.array(tube) for tube in tubes).limit == limit


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="NaN or infinity"):
        create_color_scale([np.zeros((1, 2, 2)), np.array([[[value, 0.0]]])])


def test_overlay_refuses_other_sizes() -> None:
    with pytest.raises(InputError, match=r"uint8 of shape \(2, 4, 4, 3\)"):
        draw_overlay(
            np.zeros((2, 4, 5, 3), np.uint8), np.zeros((2, 4, 4), np.float32), create_color_scale([np.ones(1)])
        )


@pytest.mark.parametrize(
    ("height", "width", "num_panels", "factor"), [(64, 64, 1, 4), (37, 51, 3, 7), (256, 300, 1, 1)]
)
def test_overlay_video_decodes_with_heat_where_it_was_planted(
    tmp_path: Path, height: int, width: int, num_panels: int, factor: int
) -> None:
    figure = create_figure(height=height, width=width, num_panels=num_panels)
    path = tmp_path / "overlay.mp4"
    write_overlay_video(path, figure)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate) == pytest.approx(12.5)
    frames = decode(path)
    assert len(frames) == 6
    assert all(side % 2 == 0 for side in frames[0].shape[:2])
    assert min(height, width) * factor >= MIN_PANEL_SIDE
    bottom = next(iter(render_overlay_video(figure))).shape[0] - MARGIN
    top = bottom - height * factor - (frames[0].shape[0] - bottom - MARGIN)
    for frame in frames:
        for panel in range(1, 1 + num_panels):
            left = MARGIN + panel * (width * factor + MARGIN)
            pixels = frame[top : top + height * factor, left : left + width * factor].astype(int)
            excess = pixels[..., 0] - pixels[..., 2]  # red over blue
            half_height, half_width = height * factor // 2, width * factor // 2
            margin = 3 * factor  # bilinear enlargement and chroma subsampling blur the border
            assert (excess[: half_height - margin, : half_width - margin] > 60).mean() > 0.95
            assert (excess[half_height + margin :, half_width + margin :] < -60).mean() > 0.95
            assert (abs(excess[: half_height - margin, half_width + margin :]) < 12).mean() > 0.95
        original = frame[top + 4 : top + height * factor - 4, MARGIN + 4 : MARGIN + width * factor - 4].astype(int)
        assert abs(original - GREY).max() <= 4
    assert [file.name for file in tmp_path.iterdir()] == ["overlay.mp4"]


def test_a_gif_has_all_frames_at_their_rate(tmp_path: Path) -> None:
    figure = create_figure(num_panels=2)
    moving = figure.frames + np.arange(0, 60, 10, dtype=np.uint8)[:, None, None, None]
    figure = replace(figure, frames=moving)
    write_overlay_video(tmp_path / "overlay.gif", figure)
    with Image.open(tmp_path / "overlay.gif") as image:
        assert (image.format, image.n_frames, image.info["loop"], image.info["duration"]) == ("GIF", 6, 0, 80)
        for t, expected in enumerate(render_overlay_video(figure)):
            image.seek(t)
            shown = np.asarray(image.convert("RGB")).astype(int)
            assert shown.shape == expected.shape
            assert abs(shown - expected).mean() < 6  # 256 colours, text edges among them


@pytest.mark.parametrize(("fps", "milliseconds"), [(25.0, 40), (12.5, 80), (29.97, 30), (240.0, 20)])
def test_gif_durations_are_those_that_browsers_keep(tmp_path: Path, fps: float, milliseconds: int) -> None:
    write_gif(tmp_path / "a.gif", iter([np.full((8, 8, 3), 50 * t, np.uint8) for t in range(3)]), fps)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["duration"] == milliseconds


def test_slices_are_cut_where_the_tubes_are_strongest(tmp_path: Path) -> None:
    figure = create_figure(num_frames=6, height=40, width=60)
    tube = np.zeros((6, 40, 60), np.float32)
    tube[1:3, 30, 7] = 5  # early, low, left
    tube[4:, 30, 50] = -4
    figure = replace(figure, panels=(TubePanel("A", (), tube),), scale=create_color_scale([tube]))
    assert find_strongest_row_and_column([tube]) == (30, 7)
    assert find_strongest_row_and_column([tube, -3 * np.roll(tube, 1, axis=1)]) == (31, 7)
    write_slices(tmp_path / "slices.png", figure)
    with Image.open(tmp_path / "slices.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    excess = pixels[..., 0] - pixels[..., 2]
    legend = round(0.85 * pixels.shape[1])  # the colour bar lies to the right of it
    red, blue = (np.argwhere(sign * excess[:, :legend] > 60).mean(axis=0) for sign in (1, -1))
    assert red[1] < pixels.shape[1] / 2  # in both slices red comes before blue: early is to the left
    assert (np.argwhere(excess[:, :legend] > 60)[:, 1]).max() > pixels.shape[1] / 2  # the y-t slice has red as well
    assert blue[0] > red[0]  # in the x-t slice the left of the clip is up


@pytest.mark.parametrize("num_frames", [1, 2, 8, 16, 33])
def test_columns_are_evenly_spaced(num_frames: int) -> None:
    columns = select_columns(num_frames)
    assert len(columns) == min(8, num_frames)
    assert 0 <= columns[0] <= columns[-1] < num_frames
    assert len(set(np.diff(columns).tolist())) <= 2
    assert np.ptp(np.diff(columns)) <= 1 if len(columns) > 1 else True


@pytest.mark.parametrize(("num_frames", "num_panels"), [(1, 1), (3, 1), (16, 3)])
def test_contact_sheet_opens_and_shows_both_signs(tmp_path: Path, num_frames: int, num_panels: int) -> None:
    path = tmp_path / "sheet.png"
    write_contact_sheet(path, create_figure(num_frames, num_panels=num_panels))
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    excess = pixels[..., 0] - pixels[..., 2]
    quarter = 187 * 187 / 4  # a cell is 1.25 inches at 150 dpi
    num_cells = num_panels * min(8, num_frames)
    assert (excess > 60).sum() > 0.9 * quarter * num_cells
    assert (excess < -60).sum() > 0.9 * quarter * num_cells


def test_odd_text_is_drawn_as_it_is_without_warnings(tmp_path: Path) -> None:
    figure = create_figure(2, title=ODD_TITLE, warning=ODD_TITLE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_contact_sheet(tmp_path / "sheet.png", figure)
        write_overlay_video(tmp_path / "overlay.mp4", figure)
    assert len(decode(tmp_path / "overlay.mp4")) == 2


@pytest.mark.parametrize(
    "text", ["short", "$x^2$", "v_Archery_g08_c01_000000_000015" * 4, "W" * 1000, "", "i" * 299, "\udcff射\n\t"]
)
@pytest.mark.parametrize("width_inches", [0.5, 3.0])
def test_text_fits_its_width(text: str, width_inches: float) -> None:
    """Measured on the ink itself: nothing is drawn beyond the width, and no text is shortened without need."""
    figure = Figure(figsize=(12, 1), dpi=100)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draw_text(figure, 0, 0.5, text, width_inches=width_inches, size_points=9)
        canvas.draw()
    ink = np.flatnonzero((np.asarray(canvas.buffer_rgba())[..., :3] < 128).any(axis=(0, 2)))
    assert len(ink) == 0 or ink[-1] <= width_inches * 100 + 1
    fitted = fit_text(text, width_inches, 9, weight="normal", dpi=100)
    assert fitted == clean_text(text) or (len(ink) and ink[-1] > width_inches * 100 - 16)


def test_dollar_signs_are_not_formulas() -> None:
    figure = Figure(figsize=(4, 1))
    FigureCanvasAgg(figure)
    draw_text(figure, 0, 0.5, r"$\alpha$", width_inches=4, size_points=9)
    assert not figure.texts[0].get_parse_math()
    figure.canvas.draw()


def test_clean_text_has_no_control_characters() -> None:
    assert clean_text("a\nb\x1b[31m\udcff‮c$") == "a�b�[31m��c$"
    assert len(clean_text("x" * 10_000)) == 300


@pytest.mark.parametrize("fps", [0.5, 12.5, 24000 / 1001, 59.94])
def test_mp4_plays_at_its_rate(tmp_path: Path, fps: float) -> None:
    frames = [np.full((31, 33, 3), 20 * t, np.uint8) for t in range(5)]
    write_mp4(tmp_path / "clip.mp4", iter(frames), fps)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(5) / fps, rtol=1e-3)
    decoded = decode(tmp_path / "clip.mp4")
    assert decoded[0].shape == (32, 34, 3)  # odd sides repeat their last row and column
    for t, frame in enumerate(decoded):
        assert abs(frame.astype(int) - 20 * t).max() <= 4


def test_an_interrupted_video_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")

    def frames_until_interrupted():
        yield from np.zeros((200, 16, 16, 3), np.uint8)  # more than the encoder holds back: the file has begun
        assert len(list(tmp_path.iterdir())) == 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_mp4(path, frames_until_interrupted(), 25)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_complete_or_absent(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []
    write_json(tmp_path / "a.json", {"name": "\udcff射"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"name": "\udcff射"}
    with replace_when_done(tmp_path / "a.json") as temporary_path:
        temporary_path.write_text("{}")
        assert json.loads((tmp_path / "a.json").read_text()) != {}
    assert (tmp_path / "a.json").read_text() == "{}"
