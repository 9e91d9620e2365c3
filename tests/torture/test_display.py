"""Terminals and streams of all kinds: the load is completed, and the exit code tells of the data or of the result."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import product
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import pytest

from loader.cli import main
from tests.test_cli import command, environment, result, stored, totals
from tests.torture import TRIED, some, warm
from tests.torture.ends import HANG, Files, _place, check_intact, try_each
from tests.torture.terminal import terminal

__all__ = ["_place"]

T = TypeVar("T")

KINDS = "terminals, streams and renderers"


@pytest.fixture(autouse=True)
def _counted() -> None:
    TRIED[KINDS] += 1


def try_kinds(check: Callable[[T], None], cases: Sequence[T]) -> None:
    """Check each of these cases, and count them."""
    TRIED[KINDS] += len(cases) - 1  # one is the test itself
    try_each(check, cases)


TOTALS = {"read": 30, "inserted": 22, "rejected": 8}

# --- streams ---------------------------------------------------------------------------------------------------------


@contextmanager
def _gone() -> Iterator[int]:
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)


@contextmanager
def _terminal() -> Iterator[int]:
    """A terminal that is read from."""
    with terminal() as made:
        yield made.theirs


@contextmanager
def _hung_up() -> Iterator[int]:
    """A pseudo-terminal whose other side was closed."""
    ours, theirs = pty.openpty()
    os.close(ours)
    try:
        yield theirs
    finally:
        os.close(theirs)


STREAMS: Mapping[str, Any] = {
    "closed": None,
    "full": "/dev/full",
    "gone": _gone,
    "hung up": _hung_up,
    "terminal": _terminal,
    "file": "stream",
}
TAKES = {"terminal", "file"}
EXPORTS = {"result.json": "result.json", "-": None, "/dev/full": "/dev/full", "none": None}
CASES = [
    (out, err, export, live) for out in STREAMS for err in STREAMS for export in EXPORTS for live in ("auto", "always")
]


def _close(descriptors: Sequence[int]) -> None:
    for each in descriptors:
        os.close(each)


def run(out: str, err: str, *arguments: str, is_warm: bool) -> int:
    """Run the program, perhaps a warm one, with streams of these kinds; its exit code."""
    with ExitStack() as stack:
        streams: list[Any] = [subprocess.DEVNULL]
        for name, kind in (("stdout", out), ("stderr", err)):
            how = STREAMS[kind]
            if isinstance(how, str):
                streams.append(stack.enter_context(open(how if how != "stream" else name, "wb")))
            else:
                streams.append(how and stack.enter_context(how()))
        env = environment(TERM="xterm")
        if is_warm:
            return stack.enter_context(warm.begin("loader", *arguments, env=env, streams=streams)).wait(HANG)
        given = dict(zip(("stdin", "stdout", "stderr"), streams, strict=True))
        closing = partial(_close, [number for number, stream in enumerate(streams) if stream is None])
        done = subprocess.run(command(*arguments), env=env, preexec_fn=closing, timeout=HANG, check=False, **given)
        return done.returncode


def test_streams_of_all_kinds() -> None:
    """The load has the same end; only a result that could not be written where it was wanted makes the code a 3."""
    try_kinds(check_streams, some(CASES, 3))


def check_streams(case: tuple[str, str, str, str]) -> None:
    """One of eight is started for it: how Python begins is a matter of its streams as well."""
    out, err, export, live = case
    is_warm = (export, live) != ("result.json", "auto")
    code = run(out, err, "--export", export, "--live", live, "--max-rejects", "4", is_warm=is_warm)
    is_written = out in TAKES if export == "-" else export != "/dev/full"
    assert code == (0 if is_written else 3)
    check_intact()
    assert stored() == (8, 8, 6)
    assert {path.name for path in Path("rejects").iterdir()} == {"users.csv", "products.csv", "orders.csv"}
    if export == "result.json":
        assert totals(result()) == TOTALS
    if export == "-" and out == "file":
        assert totals(result("stdout")) == TOTALS
    if err == "file":
        told = Path("stderr").read_text(encoding="utf-8")
        assert "Traceback" not in told
        assert is_written == ("loader: " not in told)
        assert is_written or "cannot be written" in told


@pytest.mark.parametrize("arguments", some(["", "-q", "--export -", "--live always", "--export - -qq"], 1))
def test_a_reader_that_has_enough(arguments: str, files: Files) -> None:
    """Piped into `head -1` the load is completed; only a result that did not go into the pipe is complained of."""
    line = f"{{ {' '.join(command('--data', str(files.path)))} {arguments}; echo $? >code; }} | head -1"
    done = subprocess.run(line, shell=True, env=environment(), capture_output=True, timeout=HANG, check=True)
    assert b"Traceback" not in done.stderr
    is_cut = "--export -" in arguments and b"loader: the result cannot be written to stdout" in done.stderr
    assert Path("code").read_text(encoding="utf-8") == ("3\n" if is_cut else "1\n")
    check_intact()
    assert tuple(map(len, files.databases)) == stored()


# --- terminals -------------------------------------------------------------------------------------------------------

TERMINALS: list[Mapping[str, str]] = [
    *({"COLUMNS": columns, "LINES": lines} for columns in ("0", "1", "10", "99999", "x") for lines in ("0", "24")),
    {"TERM": "dumb"},
    {"TERM": ""},
    {"TERM": "no such terminal"},
    {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    {"LC_ALL": "C", "PYTHONIOENCODING": "", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX", "PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "no_SUCH.locale", "PYTHONIOENCODING": ""},
    {"NO_COLOR": "1", "FORCE_COLOR": "1"},
    {"PYTHONUNBUFFERED": "1"},
    {"HOME": "", "LANG": ""},
]


def test_terminals_of_all_kinds() -> None:
    """Whatever the environment says of it, the load ends as it should, and the plain words can be read."""
    cases = [*product(TERMINALS, ("auto", "always"), (True, False))]
    try_kinds(check_terminal, some(cases, 2))


def check_terminal(case: tuple[Mapping[str, str], str, bool]) -> None:
    env, live, is_on_terminal = case
    Path("data/users.csv").write_text("id,name,email\n1,Zoë \U0001f600,zoe@x.io\n2,é,é\n", encoding="utf-8")
    with _terminal() if is_on_terminal else open("stderr", "wb") as stderr, open("stdout", "wb") as stdout:
        done = subprocess.run(
            command("--live", live),
            env=environment(**{"TERM": "xterm", **env}),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            timeout=HANG,
            check=False,
        )
    assert done.returncode == 1
    check_intact()
    assert stored() == (1, 8, 1)
    text = Path("stdout").read_bytes()
    assert b"users" in text
    assert b"Traceback" not in text
    assert "ascii" not in env.values() or text.isascii()


SIZES = [(0, 0), (1, 1), (3, 200), (10, 2), (500, 1), (65_535, 65_535), (40, 24), (120, 50)]


def test_a_terminal_that_is_resized(files: Files) -> None:
    """Made wider and narrower all the while, the live table is drawn to the end, and the cursor is back."""
    try_kinds(lambda seed: check_resized(seed, files), some(range(10), 1))


def check_resized(seed: int, files: Files) -> None:
    ours, theirs = pty.openpty()
    seen = bytearray()

    def read() -> None:
        with suppress(OSError):
            while piece := os.read(ours, 2**16):
                seen.extend(piece)

    reader = Thread(target=read)
    reader.start()
    env = environment(TERM="xterm")
    with warm.begin("loader", "--data", str(files.path), env=env, streams=(theirs,) * 3) as process:
        at = seed
        end = time.monotonic() + HANG
        while process.poll() is None:
            assert time.monotonic() < end, "the program hangs"
            columns, lines = SIZES[at % len(SIZES)]
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            if b"\x1b[?25l" in seen:
                process.send_signal(signal.SIGWINCH)
            at += 1
            time.sleep(0.02)
    os.close(theirs)
    reader.join(HANG)
    os.close(ours)
    assert process.returncode == 1
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l") >= 0
    assert b"Traceback" not in seen
    check_intact()
    assert tuple(map(len, files.databases)) == stored()


# --- renderers that raise --------------------------------------------------------------------------------------------

RENDERERS = [
    "loader.view.LiveView.frame",
    "loader.view.LiveView.__call__",
    "loader.view.LiveView._lanes",
    "loader.view.PlainView.__call__",
    "loader.view.PlainView._say",
    "loader.view.safe",
    "loader.view._final_table",
    "loader.view._whys",
    "loader.cli.summary",
    "rich.live.Live.start",
    "rich.live.Live.stop",
    "rich.live.Live.update",
    "rich.console.Console.print",
    "rich.console.Console.show_cursor",
    "rich.console.Console.render_lines",
    "rich.table.Table.__rich_console__",
]
ERRORS = [ZeroDivisionError("broken"), UnicodeEncodeError("ascii", "é", 0, 1, "broken"), BrokenPipeError(), KeyError(1)]


@pytest.mark.parametrize("renderer", some(RENDERERS, 4))
@pytest.mark.parametrize("live", ["always", "never"])
@pytest.mark.parametrize("error", some(ERRORS, 1), ids=repr)
def test_a_renderer_that_raises(renderer: str, live: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever draws or prints fails with whatever: the load and its exit code are as if it did not."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(renderer, fail)
    assert main(["--live", live]) == 1
    check_intact()
    assert stored() == (8, 8, 6)
    assert totals(result()) == TOTALS
