"""Loading with a time limit: a decoder that hangs or crashes costs one video, not the run."""

import contextlib
import functools
import os
import threading
import warnings
from pathlib import Path
from typing import Any

from torch import Tensor

from videosoft.data._child import Child, ChildDiedError, Failure, Load, RemoteTracebackError
from videosoft.data.decoding import ShortVideoError, VideoDecodeError
from videosoft.errors import InputError


class DecodeTimeoutError(VideoDecodeError):
    """A video was not decoded within the time limit."""


class DecodeCrashError(VideoDecodeError):
    """The process that decoded a video died."""


class GuardedLoader:
    """Runs ``load(request)`` in a child process, for at most ``time_limit_seconds``.

    Decoders are C libraries, and files come from strangers: some make a decoder wait for ever, some make it write
    where it should not.  One child, forked when the first request comes, answers one request after the other; when it
    hangs or dies, it is killed, the request raises, and the next request forks another.  It is a bare fork, since a
    DataLoader's workers may not start a ``multiprocessing.Process``.

    A loader can be copied into another process, by fork or by pickle: each process forks a child of its own.  Threads
    take turns.  What ``load`` draws at random should come with the request, because a new child starts with this
    process's random state, and draws as the one before it.  The child never touches the parent's CUDA context, and
    neither may ``load``.

    Args:
        load: answers a request by (plain values, uint8 tensor or None); picklable if DataLoader workers are spawned.
            What it opens stays in the child.
        time_limit_seconds: for one request, with the fork.

    Raises:
        InputError: the time limit is not positive.
    """

    def __init__(self, load: Load, time_limit_seconds: float) -> None:
        if not time_limit_seconds > 0:
            raise InputError(f"time_limit_seconds must be positive, got {time_limit_seconds}")
        self._load = load
        self.time_limit_seconds = float(time_limit_seconds)
        self._child: Child | None = None
        self._start_anew()

    def __call__(self, request: Any) -> tuple[dict[str, Any], Tensor | None]:
        """``load(request)``: its values, and its tensor as a copy of the caller's own, in the same memory order.

        Raises:
            DecodeTimeoutError: no answer within the time limit.
            DecodeCrashError: the child died.
            Exception: what ``load`` raised, with the child's traceback as its cause.
        """
        if not hasattr(os, "fork"):
            _warn_once()
            return self._load(request)
        if self._pid != os.getpid():  # a copy in a forked process
            self._start_anew()
        with self._lock:
            return self._ask(request)

    def close(self) -> None:
        """End the child; a later request starts another."""
        if self._pid == os.getpid():
            with self._lock:
                self._stop()

    def __enter__(self) -> "GuardedLoader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        # At the interpreter's end modules are half gone; the child then dies with its parent.
        with contextlib.suppress(Exception):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"load": self._load, "time_limit_seconds": self.time_limit_seconds}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _ask(self, request: Any) -> tuple[dict[str, Any], Tensor | None]:
        if self._child is not None and (self._child.is_orphaned or self._child.has_ended()):
            self._stop()
        if self._child is None:
            self._child = Child(self._load)
        child = self._child
        try:
            answer = child.ask(request, self.time_limit_seconds)
        except TimeoutError:
            self._stop()
            raise DecodeTimeoutError(_name(request), f"no answer within {self.time_limit_seconds:g} s") from None
        except ChildDiedError as error:
            self._child = None
            if child.is_orphaned:  # not the video's fault
                return self._ask(request)
            raise DecodeCrashError(_name(request), f"the decoder {error.reason}") from None
        except BaseException:  # Ctrl-C: the answer to this request must not be taken for the next one's
            self._stop()
            raise
        if isinstance(answer, Failure):
            if isinstance(answer.error, VideoDecodeError | ShortVideoError | InputError):
                raise answer.error
            raise answer.error from RemoteTracebackError(answer.trace)
        return answer

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _start_anew(self) -> None:
        if self._child is not None:
            self._child.forget()
        self._child = None
        self._pid = os.getpid()
        self._lock = threading.Lock()


def _name(request: Any) -> Path:
    """What messages call the video of a request: its ``path``, or the request itself."""
    return Path(str(getattr(request, "path", request))[:500])


@functools.cache
def _warn_once() -> None:
    warnings.warn("this system cannot fork: a video that hangs the decoder hangs the run", stacklevel=3)
