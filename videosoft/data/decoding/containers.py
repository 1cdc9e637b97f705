"""Which files can be read with jumps: decoders jump to wrong frames in some, without an error."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

# How Matroska/WebM and MP4/MOV files begin (MP4 after the four bytes of the first box's length).
_MATROSKA_MAGIC = b"\x1a\x45\xdf\xa3"
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")

# Codecs of MP4 files whose frames decord finds: H.264, VP8, VP9, AV1.  Not H.265 and MPEG-4 Part 2.
_EXACT_MP4_CODECS = (b"avc1", b"avc3", b"vp08", b"vp09", b"av01")

_MAX_INDEX_BYTES = 64 * 2**20
_MAX_TOP_LEVEL_BOXES = 100

_Boxes = dict[bytes, list[memoryview]]


def is_seekable(path: Path) -> bool:
    """Whether the container keeps an index and the time of each frame: MP4 and Matroska, not AVI, MPEG-PS/TS, ASF."""
    with path.open("rb") as file:
        start = file.read(8)
    return start[:4] == _MATROSKA_MAGIC or start[4:8] in _MP4_BOXES


def keeps_order(pts: np.ndarray, key_frames: np.ndarray) -> bool:
    """Whether no frame that follows a key frame in the file is shown before it, as in open groups of pictures.

    ``pts`` are the frames' presentation times in the order of the file, ``key_frames`` positions in it.
    """
    earliest_from_here = np.minimum.accumulate(pts[::-1])[::-1]
    return bool((earliest_from_here[key_frames] >= pts[key_frames]).all())


def is_plain_mp4(path: Path) -> bool:
    """Whether the index of an MP4 file shows that jumps are exact; False where it does not, or is of a rarer kind.

    Five times as fast as reading all packets, which the caller does where this says False.  Exact are files of one
    video track, of H.264, VP8, VP9 or AV1, without fragments, whose edit list cuts no frame away and whose key frames
    keep the order.  (ISO/IEC 14496-12, 8.6: stts, ctts, stss, elst.)
    """
    try:
        with path.open("rb") as file:
            index = _read_index(file)
        return index is not None and _check_index(index)
    except (ValueError, IndexError, KeyError, OverflowError, OSError):  # damaged, or made to do harm
        return False


def _check_index(index: memoryview) -> bool:
    movie = _find_boxes(index)
    if b"mvex" in movie:
        return False
    tracks = [_find_boxes(track) for track in movie[b"trak"]]
    media = [_find_boxes(track[b"mdia"][0]) for track in tracks]
    videos = [i for i, boxes in enumerate(media) if bytes(boxes[b"hdlr"][0][8:12]) == b"vide"]
    if len(videos) != 1:
        return False
    track, boxes = tracks[videos[0]], media[videos[0]]
    table = _find_boxes(_find_boxes(boxes[b"minf"][0])[b"stbl"][0])
    if bytes(table[b"stsd"][0][12:16]) not in _EXACT_MP4_CODECS or b"stps" in table:
        return False
    pts = _read_presentation_times(table)
    if pts is None or not _shows_all(track, _read_timescale(movie[b"mvhd"]), _read_timescale(boxes[b"mdhd"]), pts):
        return False
    if b"stss" not in table:  # all are key frames
        return b"ctts" not in table
    key_frames = _read_table(table[b"stss"][0], 1)[:, 0] - 1
    return bool(key_frames.size and key_frames.min() >= 0 and key_frames.max() < pts.size) and keeps_order(
        pts, key_frames
    )


def _read_presentation_times(table: _Boxes) -> np.ndarray | None:
    num_frames = int.from_bytes(table[b"stsz"][0][8:12], "big")
    durations = _read_table(table[b"stts"][0], 2)
    dts = _repeat(durations, num_frames)
    if dts is None:
        return None
    pts = np.concatenate([[0], np.cumsum(dts)[:-1]])
    if b"ctts" in table:
        offsets = _repeat(_read_table(table[b"ctts"][0], 2), num_frames)
        if offsets is None:
            return None
        pts = pts + offsets
    return pts


def _repeat(runs: np.ndarray, num_frames: int) -> np.ndarray | None:
    """Run-length coded values, one a frame; None where they are not as many (nor is memory taken for them)."""
    counts = runs[:, 0]
    if num_frames < 1 or num_frames > _MAX_INDEX_BYTES or counts.min(initial=0) < 0 or counts.sum() != num_frames:
        return None
    return np.repeat(runs[:, 1], counts)


def _shows_all(track: _Boxes, movie_timescale: int, timescale: int, pts: np.ndarray) -> bool:
    """Whether the track's edit list, if it has one, is a single piece with all the frames."""
    if b"edts" not in track:
        return True
    edits = _find_boxes(track[b"edts"][0])[b"elst"][0]
    if edits[0] != 0:  # of 64 bits
        return False
    entries = _read_table(edits, 3)
    if len(entries) != 1 or movie_timescale < 1:
        return False
    duration, start, _ = (int(value) for value in entries[0])
    end = start + duration * timescale / movie_timescale
    return 0 <= start <= pts.min() and end > pts.max()


def _read_timescale(boxes: list[memoryview]) -> int:
    header = boxes[0]
    offset = 20 if header[0] == 1 else 12
    return int.from_bytes(header[offset : offset + 4], "big")


def _read_table(box: memoryview, num_columns: int) -> np.ndarray:
    """Rows of 32-bit numbers behind a box's version and row count: int64 (rows, num_columns)."""
    num_rows = int.from_bytes(box[4:8], "big")
    num_bytes = 4 * num_columns * num_rows
    if len(box) < 8 + num_bytes:
        raise ValueError("a table longer than its box")
    return np.frombuffer(box[8 : 8 + num_bytes], dtype=">i4").astype(np.int64).reshape(num_rows, num_columns)


def _find_boxes(content: memoryview) -> _Boxes:
    found: _Boxes = {}
    for name, start, end in _walk_boxes(content):
        found.setdefault(name, []).append(content[start:end])
    return found


def _walk_boxes(content: memoryview) -> Iterator[tuple[bytes, int, int]]:
    position = 0
    while position + 8 <= len(content):
        size, name = (
            int.from_bytes(content[position : position + 4], "big"),
            bytes(content[position + 4 : position + 8]),
        )
        if size < 8 or position + size > len(content):
            raise ValueError("a box larger than what contains it")
        yield name, position + 8, position + size
        position += size


def _read_index(file: BinaryIO) -> memoryview | None:
    """The content of the moov box; None where there is none, or one that is too large to be true."""
    position = 0
    for _ in range(_MAX_TOP_LEVEL_BOXES):
        header = file.read(16)
        size, name = int.from_bytes(header[:4], "big"), header[4:8]
        header_size = 8
        if size == 1:
            size, header_size = int.from_bytes(header[8:16], "big"), 16
        if name == b"moof" or size < header_size:
            return None
        if name == b"moov":
            if size > _MAX_INDEX_BYTES:
                return None
            file.seek(position + header_size)
            return memoryview(file.read(size - header_size))
        position += size
        file.seek(position)
    return None
