"""A forked process that answers requests one by one: plain values over a socket, frames in a slot of shared memory."""

import contextlib
import ctypes
import faulthandler
import os
import pickle
import signal
import socket
import struct
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from videosoft.data._slots import SharedMemory, Slot

# Answers a request by plain values and uint8 frames: one tensor, several to be put one behind the other, or none.
Load = Callable[[Any], tuple[dict[str, Any], Tensor | list[Tensor] | None]]

_LENGTH = struct.Struct("<Q")
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


@dataclass(frozen=True)
class Answer:
    """What ``load`` returned: plain values, and where in the slot its frames lie."""

    values: dict[str, Any]
    frames: "Layout | None"


@dataclass(frozen=True)
class Layout:
    """A tensor in a slot: its bytes from ``start`` to ``end``, its shape in their order, the permutation to its own."""

    start: int
    end: int
    shape: list[int]
    order: list[int]

    def cut_from(self, block: Tensor) -> Tensor:
        """The tensor, out of the slot's bytes."""
        return block[self.start : self.end].view(self.shape).permute(self.order)


class Child:
    """A process forked from this one, which runs ``load`` and dies with the thread that started it.

    Requests are answered in their order; a second one may be sent while the first is under way.
    """

    def __init__(self, load: Load) -> None:
        self._socket, child_end = socket.socketpair()
        self._thread = threading.current_thread()
        self._known: set[int] = set()  # numbers of slots that it has open
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
                _serve(load, child_end)
            finally:
                os._exit(1)
        child_end.close()

    def use(self, slot: Slot, position: int, time_limit_seconds: float) -> None:
        """Have the frames of the requests to come written into ``slot``, one behind the other from ``position`` on.

        Raises:
            As ``receive``.
        """
        number = slot.key[-1]
        is_new = number not in self._known
        with self._noticing_death():
            deadline = time.monotonic() + time_limit_seconds
            _send(self._socket, _Target(number, position, is_new, slot.is_kept), deadline)
            if is_new:
                socket.send_fds(self._socket, [b"\0"], [slot.memory.descriptor])
                if slot.is_kept:
                    self._known.add(number)

    def send(self, request: Any, time_limit_seconds: float) -> None:
        """Ask.

        Raises:
            As ``receive``.
        """
        with self._noticing_death():
            _send(self._socket, request, time.monotonic() + time_limit_seconds)

    def receive(self, time_limit_seconds: float) -> Answer | Failure:
        """The answer to the earliest request that has none yet.  Out of step after an exception: ``kill`` it then.

        Raises:
            TimeoutError: no answer within the time limit.
            ChildDiedError: the process ended (and is gone already).
        """
        with self._noticing_death():
            answer: Answer | Failure = _receive(self._socket, time.monotonic() + time_limit_seconds)
            return answer

    @contextlib.contextmanager
    def _noticing_death(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise ChildDiedError(self.kill()) from None

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


@dataclass(frozen=True)
class _Target:
    """Where a child is to write from now on; its descriptor follows where the slot is new."""

    number: int
    position: int
    is_new: bool
    is_kept: bool


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
    # Ctrl-C, a scheduler's warning: the parent's business.
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no dump of all memory for each bad video
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork; a DataLoader's workers are the threads


def _serve(load: Load, connection: socket.socket) -> None:
    kept: dict[int, SharedMemory] = {}
    memory: SharedMemory | None = None
    position = 0
    while True:
        try:
            request = _receive(connection, None)
            if isinstance(request, _Target):
                if memory is not None and memory not in kept.values():
                    memory.close()
                if request.is_new:
                    memory = SharedMemory(_receive_descriptor(connection))
                    if request.is_kept:
                        kept[request.number] = memory
                else:
                    memory = kept[request.number]
                position = request.position
                continue
        except (EOFError, ConnectionResetError):
            os._exit(0)
        answer: Answer | Failure
        try:
            assert memory is not None
            values, frames = load(request)
            layout = None
            if frames is not None:
                layout = _write(frames, memory, position)
                position = layout.end
            del frames
            answer = Answer(values, layout)
        except Exception as error:
            answer = _prepare_error(error)
        _flush_output()
        _send(connection, answer, None)


def _write(frames: Tensor | list[Tensor], memory: SharedMemory, position: int) -> Layout:
    parts = [frames] if isinstance(frames, Tensor) else frames
    for part in parts:
        if part.dtype != torch.uint8:
            raise TypeError(f"load must return a uint8 tensor, got {part.dtype}")
    shape, order, end = memory.write(parts, position)
    return Layout(position, end, shape, order)


def _receive_descriptor(connection: socket.socket) -> int:
    connection.settimeout(None)
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
    if not descriptors:
        raise EOFError
    return descriptors[0]


def _flush_output() -> None:
    with contextlib.suppress(Exception):  # closed, or not there at all
        sys.stdout.flush()
        sys.stderr.flush()


def _prepare_error(error: Exception) -> Failure:
    """An exception that can be sent, and its traceback as text."""
    trace = "".join(traceback.format_exception(error))
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = None
    is_sound = type(copy) is type(error) and str(copy) == str(error)
    return Failure(error if is_sound else RuntimeError(f"{type(error).__name__}: {error}"), trace)


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
