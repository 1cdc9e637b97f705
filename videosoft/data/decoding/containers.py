"""Which files can be read with jumps: decoders jump to wrong frames in some, without an error."""

import struct
from dataclasses import dataclass
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

_BOX_HEADER = struct.Struct(">I4s")

# Where a box's content begins and ends.
_Span = tuple[int, int]
_Boxes = dict[bytes, list[_Span]]


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


@dataclass(frozen=True)
class Mp4Index:
    """The frames of an MP4 file as its index has them, by their position in the file; times in ticks of the track.

    Demuxers count from another first time (edit lists move it), all by the same number of ticks.
    """

    pts: np.ndarray
    dts: np.ndarray
    key_frames: np.ndarray


def read_plain_index(path: Path) -> Mp4Index | None:
    """The index of an MP4 file in which every decoder's jumps are exact; None where it is not, or is of a rarer kind.

    Five times as fast as reading all packets, which the caller does where this says None.  Exact are files of one
    video track, of H.264, VP8, VP9 or AV1, without fragments, whose edit list cuts no frame away and whose key frames
    keep the order.  (ISO/IEC 14496-12, 8.6: stts, ctts, stss, elst.)
    """
    try:
        with path.open("rb") as file:
            content = _read_index(file)
        return None if content is None else _parse_index(content)
    except (ValueError, IndexError, KeyError, OverflowError, OSError, struct.error):  # damaged, or made to do harm
        return None


def _parse_index(content: bytes) -> Mp4Index | None:
    movie = _find_boxes(content, 0, len(content))
    if b"mvex" in movie:
        return None
    tracks = [_find_boxes(content, *track) for track in movie[b"trak"]]
    media = [_find_boxes(content, *track[b"mdia"][0]) for track in tracks]
    videos = [i for i, boxes in enumerate(media) if _read_name(content, boxes[b"hdlr"][0], 8) == b"vide"]
    if len(videos) != 1:
        return None
    track, boxes = tracks[videos[0]], media[videos[0]]
    table = _find_boxes(content, *_find_boxes(content, *boxes[b"minf"][0])[b"stbl"][0])
    if _read_name(content, table[b"stsd"][0], 12) not in _EXACT_MP4_CODECS or b"stps" in table:
        return None
    times = _read_times(content, table)
    if times is None or not _shows_all(content, track, movie[b"mvhd"][0], boxes[b"mdhd"][0], times[0]):
        return None
    pts, dts = times
    if b"stss" not in table:  # all are key frames
        return None if b"ctts" in table else Mp4Index(pts, dts, np.arange(pts.size))
    key_frames = _read_table(content, table[b"stss"][0], 1)[:, 0] - 1
    if not key_frames.size or key_frames.min() < 0 or key_frames.max() >= pts.size or not keeps_order(pts, key_frames):
        return None
    return Mp4Index(pts, dts, key_frames)


def _read_times(content: bytes, table: _Boxes) -> tuple[np.ndarray, np.ndarray] | None:
    """Presentation and decoding time of each frame."""
    num_frames = _read_integer(content, table[b"stsz"][0], 8)
    durations = _repeat(_read_table(content, table[b"stts"][0], 2), num_frames)
    if durations is None:
        return None
    dts = np.zeros(num_frames, np.int64)
    np.cumsum(durations[:-1], out=dts[1:])
    if b"ctts" not in table:
        return dts, dts
    offsets = _repeat(_read_table(content, table[b"ctts"][0], 2), num_frames)
    return None if offsets is None else (dts + offsets, dts)


def _repeat(runs: np.ndarray, num_frames: int) -> np.ndarray | None:
    """Run-length coded values, one a frame; None where they are not as many (nor is memory taken for them)."""
    counts = runs[:, 0]
    if num_frames < 1 or num_frames > _MAX_INDEX_BYTES or counts.min(initial=0) < 0 or counts.sum() != num_frames:
        return None
    return np.repeat(runs[:, 1], counts)


def _shows_all(content: bytes, track: _Boxes, movie_header: _Span, media_header: _Span, pts: np.ndarray) -> bool:
    """Whether the track's edit list, if it has one, is a single piece with all the frames."""
    if b"edts" not in track:
        return True
    edits = _find_boxes(content, *track[b"edts"][0])[b"elst"][0]
    if content[edits[0]] != 0:  # of 64 bits
        return False
    entries = _read_table(content, edits, 3)
    movie_timescale = _read_timescale(content, movie_header)
    if len(entries) != 1 or movie_timescale < 1:
        return False
    duration, start, _ = entries[0].tolist()
    end = start + duration * _read_timescale(content, media_header) / movie_timescale
    return bool(0 <= start <= pts.min() and end > pts.max())


def _read_timescale(content: bytes, header: _Span) -> int:
    return _read_integer(content, header, 20 if content[header[0]] == 1 else 12)


def _read_integer(content: bytes, box: _Span, offset: int) -> int:
    (value,) = struct.unpack_from(">I", content, box[0] + offset)
    return int(value)


def _read_name(content: bytes, box: _Span, offset: int) -> bytes:
    return content[box[0] + offset : box[0] + offset + 4]


def _read_table(content: bytes, box: _Span, num_columns: int) -> np.ndarray:
    """Rows of 32-bit numbers behind a box's version and row count: int64 (rows, num_columns)."""
    start, end = box
    num_rows = _read_integer(content, box, 4)
    if end < start + 8 + 4 * num_columns * num_rows:
        raise ValueError("a table longer than its box")
    values = np.frombuffer(content, ">i4", num_columns * num_rows, start + 8)
    return values.astype(np.int64).reshape(num_rows, num_columns)


def _find_boxes(content: bytes, start: int, end: int) -> _Boxes:
    """What lies between two positions: the name of each box, and where its content begins and ends."""
    found: _Boxes = {}
    while start + 8 <= end:
        size, name = _BOX_HEADER.unpack_from(content, start)
        if size < 8 or start + size > end:
            raise ValueError("a box larger than what contains it")
        found.setdefault(name, []).append((start + 8, start + size))
        start += size
    return found


def _read_index(file: BinaryIO) -> bytes | None:
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
            return file.read(size - header_size)
        position += size
        file.seek(position)
    return None
