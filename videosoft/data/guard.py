"""Loading with a time limit: a decoder that hangs or crashes costs one video, not the run."""

import contextlib
import functools
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videosoft.data._child import Answer, Child, ChildDiedError, Failure, Load, RemoteTracebackError
from videosoft.data._slots import Slot, SlotRing
from videosoft.data.decoding import ShortVideoError, VideoDecodeError
from videosoft.errors import InputError

# Plain values, and frames.
Loaded = tuple[dict[str, Any], Tensor | None]

# Requests that a child has at once: it goes on with the next one while its answer is read.
_NUM_UNDER_WAY = 2


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

    The tensors lie where the child wrote them, in memory that both see and that is used again when they are gone;
    those of one call of ``load_many`` lie there one behind the other (docs/decisions/0013-clips-without-copies.md).

    Args:
        load: answers a request by (plain values, uint8 tensor or None), or by a list of tensors to be put one behind
            the other along their first dimension; picklable if DataLoader workers are spawned.  What it opens stays in
            the child.
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

    def __call__(self, request: Any) -> Loaded:
        """``load(request)``: its values, and its tensor in the same memory order.

        Raises:
            DecodeTimeoutError: no answer within the time limit.
            DecodeCrashError: the child died.
            Exception: what ``load`` raised, with the child's traceback as its cause.
        """
        [loaded] = self.load_many([request])
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    def load_many(self, requests: Sequence[Any]) -> list[Loaded | Exception]:
        """For each request what a call would return or raise; the child has the next one before it needs it."""
        if not hasattr(os, "fork"):
            _warn_once()
            return load_here(self._load, requests)
        if self._pid != os.getpid():  # a copy in a forked process
            self._start_anew()
        with self._lock:
            return self._ask(requests)

    def close(self) -> None:
        """End the child and give its memory back; a later request starts another."""
        if self._pid == os.getpid():
            with self._lock:
                self._stop()
                self._slots = SlotRing()

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

    def _ask(self, requests: Sequence[Any]) -> list[Loaded | Exception]:
        slot = self._slots.take()
        answers: list[Answer | Exception] = []
        try:
            end = 0
            while len(answers) < len(requests):
                for answer in self._ask_one_child(requests[len(answers) :], slot, end):
                    answers.append(answer)
                    if isinstance(answer, Answer) and answer.frames is not None:
                        end = answer.frames.end
        except BaseException:  # Ctrl-C: the answers still to come must not be taken for those to the next requests
            self._stop()
            slot.release()
            raise
        block = slot.wrap(end)
        return [
            answer
            if isinstance(answer, Exception)
            else (answer.values, None if answer.frames is None else answer.frames.cut_from(block))
            for answer in answers
        ]

    def _ask_one_child(self, requests: Sequence[Any], slot: Slot, position: int) -> Iterator[Answer | Exception]:
        """Answers from one child, in order: of all requests, or up to one that hung or crashed it."""
        if self._child is not None and (self._child.is_orphaned or self._child.has_ended()):
            self._stop()
        if self._child is None:
            self._child = Child(self._load)
        child = self._child
        num_sent = num_answered = 0
        try:
            child.use(slot, position, self.time_limit_seconds)
            while num_answered < len(requests):
                while num_sent < min(len(requests), num_answered + _NUM_UNDER_WAY):
                    child.send(requests[num_sent], self.time_limit_seconds)
                    num_sent += 1
                answer = child.receive(self.time_limit_seconds)
                num_answered += 1
                yield _create_error(answer) if isinstance(answer, Failure) else answer
        except TimeoutError:
            self._stop()
            reason = f"no answer within {self.time_limit_seconds:g} s"
            yield DecodeTimeoutError(_name(requests[num_answered]), reason)
        except ChildDiedError as error:
            self._child = None
            if not child.is_orphaned:  # else it is not the video's fault
                yield DecodeCrashError(_name(requests[num_answered]), f"the decoder {error.reason}")

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
        self._slots = SlotRing()


def load_here(load: Load, requests: Sequence[Any]) -> list[Loaded | Exception]:
    """What :meth:`GuardedLoader.load_many` returns, from this process: without a time limit, each tensor by itself."""
    loaded: list[Loaded | Exception] = []
    for request in requests:
        try:
            values, frames = load(request)
            loaded.append((values, torch.cat(frames) if isinstance(frames, list) else frames))
        except Exception as error:
            loaded.append(error)
    return loaded


def _create_error(failure: Failure) -> Exception:
    """What ``load`` raised, with the child's traceback unless it was to be expected."""
    error = failure.error
    if not isinstance(error, VideoDecodeError | ShortVideoError | InputError):
        error.__cause__ = RemoteTracebackError(failure.trace)
    return error


def _name(request: Any) -> Path:
    """What messages call the video of a request: its ``path``, or the request itself."""
    return Path(str(getattr(request, "path", request))[:500])


@functools.cache
def _warn_once() -> None:
    warnings.warn("this system cannot fork: a video that hangs the decoder hangs the run", stacklevel=3)
