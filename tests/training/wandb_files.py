"""What is in a run's .wandb file: LevelDB's log format (its public description) around wandb's own records."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK_BYTES = 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_wandb_file(path: Path) -> list[Any]:
    """The records of the file, each complete."""
    records = []
    for data in _read_chunks(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        records.append(record)
    return records


def _read_chunks(content: bytes) -> Iterator[bytes]:
    assert content[:4] == b":W&B"
    offset, parts = 7, []
    while offset < len(content):
        left_in_block = BLOCK_BYTES - offset % BLOCK_BYTES
        if left_in_block < 7:  # too small for a header: padding
            offset += left_in_block
            continue
        _, length, kind = struct.unpack("<IHB", content[offset : offset + 7])
        parts.append(content[offset + 7 : offset + 7 + length])
        assert len(parts[-1]) == length, "cut off"
        assert kind in (FULL, FIRST, MIDDLE, LAST)
        offset += 7 + length
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []
    assert not parts, "cut off"
