"""Which videos there are, and what they show: lists in the formats that the data sets are published in.

One file a format, each a reader that gives an :class:`Entry` for each listed video; ``read_annotations`` finds the
files.
"""

from videosoft.data.annotations.entry import Entry
from videosoft.data.annotations.formats import AnnotationFormat, detect_format
from videosoft.data.annotations.reading import (
    AnnotationList,
    check_any_found,
    create_entry_table,
    find_list,
    list_entries,
    pause_garbage_collection,
    read_annotations,
)
from videosoft.data.annotations.splits import list_synonyms
from videosoft.data.annotations.video_files import Location, locate_videos
from videosoft.data.records import VideoRecord
from videosoft.video_suffixes import VIDEO_SUFFIXES

__all__ = [
    "VIDEO_SUFFIXES",
    "AnnotationFormat",
    "AnnotationList",
    "Entry",
    "Location",
    "VideoRecord",
    "check_any_found",
    "create_entry_table",
    "detect_format",
    "find_list",
    "list_entries",
    "list_synonyms",
    "locate_videos",
    "pause_garbage_collection",
    "read_annotations",
]
