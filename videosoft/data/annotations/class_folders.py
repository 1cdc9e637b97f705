"""Class folders: ``<folder>/<label>/<video>.mp4``, without a list."""

from pathlib import Path

from videosoft.data._names import check_name
from videosoft.data.annotations.entry import Entries, create_file
from videosoft.data.annotations.video_files import list_videos
from videosoft.errors import InputError
from videosoft.video_suffixes import VIDEO_SUFFIXES


def read_class_folders(folder: Path) -> Entries:
    """The videos in the class folders of a split, sorted.

    Raises:
        InputError: no class folder, an empty one, or a name with control characters.
    """
    try:
        class_folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"annotations {folder} cannot be read: {error.strerror or error}") from None
    if not class_folders:
        raise InputError(f"{folder} has no class folders; expected {folder}/<label>/<video>.mp4")
    for class_folder in class_folders:
        label_name = check_name(class_folder.name, f"{folder}: class folder")
        videos = list_videos(class_folder)
        if not videos:
            raise InputError(
                f"class folder {class_folder} is empty: no {', '.join(VIDEO_SUFFIXES)} file in it; "
                "add videos or remove the folder"
            )
        for stem in sorted(videos):
            video_id = check_name(stem, f"{class_folder}: video")
            path = f"{folder.name}/{label_name}/{videos[stem]}"
            yield create_file(path, label_name, None, where=f"{class_folder}/{video_id}")
