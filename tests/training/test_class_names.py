"""Class names of a recipe: a list, or a file of them, for lists whose labels are numbers."""

from pathlib import Path

import pytest
from lightning_runs import write_video

from videosoft.errors import InputError
from videosoft.training import KineticsDataModule


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        write_video(tmp_path / f"{name}.mp4", 3, rising=True)
    (tmp_path / "list.txt").write_text("a.mp4 2\nb.mp4 0\nc.mp4 2\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text"), [("names.txt", "run\nlong jump\nswim\n"), ("names.json", '{"run": 0, "swim": 2, "long jump": 1}')]
)
def test_names_from_a_file(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)
    data = KineticsDataModule(str(root), annotations=str(root / "list.txt"), class_names=str(root / name))
    data.setup("test")
    assert data.class_names == ("run", "long jump", "swim")
    records = data.get_dataset("test").records
    assert [(record.label_name, record.label) for record in records] == [("swim", 2), ("run", 0), ("swim", 2)]


@pytest.mark.parametrize(("text", "message"), [(None, "names.txt cannot be read"), ("run\njump\n", "label 2 must be")])
def test_names_that_do_not_fit(root: Path, text: str | None, message: str) -> None:
    if text is not None:
        (root / "names.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        KineticsDataModule(str(root), annotations=str(root / "list.txt"), class_names=str(root / "names.txt")).setup(
            "test"
        )
