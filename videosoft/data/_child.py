"""A forked process that answers requests one by one: plain values over a socket, frames in memory that both see."""

import contextlib
import ctypes
import faulthandler
import mmap
import os
import pickle
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Load = Callable[[Any], tuple[dict[str, Any], Tensor | None]]

_LENGTH = struct.Struct("<Q")
_FIRST_MAP_BYTES = 2**20
_PR_SET_PDEATHSIG = 1

# How long a killed process may take to end; one that waits for a dead network disk cannot be killed at all.
_SECONDS_TO_DIE = 1.0

_RESET_SIGNALS = ("SEGV", "BUS", "FPE", "ILL", "ABRT", "TERM", "HUP", "QUIT", "ALRM", "CHLD", "PIPE")


class ChildDiedError(Exception):
    """The process ended before it answered: ``reason`` says how."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RemoteTracebackError(Exception):
    """The traceback of an exception in the child, shown as its cause."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0])


@dataclass(frozen=True)
class Failure:
    """What ``load`` raised, and where."""

    error: Exception
    trace: str


class Child:
    """A process forked from this one, which runs ``load`` and dies with the thread that started it."""

    def __init__(self, load: Load) -> None:
        self._memory = _SharedMemory()
        self._socket, child_end = socket.socketpair()
        self._thread = threading.current_thread()
        parent_pid = os.getpid()
        _flush_output()  # or the child would print it again
        with warnings.catch_warnings():
            # From Python 3.12 on a warning: threads may hold locks.  The child takes none but those of `load`, and
            # if it should hang, it is bounded by the time limit.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            try:
                self._socket.close()
                _prepare_process(parent_pid)
                _serve(load, child_end, self._memory)
            finally:
                os._exit(1)
        child_end.close()

    def ask(self, request: Any, time_limit_seconds: float) -> tuple[dict[str, Any], Tensor | None] | Failure:
        """The answer to a request, its tensor a copy of its own.  Out of step after an exception: ``kill`` it then.

        Raises:
            TimeoutError: no answer within the time limit.
            ChildDiedError: the process ended (and is gone already).
        """
        deadline = time.monotonic() + time_limit_seconds
        try:
            _send(self._socket, request, deadline)
            kind, *answer = _receive(self._socket, deadline)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise ChildDiedError(self.kill()) from None
        if kind == "error":
            return Failure(*answer)
        info, layout = answer
        return info, None if layout is None else self._memory.read(*layout)

    @property
    def is_orphaned(self) -> bool:
        """Whether the thread that started the process has ended: the process then is killed at any moment."""
        return not self._thread.is_alive()

    def has_ended(self) -> bool:
        """Whether the process ended since its last answer."""
        self._socket.setblocking(False)
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def kill(self) -> str:
        """End the process and free what it used; how it had ended, in words."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._socket.settimeout(_SECONDS_TO_DIE)
        has_ended = False
        with contextlib.suppress(OSError):
            while self._socket.recv(65536):
                pass
            has_ended = True
        self.forget()
        try:
            _, status = os.waitpid(self.pid, 0 if has_ended else os.WNOHANG)
        except ChildProcessError:  # reaped by a handler of somebody else's
            return "ended"
        return _describe_status(status)

    def forget(self) -> None:
        """Free this process's ends, and leave the child alone: for a copy of the object in a forked process."""
        self._socket.close()
        self._memory.close()


class _SharedMemory:
    """Bytes that a process and those forked from it see.  They grow with what is written."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._fd = os.memfd_create("videosoft")
        else:
            with tempfile.TemporaryFile() as file:
                self._fd = os.dup(file.fileno())
        os.ftruncate(self._fd, _FIRST_MAP_BYTES)
        self._map = mmap.mmap(self._fd, _FIRST_MAP_BYTES)

    def write(self, tensor: Tensor) -> tuple[list[int], list[int]]:
        """Write a tensor as it lies in memory: its shape in the order of memory, and the permutation to its own."""
        order = sorted(range(tensor.dim()), key=lambda dim: tensor.stride(dim), reverse=True)
        values = tensor.permute(order).contiguous()
        if values.numel() > len(self._map):
            os.ftruncate(self._fd, values.numel())
            self._remap(values.numel())
        np.frombuffer(self._map, np.uint8, values.numel())[:] = values.reshape(-1).numpy()
        return list(values.shape), [order.index(dim) for dim in range(tensor.dim())]

    def read(self, shape: list[int], order: list[int]) -> Tensor:
        """A copy of what was written."""
        values = torch.empty(shape, dtype=torch.uint8)
        if values.numel() > len(self._map):
            self._remap(values.numel())
        values.view(-1).numpy()[:] = np.frombuffer(self._map, np.uint8, values.numel())
        return values.permute(order)

    def close(self) -> None:
        self._map.close()
        os.close(self._fd)

    def _remap(self, num_bytes: int) -> None:
        self._map.close()
        self._map = mmap.mmap(self._fd, num_bytes)


def _prepare_process(parent_pid: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(0)
    import resource  # not on every system, as fork

    faulthandler.disable()
    signal.set_wakeup_fd(-1)
    for name in _RESET_SIGNALS:
        signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_DFL)
    for number in (
        signal.SIGINT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    ):  # Ctrl-C, a scheduler's warning: the parent's business
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no dump of all memory for each bad video
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork; a DataLoader's workers are the threads


def _serve(load: Load, connection: socket.socket, memory: _SharedMemory) -> None:
    while True:
        try:
            request = _receive(connection, None)
        except (EOFError, ConnectionResetError):
            os._exit(0)
        answer: tuple[Any, ...]
        try:
            info, tensor = load(request)
            if tensor is not None and tensor.dtype != torch.uint8:
                raise TypeError(f"load must return a uint8 tensor, got {tensor.dtype}")
            answer = ("ok", info, None if tensor is None else memory.write(tensor))
        except Exception as error:
            answer = ("error", *_prepare_error(error))
        _flush_output()
        _send(connection, answer, None)


def _flush_output() -> None:
    with contextlib.suppress(Exception):  # closed, or not there at all
        sys.stdout.flush()
        sys.stderr.flush()


def _prepare_error(error: Exception) -> tuple[Exception, str]:
    """An exception that can be sent, and its traceback as text."""
    trace = "".join(traceback.format_exception(error))
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = None
    is_sound = type(copy) is type(error) and str(copy) == str(error)
    return (error if is_sound else RuntimeError(f"{type(error).__name__}: {error}")), trace


def _send(connection: socket.socket, message: Any, deadline: float | None) -> None:
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    connection.settimeout(_seconds_until(deadline))
    connection.sendall(_LENGTH.pack(len(content)) + content)


def _receive(connection: socket.socket, deadline: float | None) -> Any:
    (length,) = _LENGTH.unpack(_receive_bytes(connection, _LENGTH.size, deadline))
    return pickle.loads(_receive_bytes(connection, length, deadline))


def _receive_bytes(connection: socket.socket, length: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        connection.settimeout(_seconds_until(deadline))
        part = connection.recv(min(length - len(parts), 2**20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _seconds_until(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    if (seconds := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    return seconds


def _describe_status(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"died of {signal.Signals(number).name}"
        except ValueError:
            return f"died of signal {number}"
    return f"ended with exit code {os.waitstatus_to_exitcode(status)}"
