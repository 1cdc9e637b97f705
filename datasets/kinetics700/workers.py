"""Work in processes of which each may hang or crash: it costs the one task it was at, and no other."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
_END_SECONDS = 10.0
_START_SECONDS = 120.0  # for a new process to load its modules, which is no part of its first task


class FatalError(Exception):
    """An error that every further task would meet too, such as a full disk: it ends the run."""


@dataclass(frozen=True)
class Outcome(Generic[Task, Result]):
    """What became of a task: its ``result``, or None and the ``reason`` why its process was lost.

    ``death`` tells what a process died of, as in SIGSEGV or exit code 1; it is empty where the time was up.
    """

    task: Task
    result: Result | None
    reason: str = ""
    death: str = ""


class _Worker:
    """A process that does one task after the other, and the end of the pipe to it."""

    def __init__(self, function: Callable[[Any], Any], number: int) -> None:
        # Spawned, so that no thread, lock or open file of this process is copied in mid-work.
        context = multiprocessing.get_context("spawn")
        self.connection, other_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, other_end, os.getpid()), daemon=True)
        self.process.name = f"worker-{number}"
        self.process.start()
        self.process_id = self.process.pid or 0
        other_end.close()
        self.task: Any = None
        self.deadline = float("inf")

    def start(self, task: Any, time_limit_seconds: float) -> None:
        self.task = task
        self.restart_clock(time_limit_seconds)
        with contextlib.suppress(OSError):  # a process that died already is noticed by its closed pipe
            self.connection.send(task)

    def restart_clock(self, time_limit_seconds: float) -> None:
        self.deadline = time.monotonic() + time_limit_seconds

    def retire(self) -> None:
        """Let a process without a task end by itself."""
        self.connection.close()
        self.process.join(_END_SECONDS)
        self.process.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    num_workers: int,
    time_limit_seconds: float = float("inf"),
    on_lost: Callable[[Task, int], None] = lambda task, process_id: None,
) -> Generator[Outcome[Task, Result], None, None]:
    """Call a function (importable, of one picklable task) in ``num_workers`` processes; outcomes come as they are done.

    A process that dies or takes longer than ``time_limit_seconds`` for a task is replaced.  All of them end with this
    iterator, and with this process, however it ends.  ``on_lost`` is told the task and the process id of each that was
    ended, or ended itself, in the middle of a task: what it has left behind can be removed then.

    Raises:
        FatalError: the function raised it, or any other error, which is a mistake in it.
    """
    remaining = iter(tasks)
    workers: list[_Worker] = []
    num_started = 0
    try:
        exhausted = False
        while True:
            while not exhausted and len(workers) < num_workers:
                try:
                    task = next(remaining)
                except StopIteration:
                    exhausted = True
                    break
                workers.append(_Worker(function, num_started))
                num_started += 1
                workers[-1].start(task, time_limit_seconds + _START_SECONDS)
            if not workers:
                return
            soonest = min(worker.deadline for worker in workers)
            ready = wait(
                [worker.connection for worker in workers],
                timeout=None if soonest == float("inf") else max(0.0, soonest - time.monotonic()),
            )
            for worker in list(workers):
                outcome = _look_at(worker, time_limit_seconds, is_ready=worker.connection in ready)
                if outcome is None:
                    continue
                if outcome.reason:
                    workers.remove(worker)
                    worker.kill()
                    on_lost(worker.task, worker.process_id)
                else:
                    try:
                        worker.start(next(remaining), time_limit_seconds)
                    except StopIteration:
                        exhausted = True
                        workers.remove(worker)
                        worker.retire()
                yield outcome
    finally:
        for worker in workers:
            worker.kill()
            on_lost(worker.task, worker.process_id)


def _look_at(worker: _Worker, time_limit_seconds: float, *, is_ready: bool) -> Outcome[Any, Any] | None:
    """What became of a worker's task; None while it is at it."""
    if is_ready:
        outcome = _receive(worker)
        if outcome is None:
            worker.restart_clock(time_limit_seconds)
        return outcome
    if time.monotonic() >= worker.deadline:
        return Outcome(worker.task, None, f"not done after {time_limit_seconds:g} seconds")
    return None


def _receive(worker: _Worker) -> Outcome[Any, Any] | None:
    """What became of a worker's task; None when it is there and begins with it."""
    try:
        kind, content = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        code = worker.process.exitcode or 0
        death = _describe_exit(code)
        return Outcome(worker.task, None, f"its process ended {'by' if code < 0 else 'with'} {death}", death)
    if kind == "ready":
        return None
    if kind == "error":
        raise FatalError(content)
    return Outcome(worker.task, content)


def _describe_exit(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _serve(function: Callable[[Any], Any], connection: Connection, parent: int) -> None:
    """The worker's life: a task in, a result out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the workers
    if sys.platform == "linux":
        # A parent that is killed takes its workers along: none may write on while the next run begins.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return
    connection.send(("ready", None))
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            answer = ("ok", function(task))
        except FatalError as error:
            answer = ("error", str(error))
        except Exception as error:
            answer = ("error", f"{type(error).__name__}: {error} ({task})")
        connection.send(answer)
