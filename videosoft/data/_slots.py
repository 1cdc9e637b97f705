"""Shared memory that is used again: frames are written once, and read where they lie by whoever takes them last.

A process that loads has a few slots.  The child that decodes for it writes into one; the process wraps what was written
as a tensor, and may hand it to another process, which wraps the same memory.  The slot is free again when the last
tensor of it is gone, wherever that was.  Fresh memory would cost more than the copies: the kernel has to clear it and
to enter it page by page in every process (docs/decisions/0013-clips-without-copies.md).
"""

import itertools
import mmap
import os
import tempfile
import weakref
from collections.abc import Sequence
from multiprocessing import reduction
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Of a slot's memory; the first byte says whether it is in use, the frames begin behind all of them.
_HEADER_BYTES = 64
_FIRST_BYTES = 2**20

# Slots that a process keeps; further ones, for somebody who collects batches, are given back to the system.
_NUM_KEPT = 8

SlotKey = tuple[int, int, int]


class SharedMemory:
    """An anonymous file as memory, which grows with what is written; other processes open it by its descriptor."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _create_file() if descriptor is None else descriptor
        self.map = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)

    def write(self, parts: Sequence[Tensor], position: int) -> tuple[list[int], list[int], int]:
        """Write tensors, one behind the other, as they lie in memory.

        ``parts`` differ in their first dimension only.

        Returns:
            The shape of the whole in the order of memory, its permutation to their own, and where it ends.
        """
        order = sorted(range(parts[0].dim()), key=lambda dim: parts[0].stride(dim), reverse=True)
        shape = [sum(part.shape[dim] for part in parts) if dim == 0 else parts[0].shape[dim] for dim in order]
        if len(parts) > 1 and order[0] != 0:
            raise ValueError("parts must lie in memory in the order of their first dimension")
        end = position + sum(part.numel() for part in parts)
        self.reserve(end)
        for part in parts:
            self.wrap(position, part.numel()).view([part.shape[dim] for dim in order]).copy_(part.permute(order))
            position += part.numel()
        return shape, [order.index(dim) for dim in range(len(order))], end

    def reserve(self, end: int) -> None:
        """Make room for what ends at a position, and see what another process has made room for."""
        if _HEADER_BYTES + end <= len(self.map):
            return
        if _HEADER_BYTES + end > os.fstat(self.descriptor).st_size:
            os.ftruncate(self.descriptor, _HEADER_BYTES + end)
        # The old map stays as long as somebody reads there: it is the same memory.
        self.map = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)

    def wrap(self, position: int, num_bytes: int) -> Tensor:
        """A part of the memory, as a tensor: uint8 (num_bytes,)."""
        if not num_bytes:
            return torch.empty(0, dtype=torch.uint8)
        return torch.from_numpy(np.frombuffer(self.map, np.uint8, num_bytes, _HEADER_BYTES + position))

    def close(self) -> None:
        """Give back the descriptor; the memory follows with its last tensor."""
        os.close(self.descriptor)


class Slot:
    """Memory that is either free or in use by tensors of one load; ``key`` names it in all processes."""

    def __init__(self, memory: SharedMemory, key: SlotKey, *, is_kept: bool) -> None:
        self.memory = memory
        self.key = key
        self.is_kept = is_kept
        self._was_sent = False
        self._closing = weakref.finalize(self, memory.close)

    @property
    def is_free(self) -> bool:
        return self.memory.map[0] == 0

    def take(self) -> None:
        """Mark it as in use."""
        self.memory.map[0] = 1

    def release(self) -> None:
        """Mark it as free."""
        self.memory.map[0] = 0

    def wrap(self, num_bytes: int) -> Tensor:
        """Its first bytes, uint8 (num_bytes,), in use until this tensor and all views of it are gone."""
        self.memory.reserve(num_bytes)
        array = np.frombuffer(self.memory.map, np.uint8, num_bytes, _HEADER_BYTES)
        lease = _Lease(self, num_bytes)
        _leases[array.ctypes.data] = lease
        weakref.finalize(array, lease.end, array.ctypes.data).atexit = False
        return torch.from_numpy(array)

    def describe(self) -> tuple[SlotKey, bool, Any]:
        """What another process needs to find it: the key, whether to keep it, and at the first time its memory."""
        descriptor = None if self._was_sent else reduction.DupFd(self.memory.descriptor)
        self._was_sent = self.is_kept
        return self.key, self.is_kept, descriptor


class SlotRing:
    """The slots of one process."""

    def __init__(self) -> None:
        self._slots: list[Slot] = []
        self._numbers = itertools.count()
        self._token = int.from_bytes(os.urandom(6), "little")

    def take(self) -> Slot:
        """A slot that was free."""
        slot = next((slot for slot in self._slots if slot.is_free), None)
        if slot is None:
            key = (os.getpid(), self._token, next(self._numbers))
            slot = Slot(SharedMemory(), key, is_kept=len(self._slots) < _NUM_KEPT)
            if slot.is_kept:
                self._slots.append(slot)
        slot.take()
        return slot


class SentTensors:
    """Tensors on their way to another process: those in slots stay where they are, others are left alone.

    Use one object for all tensors of one message, so that they arrive in one piece.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, _SentBlock] = {}

    def pack(self, tensor: Tensor) -> Any:
        """What to send instead; unpickled by ``unpack``."""
        start = tensor.untyped_storage().data_ptr()
        lease = _leases.get(start)
        if lease is None or lease.process != os.getpid():
            return tensor
        block = self._blocks.setdefault(start, _SentBlock(lease))
        return block, tensor.shape, tensor.stride(), tensor.storage_offset()


def unpack_tensor(packed: Any) -> Tensor:
    """A tensor that :class:`SentTensors` has packed, in the process that it was sent to."""
    if isinstance(packed, Tensor):
        return packed
    block, shape, stride, offset = packed
    return torch.as_strided(block, shape, stride, offset)


class _Lease:
    """The use of a slot by the tensors of this process."""

    def __init__(self, slot: Slot, num_bytes: int) -> None:
        self.slot = slot
        self.num_bytes = num_bytes
        self.process = os.getpid()
        self._is_handed_over = False

    def hand_over(self) -> None:
        """Leave it to another process to free the slot."""
        self._is_handed_over = True

    def end(self, address: int) -> None:
        if self.process != os.getpid():  # a forked copy: the slot is not ours
            return
        del _leases[address]
        if not self._is_handed_over:
            self.slot.release()


class _SentBlock:
    """All tensors of one slot: arrives as the slot's bytes."""

    def __init__(self, lease: _Lease) -> None:
        self._lease = lease

    def __reduce__(self) -> tuple[Any, ...]:
        self._lease.hand_over()
        return _receive_block, (*self._lease.slot.describe(), self._lease.num_bytes)


# By the address of their memory.
_leases: dict[int, _Lease] = {}

# Of other processes, opened here.
_opened: dict[SlotKey, Slot] = {}


def _receive_block(key: SlotKey, is_kept: bool, descriptor: Any, num_bytes: int) -> Tensor:
    if descriptor is not None:
        slot = Slot(SharedMemory(descriptor.detach()), key, is_kept=is_kept)
        if is_kept:
            _forget_ended_processes()
            _opened[key] = slot
    else:
        slot = _opened[key]
    return slot.wrap(num_bytes)


def _forget_ended_processes() -> None:
    for key in list(_opened):
        try:
            os.kill(key[0], 0)
        except ProcessLookupError:
            del _opened[key]
        except PermissionError:
            pass


def _create_file() -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("videosoft")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _FIRST_BYTES)
    return descriptor
