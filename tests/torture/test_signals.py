"""SIGINT, SIGTERM and SIGHUP at any moment: out soon, with the right code, and all that was left behind in order."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from attrs import define, field

from loader.cli import main
from tests.test_cli import command, environment, locked, of, result, rows, wait_until, write, write_slow_model
from tests.test_executors import children
from tests.torture import SECONDS, TRIED, some, warm
from tests.torture.ends import (
    HANG,
    Files,
    _place,
    check_finished_by_running_again,
    check_intact,
    of_mutant,
    try_each,
)
from tests.torture.syscalls import strace

__all__ = ["_place"]

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
SIGNALS = list(CODES)
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"


@define
class OnTerminal:
    """The program on a pseudo-terminal, and all that came there."""

    process: "warm.Program | subprocess.Popen[bytes]"
    seen: bytearray = field(factory=bytearray)

    def signal(self, number: signal.Signals) -> int:
        """Send a signal, and wait for the end; the exit code. No process of its own is left."""
        TRIED["signals"] += 1
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(HANG)
        if code == CODES[number]:
            SECONDS.append(time.monotonic() - began)
            TRIED["of them before all was done"] += 1
        wait_until(self._is_gone, HANG)
        return code

    def _is_gone(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    @property
    def has_cursor(self) -> bool:
        return self.seen.rfind(SHOW) >= self.seen.rfind(HIDE)


def _heed_signals() -> None:
    """In a child process, also if these tests themselves run in the background, where SIGINT is ignored."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL)


@contextmanager
def on_terminal(*arguments: str, stdin: int = subprocess.DEVNULL, is_warm: bool = True) -> Iterator[OnTerminal]:
    """The program, perhaps a warm one, at work on a pseudo-terminal, in a session of its own; it is not left behind."""
    ours, theirs = os.openpty()

    def read() -> None:
        with suppress(OSError):  # so Linux tells that the other side was closed
            while piece := os.read(ours, 2**16):
                one.seen.extend(piece)

    env = environment(TERM="xterm", COLUMNS="100")
    with (
        warm.begin("loader", *arguments, env=env, streams=(stdin, theirs, theirs), session=True)
        if is_warm
        else subprocess.Popen(
            command(*arguments),
            env=env,
            stdin=stdin,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_heed_signals,
        )
    ) as process:
        os.close(theirs)
        one = OnTerminal(process)
        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield one
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            reader.join()
            os.close(ours)


INSTANTS = [(number, seed) for seed in range(50) for number in SIGNALS]


def test_at_any_moment(files: Files) -> None:
    """The load ends in order, or was done; the result counts what the databases hold, and running again finishes it."""
    try_each(lambda instant: check_instant(*instant, files), some(INSTANTS, 2))


def check_instant(number: signal.Signals, seed: int, files: Files) -> None:
    chance = random.Random(f"{number} {seed}")
    with on_terminal("--data", str(files.path), "--jobs", str(seed % 3), is_warm=seed % 10 > 0) as one:
        wait_until(lambda: HIDE in one.seen)
        time.sleep(chance.uniform(0, 0.12))
        code = one.signal(number)
        told = result()["run"]
        if told["status"] == "interrupted":
            assert code == told["exit_code"] == CODES[number]
        else:  # it came when all was loaded and written, or even behind the last line
            assert told["exit_code"] == 1
            assert code in (1, -number, CODES[number])
    assert one.has_cursor
    assert b"Traceback" not in one.seen, one.seen.decode()
    check_intact()
    assert not list(Path().rglob(".*"))
    check_finished_by_running_again(files)


@pytest.mark.parametrize("number", some(SIGNALS, 1))
@pytest.mark.parametrize("live", some(["never", "always"], 1))
def test_while_stdin_idles(number: signal.Signals, live: str) -> None:
    """What came through the pipe is stored, and the signal does not wait for more of it."""
    reading, writing = os.pipe()
    try:
        with on_terminal("users=-", "--format", "csv", "--live", live, stdin=reading) as one:
            os.write(writing, b"id,name,email\n1,Ann,ann@x.io\n2,Be")
            wait_until(lambda: Path("users.db-wal").exists() and Path("users.db-wal").stat().st_size and _is_idle())
            assert one.signal(number) == CODES[number]
    finally:
        os.close(reading)
        os.close(writing)
    assert one.has_cursor
    assert of(result(), "users")["inserted"] == len(rows("users")) == 1


def test_one_that_another_thread_takes() -> None:
    """Whichever thread the system gives a signal to, the event loop wakes up for it, though nothing else happens."""
    write(
        "taking.py",
        "import signal, sys, threading, time; from loader.cli import main",
        "def take():",
        "    time.sleep(0.2)",
        "    signal.pthread_kill(threading.get_ident(), signal.SIGINT)",
        "threading.Thread(target=take, daemon=True).start()",
        "sys.exit(main(['-qq', 'users=-', '--format', 'csv']))",
    )
    reading, writing = os.pipe()
    with (
        open(reading) as stdin,
        open(writing, "w"),
        warm.begin("taking", env=environment(), streams=(stdin, None, None)) as process,
    ):
        assert process.wait(HANG) == CODES[signal.SIGINT]


def check_interrupted_in_a_commit(files: Files, mutant: str | None) -> None:
    """A batch whose COMMIT is on its way when the signal comes is there, and is counted."""
    log = str(Path("users.db-wal").absolute())
    slow = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_exit=150000", "-P", log]
    program = of_mutant(mutant, "-qq", "--data", str(files.path))
    how: Any = {"streams": (subprocess.DEVNULL,) * 3, "tracer": strace(os.devnull, *slow)}
    with warm.begin(*program, env=environment(), **how) as process:
        wait_until(lambda: Path(log).exists() and Path(log).stat().st_size > 2**18)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG) == CODES[signal.SIGTERM]
    check_intact()


@pytest.mark.skipif(not shutil.which("strace"), reason="strace, which makes a COMMIT take its time, is not there")
@pytest.mark.parametrize("mutant", some([None, "commit not shielded"], 1))
def test_during_a_commit(mutant: str | None, files: Files) -> None:
    """The loader keeps the books right, and one that does not shield its COMMIT is caught."""
    with pytest.raises(AssertionError) if mutant else nullcontext():
        check_interrupted_in_a_commit(files, mutant)


def _is_idle() -> bool:
    with closing(sqlite3.connect("users.db")) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        return bool(tables) and connection.execute("SELECT count(*) FROM users").fetchone() == (1,)


SLOW = """
CREATE TRIGGER slow AFTER INSERT ON users BEGIN
    SELECT count(*) FROM (
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e9) SELECT i FROM n
    );
END
"""


@pytest.mark.parametrize("number", some(SIGNALS, 1))
def test_during_a_long_statement(number: signal.Signals) -> None:
    """A statement that would take minutes is broken off, and its batch is not there."""
    write("empty/users.csv", "id,name,email")
    assert main(["-qq", "-d", "empty", "users"]) == 0
    with closing(sqlite3.connect("users.db")) as connection:
        connection.executescript(SLOW)
    with on_terminal("users") as one:
        wait_until(lambda: HIDE in one.seen)
        time.sleep(0.1)
        assert one.signal(number) == CODES[number]
    assert one.has_cursor
    assert of(result(), "users")["inserted"] == len(rows("users")) == 0
    assert of(result(), "users")["untried"] == of(result(), "users")["read"] == 10


@pytest.mark.parametrize("number", some(SIGNALS, 1))
def test_while_another_program_holds_a_lock(number: signal.Signals) -> None:
    """A lock that is waited for is given up."""
    assert main(["-qq", "users"]) == 1
    write("data/users.csv", "id,name,email", "11,New,new@x.io")
    with locked("users.db"), on_terminal("users") as one:
        wait_until(lambda: HIDE in one.seen)
        time.sleep(0.1)
        assert one.signal(number) == CODES[number]
    assert one.has_cursor
    assert len(rows("users")) == 8


@pytest.mark.parametrize("number", some(SIGNALS, 1))
@pytest.mark.parametrize("jobs", ["0", "2"])
@pytest.mark.parametrize("is_stopped", [False, True], ids=["slow", "stopped"])
def test_parsing_is_not_waited_for(number: signal.Signals, is_stopped: bool, jobs: str) -> None:
    """A model may take its time, and a process that parses may have been stopped: the load ends without them."""
    write_slow_model()
    with on_terminal("users", "--models", "slow.py", "--jobs", jobs) as one:
        wait_until(lambda: HIDE in one.seen)
        for each in children(one.process.pid) if is_stopped else ():
            os.kill(each, signal.SIGSTOP)
        time.sleep(0.1)
        assert one.signal(number) == CODES[number]
    assert one.has_cursor
    assert result()["run"]["status"] == "interrupted"
    assert not rows("users")


@pytest.mark.parametrize("number", some(SIGNALS, 1))
def test_a_second_one_ends_at_once(number: signal.Signals) -> None:
    """Where the first has to wait, here for a model that cannot be stopped, the second does not."""
    write_slow_model(is_deaf=True)
    with on_terminal("users", "--models", "slow.py", "--jobs", "0") as one:
        wait_until(lambda: HIDE in one.seen)
        time.sleep(0.3)
        one.process.send_signal(number)
        time.sleep(0.3)
        assert one.process.poll() is None
        assert one.signal(signal.SIGINT) == 130
    assert one.has_cursor
    assert not rows("users")


def test_a_load_is_out_within_a_second() -> None:
    """Half of those above were, however busy the machine; each is also watched for a hang."""
    assert median([0.0, *SECONDS]) < 1
