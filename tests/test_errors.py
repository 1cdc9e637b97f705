"""How a command line ends when nobody reads on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from videosoft.errors import run_command

ROOT = Path(__file__).resolve().parents[1]
ENDINGS = {
    "a few lines": "print('a line')",
    "more than a buffer holds": "print('a line\\n' * 100_000)",
    "help": "print('usage'); sys.exit(0)",
    "wrong input": "print('a line'); raise InputError('wrong')",
}


def run_without_reader(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
            check=False,
        )
    finally:
        os.close(writing)


@pytest.mark.parametrize("options", [[], ["-u"]], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_reader_that_goes_away_ends_the_command_quietly(ending: str, options: list[str]) -> None:
    code = (
        "import sys\nfrom videosoft.errors import InputError, run_command\n"
        f"def main():\n    {ENDINGS[ending]}\nsys.exit(run_command(main))"
    )
    done = run_without_reader([*options, "-c", code])
    assert done.returncode == 141
    assert done.stderr == ("error: wrong\n" if ending == "wrong input" and not options else "")


def test_a_tool_that_is_cut_off_says_nothing() -> None:
    done = run_without_reader([str(ROOT / "tools" / "export_saliency.py"), "--help"])
    assert (done.returncode, done.stderr) == (141, "")


def test_another_broken_pipe_stays_an_error() -> None:
    def main() -> None:
        raise BrokenPipeError("a worker is gone")

    with pytest.raises(BrokenPipeError, match="a worker is gone"):
        run_command(main)
