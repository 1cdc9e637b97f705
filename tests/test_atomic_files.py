"""Folders that cannot take results are named before the work begins, and looking leaves nothing behind."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from videosoft.atomic_files import check_output_folder
from videosoft.errors import InputError


@pytest.mark.parametrize("folder", [".", "new", "new/deep/er"])
def test_a_usable_folder_is_left_as_it_was(folder: str, tmp_path: Path) -> None:
    check_output_folder(tmp_path / folder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["file", "file/below", "x" * 300])
def test_an_unusable_folder_is_named(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=f"output folder .*{folder} cannot be used: .*; name another folder"):
        check_output_folder(tmp_path / folder)
    assert (tmp_path / "file").read_text() == "kept"


def test_processes_that_look_at_the_same_moment_do_not_trip_over_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check_output_folder, [tmp_path / "new" / "deep"] * 400))
