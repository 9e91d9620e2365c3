"""A program that is a copy of one that waits is no other than one that is started."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.test_cli import NAMES, command, environment, result, rows, timeless
from tests.torture import some, warm
from tests.torture.ends import _place
from tests.torture.sharing import share
from tests.torture.syscalls import strace, why_not

__all__ = ["_place"]

SHOW = """
import os, signal, sys, threading
print(__name__, sys.argv[1:], sys.path[0] == os.getcwd(), os.listdir("/proc/self/fd"))
print(sorted({name: len(value) for name, value in os.environ.items()}.items()))
for stream in (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__):
    print(stream and [stream.encoding, stream.errors, stream.line_buffering, stream.write_through, stream.mode])
print([signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)])
print(len(threading.enumerate()), os.getsid(0) == os.getpid(), os.umask(0), os.getpriority(os.PRIO_PROCESS, 0))
import multiprocessing.spawn
print(multiprocessing.spawn.get_preparation_data("x").get("init_main_from_name"))
sys.stdout.flush()
print("never seen"[:int(sys.argv[1])], end="")
sys.exit(7)
"""
"""A program that tells of all that it finds itself with."""


@pytest.mark.parametrize("numbers", some([(0, 1, 2), (0, 1), (1, 2), (1,)], 2), ids=str)
@pytest.mark.parametrize("session", [True, False])
def test_it_finds_itself_with_the_same(numbers: tuple[int, ...], session: bool) -> None:
    """Arguments, streams, signals, environment, session, threads: a program cannot tell how it was begun."""
    Path("shown.py").write_text(SHOW)
    env = environment(TERM="xterm", OWN="é")
    with open(os.devnull, "rb") as nothing, open("started", "wb") as out:
        given: dict[str, Any] = {"stdin": nothing, "stdout": out, "stderr": out}
        closed = partial(_begin_without, {0, 1, 2} - {*numbers})
        line = [sys.executable, "-m", "shown", "0"]
        with subprocess.Popen(line, env=env, start_new_session=session, preexec_fn=closed, **given) as started:
            code = started.wait(10)
    with open(os.devnull, "rb") as nothing, open("warm", "wb") as out:
        streams: list[Any] = [each if number in numbers else None for number, each in enumerate((nothing, out, out))]
        with warm.begin("shown", "0", env=env, streams=streams, session=session) as program:
            assert program.wait(10) == code == 7
    assert Path("warm").read_text().splitlines() == Path("started").read_text().splitlines()


def _begin_without(numbers: Iterable[int]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which it ignores, if these run in the background
    for number in numbers:
        os.close(number)


@pytest.mark.parametrize(
    "arguments",
    some([["--jobs", "2", "--check"], ["-q", "--export", "-"], [], ["--nonsense"], ["--live", "always"]], 2),
    ids=str,
)
def test_a_load_is_the_same(arguments: list[str]) -> None:
    """Exit code, output, databases and result are those of a loader that was started."""
    done = []
    for run in ("started", "warm"):
        if run == "warm":
            end = warm.run("loader", *arguments, env=environment(), timeout=10)
        else:
            end = subprocess.run(command(*arguments), env=environment(), capture_output=True, check=False)
        made = [rows(name) for name in NAMES if Path(f"{name}.db").exists()]
        told = timeless(result()) if Path("result.json").exists() else None
        done.append((end.returncode, re.sub(rb"[\d.]+", b"0", end.stdout), made, told))
        for path in (*Path().glob("*.db*"), *Path().glob("result.json")):
            path.unlink()
    assert done[0] == done[1]


@pytest.mark.skipif(why_not() is not None, reason=f"system calls cannot be traced: {why_not()}")
@pytest.mark.parametrize(("nth", "code"), [(1, 1), (2, 7), (3, 0)])
def test_what_is_traced_is_traced_from_its_first_line(nth: int, code: int) -> None:
    """None of its system calls escapes, whichever is the first, and no other counts."""
    Path("two.py").write_text(
        "import os, sys\nos.mkdir('first')\ntry: os.mkdir('second')\nexcept OSError: sys.exit(7)\n"
    )
    tracer = strace(os.devnull, "-e", "trace=mkdir", "-e", f"inject=mkdir:error=EROFS:when={nth}")
    assert warm.run("two", env=environment(), timeout=10, tracer=tracer).returncode == code


def test_it_can_be_killed_and_waited_for() -> None:
    """What is sent to it, it gets; how it ended is told, and again when asked again."""
    Path("idle.py").write_text("import time; time.sleep(60)")
    with warm.begin("idle", env=environment(), streams=(None, None, None)) as program:
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(0.01)
        assert program.poll() is None
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == program.poll() == -signal.SIGTERM


def test_a_signal_to_one_that_has_just_ended_is_lost() -> None:
    """Between its end and what is told of that, there is nothing to be signalled, and no fault in it."""
    ours, theirs = socket.socketpair()
    with ours, theirs, subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
        warm.Program(["ended"], ended.pid, ours).send_signal(signal.SIGTERM)


def test_cases_that_are_shared_out_are_all_checked(tmp_path: Path) -> None:
    """Each is checked once, and what fails in whatever process fails."""
    share(lambda case: (tmp_path / f"{case}").touch(exist_ok=False), range(50))
    assert {path.name for path in tmp_path.iterdir()} >= {f"{case}" for case in range(50)}
    for wrong in some(range(32), 5):
        with pytest.raises((AssertionError, pytest.fail.Exception), match=f"case {wrong} fails"):
            share(partial(_fail_at, wrong), range(32))


def _fail_at(wrong: int, case: int) -> None:
    assert case != wrong, f"case {wrong} fails"
