"""Surfaces of tubes: where they lie, what they enclose, and what a 3-D viewer finds in the files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from test_rendering import create_figure

from videosoft.explain.rendering import find_surfaces, write_mesh, write_tube_picture

FRAMES = np.full((6, 20, 30, 3), 128, np.uint8)


def create_tube() -> np.ndarray:
    """+2 in a box of 2 x 6 x 8 voxels, early, up and left; -3 in a smaller one, late, down and right."""
    tube = np.zeros((6, 20, 30), np.float32)
    tube[1:3, 2:8, 3:11] = 2
    tube[4:6, 14:18, 20:25] = -3
    return tube


def test_surfaces_enclose_what_exceeds_the_level() -> None:
    positive, negative = find_surfaces(create_tube(), 1.0)
    assert (positive.level, negative.level) == (1.0, -1.0)
    # Half way from a voxel of 2 to one of 0, a third of the way from -3.
    np.testing.assert_allclose(positive.vertices.min(axis=0), [0.5, 1.5, 2.5])
    np.testing.assert_allclose(positive.vertices.max(axis=0), [2.5, 7.5, 10.5])
    np.testing.assert_allclose(negative.vertices.min(axis=0), [4 - 2 / 3, 14 - 2 / 3, 20 - 2 / 3], atol=1e-6)
    for surface, volume in ((positive, 2 * 6 * 8), (negative, 2 * 4 * 5)):
        mesh = trimesh.Trimesh(surface.vertices, surface.faces, process=True)
        assert mesh.is_watertight
        assert abs(mesh.volume) == pytest.approx(volume, rel=0.6)


@pytest.mark.parametrize(("level", "signs"), [(1.0, [1, -1]), (2.5, [-1]), (4.0, [])])
def test_only_surfaces_that_exist_are_found(level: float, signs: list[int]) -> None:
    assert [np.sign(surface.level) for surface in find_surfaces(create_tube(), level)] == signs


def test_a_tube_that_reaches_the_border_is_closed() -> None:
    (surface,) = find_surfaces(np.ones((2, 3, 4), np.float32), 0.5)
    assert trimesh.Trimesh(surface.vertices, surface.faces, process=True).is_watertight
    np.testing.assert_allclose(surface.vertices.max(axis=0), [1.5, 2.5, 3.5])
    (surface,) = find_surfaces(np.full((2, 3, 4), 9.0, np.float32), 0.5)
    np.testing.assert_allclose(surface.vertices.max(axis=0), [1.5, 2.5, 3.5])  # and stays inside the clip


def test_gltf_has_both_surfaces_and_the_last_frame(tmp_path: Path) -> None:
    assert write_mesh(tmp_path / "a.glb", create_tube(), FRAMES, 1.0)
    scene = trimesh.load(tmp_path / "a.glb", force="scene")
    assert set(scene.geometry) == {"tube +1", "tube -1", "last frame"}
    red, blue = (scene.geometry[name] for name in ("tube +1", "tube -1"))
    assert tuple(red.visual.vertex_colors[0][:3]) == (226, 20, 20)
    assert tuple(blue.visual.vertex_colors[0][:3]) == (30, 50, 225)
    # x to the right, y up, time away from the viewer, the width being 1.
    assert red.bounds[:, 0].max() < 0 < blue.bounds[:, 0].min()
    assert blue.bounds[:, 1].max() < 0 < red.bounds[:, 1].min()
    assert blue.bounds[:, 2].max() < red.bounds[:, 2].min()
    np.testing.assert_allclose(red.bounds[:, 0], [3 / 30 - 0.5, 11 / 30 - 0.5], atol=0.02)
    assert red.volume > 0  # the faces look outwards
    assert blue.volume > 0
    backdrop = scene.geometry["last frame"]
    np.testing.assert_allclose(backdrop.bounds[:, 0], [-0.5, 0.5], atol=1e-6)
    assert backdrop.bounds[0, 2] <= min(red.bounds[0, 2], blue.bounds[0, 2]) + 1e-6
    assert [file.name for file in tmp_path.iterdir()] == ["a.glb"]


def test_ply_has_coloured_vertices(tmp_path: Path) -> None:
    assert write_mesh(tmp_path / "a.ply", create_tube(), FRAMES, 1.0)
    mesh = trimesh.load(tmp_path / "a.ply")
    assert {tuple(color[:3]) for color in mesh.visual.vertex_colors.tolist()} == {(226, 20, 20), (30, 50, 225)}


def test_a_tube_without_a_surface(tmp_path: Path) -> None:
    empty = np.zeros((6, 20, 30), np.float32)
    assert not write_mesh(tmp_path / "a.ply", empty, FRAMES, 1.0)
    assert list(tmp_path.iterdir()) == []
    assert not write_mesh(tmp_path / "a.glb", empty, FRAMES, 1.0)
    assert set(trimesh.load(tmp_path / "a.glb", force="scene").geometry) == {"last frame"}


@pytest.mark.parametrize(("num_frames", "num_panels"), [(1, 1), (6, 3)])
def test_the_picture_shows_both_signs(tmp_path: Path, num_frames: int, num_panels: int) -> None:
    write_tube_picture(tmp_path / "tube.png", create_figure(num_frames, num_panels=num_panels))
    with Image.open(tmp_path / "tube.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    for column in np.array_split(pixels, num_panels, axis=1):
        assert ((column[..., 0] - column[..., 2]) > 60).sum() > 500
        assert ((column[..., 2] - column[..., 0]) > 60).sum() > 500


@pytest.mark.parametrize("place", [(0, 0, 0), (3, 41, 51), (2, 101, 202)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_picture_loses_no_single_voxel(tmp_path: Path, place: tuple[int, int, int], sign: int) -> None:
    """Not even of a tube that is thinned out in all directions."""
    figure = create_figure(40, 102, 203)
    tube = np.zeros((40, 102, 203), np.float32)
    tube[place] = 2 * sign
    write_tube_picture(tmp_path / "tube.png", replace(figure, panels=(replace(figure.panels[0], tube=tube),)))
    with Image.open(tmp_path / "tube.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    warmth = (pixels[..., 0] - pixels[..., 2])[150:]  # below the warning, which is red
    assert (sign * warmth > 60).any()
    assert not (sign * warmth < -60).any()
