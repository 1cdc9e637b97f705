"""Which source video a clip was cut from, by its name: clips of one source are not independent of each other."""

import re

_KINETICS_STEM = re.compile(r"^(?P<youtube_id>.+)_\d{6}(\.\d+)?_\d{6}(\.\d+)?$")
_UCF_ID = re.compile(r"^(?P<group>v_.+_g\d+)_c\d+$")  # v_Archery_g08_c01: clip 1 of source video 8


def find_group(stem: str) -> str:
    """The source video of a file: ``v_Archery_g08_c01`` -> ``v_Archery_g08``, ``abc_000001_000011`` -> ``abc``."""
    match = _KINETICS_STEM.match(stem)
    youtube_id = match["youtube_id"] if match else stem
    match = _UCF_ID.match(youtube_id)
    return match["group"] if match else youtube_id
