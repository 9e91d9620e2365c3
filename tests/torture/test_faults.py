"""Disks, limits, other programs and files that fail a load: it says so and ends, and running again finishes it."""

import linecache
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, chdir, closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from threading import Timer
from typing import TypeVar

import pytest
from attrs import frozen

from loader import FileSource, Job, SqliteTarget, run
from loader.cli import main
from loader.core.dataset import Dataset
from loader.datasets import DATASETS
from loader.targets import Table
from loader.targets.sqlite import SqliteTable
from tests.benchmarks.generate import generate
from tests.test_cli import NAMES, SAMPLE, command, environment, locked, result, rows, stored, wait_until, write
from tests.test_executors import children
from tests.torture import TRIED, new_place, some
from tests.torture.ends import (
    HANG,
    AtWork,
    Files,
    _place,
    begun,
    check_finished_by_running_again,
    check_intact,
    check_told,
    load,
    load_from_its_start,
    try_each,
)
from tests.torture.syscalls import strace

__all__ = ["_place"]

T = TypeVar("T")

FAULTS = "faults of disks, limits, databases, other programs and sources"


@pytest.fixture(autouse=True)
def _counted() -> None:
    TRIED[FAULTS] += 1


OUTPUTS = (".db", "rejects", "result.json")


# --- what the system does not give -----------------------------------------------------------------------------------


def limited(what: int, most: int) -> Callable[[], None]:
    """What a child process calls to have no more of it."""
    return partial(resource.setrlimit, what, (most, most))


def fails(calls: str, error: str, when: str, *paths: str) -> Sequence[str]:
    """What lets system calls of a program fail: the `when`-th of each thread, or with `+` also all later.

    With paths, only calls count that have to do with them.
    """
    injected = ("-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={when}")
    chosen = [part for path in paths for part in ("-P", path)]
    return strace(os.devnull, *injected, *chosen)


needs_strace = pytest.mark.skipif(
    not shutil.which("strace"), reason="strace, which lets system calls fail, is not there"
)


def try_faults(check: Callable[[T], None], cases: Sequence[T]) -> None:
    """Check each of these faults, and count them."""
    TRIED[FAULTS] += len(cases) - 1  # one is the test itself
    try_each(check, cases)


def test_few_open_files(files: Files) -> None:
    """From as many on as Python takes to begin: what could not be opened is named, if it was a file."""

    def check(most: int) -> None:
        jobs = str(most % 2 * 2)
        done = load_from_its_start(files.path, "--jobs", jobs, preexec_fn=limited(resource.RLIMIT_NOFILE, most))
        if done.code != 1:
            check_told(done, *OUTPUTS, ".csv", *(["gives no more open files"] if jobs != "0" else []))
        check_intact()
        check_finished_by_running_again(files)

    try_faults(check, some(range(8, 24), 2))


def test_little_memory(files: Files) -> None:
    """What could not be loaded is named, or that the program cannot begin; where orjson crashes all is left intact."""

    def check(mebibytes: int) -> None:
        environ = environment(PYTHONFAULTHANDLER="1")
        done = load_from_its_start(files.path, preexec_fn=limited(resource.RLIMIT_AS, mebibytes * 2**20), env=environ)
        assert done.code in (1, 3) or (done.code == -signal.SIGSEGV and "orjson." in line_at(done.err)), done
        if done.code == 3 and "it cannot be started" not in done.err:
            check_told(done, *OUTPUTS, ".csv")
        check_intact()
        check_finished_by_running_again(files)

    try_faults(check, some((40, 50, 60, 80, 90, 100, 110, 120, 130, 140, 160, 180, 220, 260, 300), 1))


def line_at(crash: str) -> str:
    """The line of source that a program was in when it crashed, by what faulthandler says."""
    found = re.search(r'Current thread .*\n  File "(.*)", line (\d+)', crash)
    return linecache.getline(found[1], int(found[2])) if found else ""


@needs_strace
def test_no_more_threads(files: Files) -> None:
    """A thread that cannot begin fails its dataset, which is named."""

    def check(when: str) -> None:
        check_told(load(files.path, tracer=fails("clone,clone3", "EAGAIN", when)), ".csv")
        check_intact()
        check_finished_by_running_again(files)

    try_faults(check, some([f"{number}{onwards}" for number in range(1, 22) for onwards in ("", "+")], 1))


# --- disks -----------------------------------------------------------------------------------------------------------


@contextmanager
def disk(size: str) -> Iterator[Path]:
    """A small disk, in memory."""
    path = Path("disk").absolute()
    path.mkdir(exist_ok=True)
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
    if not shutil.which("mount") or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root, on Linux")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def remount(path: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(path)], check=True)


@pytest.fixture
def mounting() -> None:
    """A test that needs a disk is skipped where none can be mounted."""
    with disk("8k"):
        pass


@pytest.mark.usefixtures("mounting")
def test_a_disk_that_is_too_small(files: Files) -> None:
    """The file that did not fit is named; on a bigger disk the load goes on."""

    def check(kibibytes: int) -> None:
        with disk(f"{kibibytes}k") as path, chdir(path):
            check_told(load(files.path), *OUTPUTS)
            remount(path, "size=64m")
            check_intact()
            check_finished_by_running_again(files)

    try_faults(check, some(range(8, 1_800, 80), 1))


def test_a_disk_that_may_only_be_read(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Databases and outputs that may not be written to are named, and stay as they are."""
    with disk("64m") as path:
        monkeypatch.chdir(path)
        assert main(["-qq", "--data", str(SAMPLE)]) == 1
        before = [Path(f"{name}.db").read_bytes() for name in NAMES]
        remount(path, "ro")
        check_told(load(files.path), *OUTPUTS)
        assert [Path(f"{name}.db").read_bytes() for name in NAMES] == before
        remount(path, "rw")
        for name in NAMES:
            Path(f"{name}.db").unlink()
        check_finished_by_running_again(files)
        monkeypatch.chdir("..")


def test_files_that_may_not_grow(files: Files) -> None:
    """What would have become longer than it may is named."""

    def check(size: int) -> None:
        check_told(load(files.path, longest_file=size), *OUTPUTS)
        check_intact()
        check_finished_by_running_again(files)

    try_faults(check, some([int(4_000 * 1.25**power) for power in range(24)], 1))


WRITES = sorted({*range(1, 13), *(int(10 * 1.3**power) for power in range(14))})
SYNCS = range(1, 9)
CALLS = [
    *(("pwrite64", error, f"{when}{on}") for when in WRITES for error, on in (("ENOSPC", "+"), ("EIO", ""))),
    *(("fdatasync", "EIO", f"{when}{on}") for when in SYNCS for on in ("", "+")),
    *(("fsync", "EIO", f"{when}{on}") for when in SYNCS for on in ("", "+")),
    *(("rename", "EROFS", f"{when}{on}") for when in (1, 2, 3, 4) for on in ("", "+")),
    *(("unlink", "EIO", f"{when}{on}") for when in (1, 2, 3, 4) for on in ("", "+")),
    ("ftruncate", "ENOSPC", "1+"),
]


@needs_strace
def test_a_disk_that_fails(files: Files) -> None:
    """Whichever write, sync, rename or removal fails, once or from then on, its file is named, or nothing was lost."""

    def check(fault: tuple[str, str, str]) -> None:
        call, error, when = fault
        done = load(files.path, tracer=fails(call, error, when))
        if done.code != 1:
            check_told(done, *OUTPUTS)
        check_intact(may_hold_more=call == "fdatasync" and when.endswith("+"))
        check_finished_by_running_again(files)

    try_faults(check, some(CALLS, 2))


@frozen
class Bounded(SqliteTarget):
    """A database of a limited number of pages."""

    most: int

    @asynccontextmanager
    async def open(self, dataset: Dataset, check: bool) -> AsyncIterator[Table]:
        async with SqliteTarget(self.path).open(dataset, check) as table:
            assert isinstance(table, SqliteTable)
            await table._connection.run(f"PRAGMA max_page_count = {self.most}")
            yield table


def test_a_database_that_may_not_grow(files: Files) -> None:
    """Each database is filled up to some batch, and says that it is full; what was told is what is there."""
    try_faults(lambda share: check_full_database(share, files), some(range(2, 96, 3), 1))


def check_full_database(share: int, files: Files) -> None:
    most = 5 + ((files.path / "users.db").stat().st_size // 4096 - 5) * share // 100
    jobs = [
        Job(each, FileSource(files.path / f"{each.name}.csv", "csv", block_size=2**14), Bounded(Path(name), most))
        for each in DATASETS
        for name in [f"{each.name}.db"]
    ]
    report = run(jobs)
    problems = [str(tally.problem) for tally in report.tallies.values() if tally.problem]
    assert any(f"{name}.db: the disk is full: make room and run again" in problems for name in NAMES)
    assert report.exit_code == 3
    check_intact()
    assert tuple(tally.counts.inserted for tally in report.tallies.values()) == stored()
    check_finished_by_running_again(files)


# --- other programs --------------------------------------------------------------------------------------------------


@frozen
class Waiting:
    """A load that waits for another program's lock on users.db."""

    directory: Path
    lock: sqlite3.Connection
    work: AtWork


LOCKS = {
    "a writer for 3 s": ("WAL", "BEGIN IMMEDIATE", 3.0),
    "a writer for ever": ("WAL", "BEGIN IMMEDIATE", None),
    "an owner for ever": ("DELETE", "BEGIN EXCLUSIVE", None),
}


@pytest.fixture(scope="module", autouse=True)
def waiting(files: Files) -> Iterator[dict[str, Waiting]]:
    """Loads that wait for locks while other tests run, so that they take no time of their own."""
    waiting = {}
    with ExitStack() as stack:
        for name, (mode, statement, seconds) in LOCKS.items():
            directory = stack.enter_context(new_place())
            lock = sqlite3.connect(directory / "users.db", isolation_level=None, check_same_thread=False)
            stack.enter_context(closing(lock))
            lock.execute(f"PRAGMA journal_mode = {mode}")
            lock.execute(statement)
            if seconds:
                timer = Timer(seconds, lock.execute, ["ROLLBACK"])
                timer.start()
                stack.callback(timer.join)
            work = stack.enter_context(begun(files.path, cwd=directory))
            stack.callback(work.program.kill)
            waiting[name] = Waiting(directory, lock, work)
        yield waiting


def test_a_reader_does_not_disturb(files: Files) -> None:
    """A program that holds a snapshot of a database sees it as it was, while the load goes on to its end."""
    assert main(["-qq"]) == 1
    with closing(sqlite3.connect("users.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        [before] = reader.execute("SELECT count(*) FROM users")
        done = load(files.path, "--on-conflict", "update")
        assert (done.code, done.err) == (1, "")
        assert reader.execute("SELECT count(*) FROM users").fetchall() == [before]
    check_intact({"users": 8, "products": 8, "orders": 6})


def test_a_reader_outlives_checkpoints() -> None:
    """So does one whose snapshot keeps the log from being taken up as it grows; when it is done, all is taken up."""
    generate(Path("in"), 80_000, 1, 1, faults=0, seed=7, form="csv")
    assert main(["-qq"]) == 1
    log = Path("users.db-wal")
    with closing(sqlite3.connect("users.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        before = reader.execute("SELECT * FROM users ORDER BY id").fetchall()
        done = load(Path("in"), "--on-conflict", "update", "users")
        assert (done.code, done.err) == (0, "")
        assert log.stat().st_size > 1_000 * 4_096, "the log is too short for SQLite to take it up"
        assert reader.execute("SELECT * FROM users ORDER BY id").fetchall() == before
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM users").fetchone() == (80_000,)
    check_intact({"users": 8, "products": 8, "orders": 6})
    assert not log.exists()


def test_another_loader_at_once(files: Files) -> None:
    """Two loads of the same files into the same databases: each record is stored once, and told once as stored."""
    try_faults(lambda _: check_another_loader(files), some(range(10), 1))


def check_another_loader(files: Files) -> None:
    with ExitStack() as stack:
        both = [stack.enter_context(begun(files.path, "--export", f"{at}.json")) for at in (0, 1)]
        ends = [each.end(2 * HANG) for each in both]
    assert [each.code for each in ends] == [1, 1], ends
    inserted = [[each["inserted"] for each in result(f"{at}.json")["datasets"]] for at in (0, 1)]
    assert tuple(map(sum, zip(*inserted, strict=True))) == stored()
    check_intact()
    check_finished_by_running_again(files)


# --- databases -------------------------------------------------------------------------------------------------------


def _text(path: Path) -> None:
    path.write_text("my notes, which are none of your business\n" * 400, encoding="utf-8")


def _garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(2**15))


def _cut_off(path: Path) -> None:
    main(["-qq", "--data", str(SAMPLE)])
    os.truncate(path, 100)


def _of_another_application(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE users (uid TEXT, gecos TEXT)")


def _damaged(path: Path) -> None:
    main(["-qq", "--data", str(SAMPLE)])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(2).randbytes(path.stat().st_size - 4096))


def _directory(path: Path) -> None:
    path.mkdir()


def _directory_as_its_log(path: Path) -> None:
    path.with_name("users.db-wal").mkdir()


def _directory_as_its_index(path: Path) -> None:
    path.with_name("users.db-shm").mkdir()


@pytest.mark.parametrize(
    "spoil",
    some(
        [
            _damaged,
            _text,
            _garbage,
            _cut_off,
            _of_another_application,
            _directory,
            _directory_as_its_log,
            _directory_as_its_index,
        ],
        1,
    ),
)
def test_a_file_that_cannot_be_the_database(spoil: Callable[[Path], None], files: Files) -> None:
    """It is named and left as it is; what refers to it stops, the rest is loaded, and all is when it is moved away."""
    path = Path("users.db")
    spoil(path)
    for name in ("products.db", "orders.db"):
        Path(name).unlink(missing_ok=True)
    spoilt = path.read_bytes() if path.is_file() else None
    done = load(files.path)
    check_told(done, "users.db")
    assert [each["status"] for each in result()["datasets"]] == ["failed", "complete", "stopped"]
    assert len(rows("products")) > 700
    assert not rows("orders")
    assert spoilt is None or path.read_bytes() == spoilt
    for each in Path().glob("users.db*"):
        each.rename(f"away.{each.name}")
    check_finished_by_running_again(files)


@needs_strace
@pytest.mark.parametrize("call", some(["openat", "mmap", "pwrite64"], 1))
def test_a_disk_that_has_no_write_ahead_log(call: str, files: Files) -> None:
    """Where the index of the log cannot be shared the database is named, and nothing is written to it."""
    done = load(files.path, tracer=fails(call, "EACCES", "1+", str(Path("users.db-shm").absolute())))
    check_told(done, "users.db")
    assert not rows("orders")
    check_finished_by_running_again(files)


@pytest.mark.parametrize("put_in_place", some([None, "a copy", "a text"], 1))
def test_a_database_that_is_replaced_during_the_load(put_in_place: str | None, files: Files) -> None:
    """What was not stored in the file that has the name now is not told as stored."""
    assert main(["-qq", "--data", str(SAMPLE)]) == 1
    before = Path("users.db").read_bytes()
    with begun(files.path, "--on-conflict", "update") as work:
        with locked("users.db"):
            wait_until(lambda: _has_open(work.program.pid, "users.db-wal"))
            for each in Path().glob("users.db*"):
                each.unlink()
            if put_in_place == "a copy":
                Path("users.db").write_bytes(before)
            elif put_in_place:
                _text(Path("users.db"))
        done = work.end()
    assert done.code == 3
    assert "loader: users.db was removed or replaced while it was written to" in done.err
    assert result()["datasets"][0]["inserted"] == 0
    Path("users.db").unlink(missing_ok=True)
    for name in ("products", "orders"):
        Path(f"{name}.db").unlink()
    check_finished_by_running_again(files)


def _has_open(pid: int, name: str) -> bool:
    """Whether a process has a file open."""
    listed = subprocess.run(["ls", "-l", f"/proc/{pid}/fd"], capture_output=True, text=True, check=False)
    return f"/{name}\n" in listed.stdout


# --- processes, sources and directories ------------------------------------------------------------------------------


def test_a_process_that_is_killed(files: Files) -> None:
    """Of two processes that parse one is ended from outside at some moment; the load says so, or was done with it."""
    try_faults(lambda seed: check_process_killed(seed, files), some(range(10), 1))


def check_process_killed(seed: int, files: Files) -> None:
    chance = random.Random(seed)
    with begun(files.path, "--jobs", "2") as work:
        wait_until(lambda: len(children(work.program.pid)) == 2)
        time.sleep(chance.uniform(0, 0.3))
        if left := children(work.program.pid):
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(chance.choice(sorted(left)), signal.SIGKILL)
        done = work.end()
    assert done.code in (1, 3)
    if done.code == 3:
        check_told(done, "users.csv: a process", "products.csv: a process", "orders.csv: a process")
    check_intact()
    check_finished_by_running_again(files)


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 500_007)


def _appended_to(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("999999999,Late,late@x.io\n999999998,La")


def _overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 500_000)
        file.write(b"x" * 300_000)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _replaced(path: Path) -> None:
    other = path.with_suffix(".other")
    other.write_text("id,name,email\n1,Other,other@x.io\n", encoding="utf-8")
    other.replace(path)


def _removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", some([_truncated, _appended_to, _overwritten, _replaced, _emptied, _removed], 1))
def test_a_source_that_changes_while_it_is_read(change: Callable[[Path], None]) -> None:
    """It is named, and no row that was not in it at first is stored; a file that was opened is read to its end."""
    generate(Path("in"), 60_000, 1, 1, faults=0, seed=7, form="csv")
    source = Path("in/users.csv")
    first = source.read_bytes()
    assert main(["-qq", "--check", "--data", "in", "users"]) == 0
    with closing(sqlite3.connect("users.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    with begun(Path("in"), "users") as work:
        with locked("users.db"):
            wait_until(lambda: _has_open(work.program.pid, "users.csv"))
            time.sleep(0.1)
            change(source)
        done = work.end()
    goes_on = change in (_replaced, _removed)
    assert done.code == (0 if goes_on else 3), done
    assert goes_on or done.err == "loader: in/users.csv was changed while it was read: run again when it is complete\n"
    known = set(first.decode().splitlines())
    assert {",".join(map(str, row)) for row in rows("users")} <= known
    source.write_bytes(first)
    assert main(["-qq", "--data", "in", "users"]) == 0
    assert len(rows("users")) == 60_000


@pytest.mark.parametrize("form", some(["json", "csv"], 1))
def test_without_a_directory_for_temporary_files(form: str, files: Files) -> None:
    """With a TMPDIR that is not there the load goes on, also where an array from a pipe is to be kept."""
    generate(Path("in"), 100, 10, 100, faults=0.1, seed=1, form=form)
    environ = environment(TMPDIR="/is/not/there", SQLITE_TMPDIR="/is/not/there")
    with Path(f"in/users.{form}").open("rb") as file:
        piped = subprocess.run(["cat"], stdin=file, capture_output=True, check=True).stdout
    done = subprocess.run(
        command("-qq", "users=-", "--format", form), env=environ, input=piped, capture_output=True, timeout=HANG
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert len(rows("users")) == result()["totals"]["inserted"] > 80


# --- those that waited -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_of_another_program(
    lock: str, files: Files, waiting: dict[str, Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is released in time is waited for; else the database is named, and the load finished when it is."""
    one = waiting[lock]
    monkeypatch.chdir(one.directory)
    done = one.work.end()
    if LOCKS[lock][2]:
        assert (done.code, done.err) == (1, "")
    else:
        assert done.code == 3
        assert (
            done.err.splitlines()[0] == "loader: users.db: another program has locked it: run again when that is done"
        )
        assert [each["status"] for each in result()["datasets"]] == ["failed", "complete", "stopped"]
        one.lock.execute("ROLLBACK")
    check_intact()
    check_finished_by_running_again(files)


# --- teeth -----------------------------------------------------------------------------------------------------------


def check_first_wins(files: Files, mutant: str | None) -> None:
    """A row of a later block, with no other fault in it, does not take an e-mail address from its first user."""
    write("in/users.csv", "id,name,email", *(f"{at},N,u{at}@x.io" for at in range(1, 60_001)), "60001,N,U1@x.io")
    assert load(Path("in"), mutant=mutant).code == 1
    check_intact()
    assert len(rows("users")) == 60_000


def check_full_disk(files: Files, mutant: str | None) -> None:
    """A dataset that could not be finished stops those that refer to it."""
    done = load(files.path, mutant=mutant, longest_file=400_000)
    check_told(done, *OUTPUTS)
    check_intact()
    assert "orders refers to users, which was not finished" in done.err


def check_bug(files: Files, mutant: str | None) -> None:
    """A fault that is nobody's but loader's own is told, and has an exit code of its own."""
    script = (
        "import sys; from loader.targets.sqlite import SqliteTarget; from tests.torture.mutants import MUTANTS\n"
        "for name in sys.argv[1:]: MUTANTS[name].apply()\n"
        "def open(*arguments): raise ZeroDivisionError('a bug')\n"
        "SqliteTarget.open = open\n"
        "from loader.cli import main; sys.exit(main(['-qq']))\n"
    )
    arguments = [sys.executable, "-c", script, *([mutant] if mutant else [])]
    done = subprocess.run(arguments, env=environment(LOADER_DATA=str(SAMPLE)), capture_output=True, timeout=HANG)
    assert (done.returncode, b"ZeroDivisionError" in done.stderr) == (4, True)


TEETH = {
    "OR REPLACE": check_first_wins,
    "a lane's problem is ignored": check_full_disk,
    "gather swallows exceptions": check_bug,
}


@pytest.mark.parametrize("mutant", some([*TEETH], 1))
def test_mutants_are_caught(mutant: str, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader passes a check that a loader with one thing broken fails."""
    for directory, name in ((tmp_path, None), (tmp_path / "mutant", mutant)):
        directory.mkdir(exist_ok=True)
        monkeypatch.chdir(directory)
        with pytest.raises(AssertionError) if name else nullcontext():
            TEETH[mutant](files, name)
