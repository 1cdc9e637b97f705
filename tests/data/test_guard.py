"""Requests to a child process that hangs, crashes, raises or answers; no case here sleeps."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from videosoft.data.decoding import ShortVideoError, VideoDecodeError
from videosoft.data.guard import DecodeCrashError, DecodeTimeoutError, GuardedLoader
from videosoft.errors import InputError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

# Far more than an answer takes; only those that shall be reached are short.
LONG, SHORT = 60.0, 0.3

ZEROS = torch.zeros(0, 3, dtype=torch.uint8)
FRAMES = torch.arange(2 * 5 * 7 * 3, dtype=torch.uint8).reshape(2, 5, 7, 3)
TENSORS = {
    "none": None,
    "frames": FRAMES,
    "channels first": FRAMES.permute(3, 0, 1, 2),
    "every other row": FRAMES[:, ::2],
    "expanded": FRAMES[:1].expand(4, -1, -1, -1),
    "empty": ZEROS,
    "scalar": torch.tensor(7, dtype=torch.uint8),
    "larger than before": (torch.arange(3_000_001) % 251).to(torch.uint8),
}


class UnpicklableError(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__("two numbers")


def load(request: Any) -> tuple[dict[str, Any], Tensor | None]:
    """What a request names, done in the child."""
    if isinstance(request, signal.Signals):
        os.kill(os.getpid(), request)
    elif isinstance(request, Exception):
        raise request
    elif request == "exit":
        sys.exit(3)
    elif request == "unpicklable":
        raise UnpicklableError(1, 2)
    elif request == "float":
        return {}, torch.zeros(3)
    elif request == "interrupt the parent":
        os.kill(os.getppid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGSTOP)
    elif request == "matmul":
        return {"sum": float((torch.ones(300, 300) @ torch.ones(300, 300)).sum())}, None
    return {"pid": os.getpid(), "request": request}, TENSORS.get(request) if isinstance(request, str) else None


@pytest.fixture
def loader() -> Iterator[GuardedLoader]:
    with GuardedLoader(load, LONG) as loader:
        yield loader


def child_pid(loader: GuardedLoader) -> int:
    return int(loader("none")[0]["pid"])


def test_answers_come_as_they_are(loader: GuardedLoader) -> None:
    answers = {name: loader(name) for name in TENSORS}  # all kept: none is overwritten by the next
    for name, expected in TENSORS.items():
        info, tensor = answers[name]
        assert info == {"pid": child_pid(loader), "request": name}
        assert info["pid"] != os.getpid()
        if expected is None:
            assert tensor is None
            continue
        assert tensor is not None
        assert torch.equal(tensor, expected)
        assert tensor.dtype == torch.uint8
    assert answers["channels first"][1].stride() == TENSORS["channels first"].stride()


@pytest.mark.parametrize(
    ("request_", "error", "reason"),
    [
        (signal.SIGSEGV, DecodeCrashError, "the decoder died of SIGSEGV"),
        (signal.SIGABRT, DecodeCrashError, "the decoder died of SIGABRT"),
        (signal.SIGKILL, DecodeCrashError, "the decoder died of SIGKILL"),
        (signal.SIGTERM, DecodeCrashError, "the decoder died of SIGTERM"),
        ("exit", DecodeCrashError, "the decoder ended with exit code 1"),
        (signal.SIGSTOP, DecodeTimeoutError, "no answer within 0.3 s"),
    ],
)
def test_a_crash_or_a_hang_costs_one_request(
    loader: GuardedLoader, request_: Any, error: type[VideoDecodeError], reason: str
) -> None:
    before = child_pid(loader)
    loader.time_limit_seconds = SHORT if error is DecodeTimeoutError else LONG
    with pytest.raises(error) as caught:
        loader(request_)
    loader.time_limit_seconds = LONG
    assert (caught.value.path, caught.value.reason) == (Path(str(request_)), reason)
    assert not psutil.pid_exists(before)  # dead, and reaped
    assert child_pid(loader) != before


def test_messages_name_the_path_of_a_request() -> None:
    with (
        GuardedLoader(lambda request: os._exit(1), LONG) as loader,
        pytest.raises(DecodeCrashError, match=r"^a\.mp4: the decoder ended with exit code 1"),
    ):
        loader(SimpleNamespace(path="a.mp4"))


@pytest.mark.parametrize(
    "error",
    [
        VideoDecodeError(Path("a.mp4"), "broken"),
        ShortVideoError(Path("a.mp4"), 3, 16),
        InputError("no such decoder"),
        KeyError("name"),
    ],
)
def test_errors_come_as_they_are(loader: GuardedLoader, error: Exception) -> None:
    before = child_pid(loader)
    with pytest.raises(type(error)) as caught:
        loader(error)
    assert str(caught.value) == str(error)
    assert ("in load" in str(caught.value.__cause__)) == isinstance(error, KeyError)
    assert child_pid(loader) == before


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [("unpicklable", RuntimeError, "UnpicklableError: two numbers"), ("float", TypeError, "uint8.*float32")],
)
def test_answers_that_cannot_be_sent(loader: GuardedLoader, request_: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        loader(request_)
    child_pid(loader)


def test_ctrl_c_is_the_parents_business(loader: GuardedLoader) -> None:
    before = child_pid(loader)
    assert loader(signal.SIGINT)[0]["pid"] == before
    with pytest.raises(KeyboardInterrupt):
        loader("interrupt the parent")
    assert not psutil.pid_exists(before)
    assert loader("frames")[0]["request"] == "frames"


def test_restarts_leave_nothing_behind(loader: GuardedLoader) -> None:
    process = psutil.Process()
    num_fds = process.num_fds()
    children = set(process.children())
    for _ in range(10):
        with pytest.raises(DecodeCrashError):
            loader(signal.SIGSEGV)
        child_pid(loader)
        loader.close()
    assert process.num_fds() == num_fds
    assert set(process.children()) == children


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_copy_in_another_process_has_its_own_child(loader: GuardedLoader, method: str) -> None:
    before = child_pid(loader)
    with multiprocessing.get_context(method).Pool(1) as pool:
        other = pool.apply(child_pid, (loader,))
    assert other not in (before, os.getpid())
    assert child_pid(loader) == before


def test_a_copy_by_fork_leaves_the_childs_alone(loader: GuardedLoader) -> None:
    before = child_pid(loader)
    if (pid := os.fork()) == 0:
        try:
            pid_in_copy = child_pid(loader)
            loader.close()
            os._exit(0 if pid_in_copy != before else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert child_pid(loader) == before


def test_a_pickled_copy_is_equal(loader: GuardedLoader) -> None:
    child_pid(loader)
    copy = pickle.loads(pickle.dumps(loader))
    assert copy.time_limit_seconds == LONG
    assert child_pid(copy) != child_pid(loader)
    copy.close()


def test_the_child_dies_with_its_parent() -> None:
    script = (
        "import os, signal\n"
        "from videosoft.data.guard import GuardedLoader\n"
        "loader = GuardedLoader(lambda request: ({'pid': os.getpid()}, None), 60)\n"
        "print(loader(0)[0]['pid'], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # Returns when nobody holds the pipe to standard output any more: neither the parent nor its child.
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout) > 0


def test_a_loader_outlives_the_thread_that_used_it_first(loader: GuardedLoader) -> None:
    pids: list[int] = []
    for _ in range(5):
        thread = threading.Thread(target=lambda: pids.append(child_pid(loader)))
        thread.start()
        thread.join()
    pids.append(child_pid(loader))
    assert len(set(pids)) == 6  # a child dies with its thread


def test_threads_take_turns(loader: GuardedLoader) -> None:
    wrong: list[Any] = []

    def ask(number: int) -> None:
        wrong.extend(k for k in range(50) if loader((number, k))[0]["request"] != (number, k))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    child_pid(loader)  # forked here, so that it outlives the threads
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_openmp_before_the_fork_does_not_hang_the_child(loader: GuardedLoader) -> None:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        (torch.ones(500, 500) @ torch.ones(500, 500)).sum()
        assert loader("matmul")[0] == {"sum": 300.0**3}
    finally:
        torch.set_num_threads(num_threads)


class Requests(Dataset[str]):
    """Eight requests through one loader, of which one hangs and one crashes."""

    def __init__(self) -> None:
        self.load = GuardedLoader(load, LONG)

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> str:
        self.load.time_limit_seconds = SHORT if index == 5 else LONG
        try:
            info, frames = self.load({2: signal.SIGSEGV, 5: signal.SIGSTOP}.get(index, "frames"))
        except VideoDecodeError as error:
            return error.reason
        return f"{info['request']} {int(frames.sum())}" if frames is not None else "nothing"


@pytest.mark.parametrize(
    ("num_workers", "method"), [(0, None), (2, "fork"), pytest.param(2, "spawn", marks=pytest.mark.slow)]
)
def test_one_video_each_is_lost_in_a_data_loader(num_workers: int, method: str | None) -> None:
    dataset = Requests()
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=num_workers,
        multiprocessing_context=method,
        persistent_workers=num_workers > 0,
    )
    ok = f"frames {int(FRAMES.sum())}"
    expected = [ok] * 8
    expected[2], expected[5] = "the decoder died of SIGSEGV", "no answer within 0.3 s"
    for _ in range(2):
        assert list(loader) == expected
    dataset.load.close()


@pytest.mark.parametrize("time_limit_seconds", [0, -1, float("nan")])
def test_time_limits_that_make_no_sense(time_limit_seconds: float) -> None:
    with pytest.raises(InputError, match="time_limit_seconds must be positive"):
        GuardedLoader(load, time_limit_seconds)


def test_without_fork_it_says_so_and_loads_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    loader = GuardedLoader(load, LONG)
    with pytest.warns(UserWarning, match="cannot fork"):
        assert child_pid(loader) == os.getpid()
