"""By which names a file is taken for a video."""

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")
"""Of the videos of a data set; of several files with one stem the first of these is taken."""

ANY_VIDEO_SUFFIXES = (*VIDEO_SUFFIXES, ".mov", ".m4v", ".mpg", ".mpeg", ".flv")
"""Of the videos that somebody names by hand, or that another framework has listed."""
