"""What fails amid an atomic load, or interrupts it, leaves all databases as they were, or all of them loaded."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from loader.cli import main
from tests.test_cli import NAMES, environment, left, result, rows, stored, wait_until, write
from tests.torture import new_place, some, warm
from tests.torture.ends import (
    HANG,
    Files,
    _place,
    check_intact,
    check_told,
    load,
    of_mutant,
    try_each,
)
from tests.torture.syscalls import strace
from tests.torture.test_faults import disk, fails, mounting, needs_strace, remount

__all__ = ["_place", "mounting"]

ATOMIC = ("--atomic", "--max-rejects", "100%")
PARTS = [str(Path(f"{name}.db{suffix}")) for name in NAMES for suffix in ("", "-journal")]
"""What the transaction over all databases writes to, but for the list of the journals."""

SPOTS = [(error, f"{at}{on}") for at in (1, 2, 5, 12, 30) for error, on in (("ENOSPC", "+"), ("EIO", ""))]
FAULTS = [
    *(("pwrite64", error, when, on_all) for error, when in SPOTS for on_all in (False, True)),
    *((sync, "EIO", f"{at}", True) for sync in ("fsync", "fdatasync") for at in range(1, 14)),
    *((sync, "EIO", f"{at}+", True) for sync in ("fsync", "fdatasync") for at in (1, 4, 8)),
    *(("unlink", "EIO", f"{at}", on_all) for at in range(1, 8) for on_all in (False, True)),
    *(("fsync", "EIO", f"{at}", False) for at in range(1, 9)),
    *(("clone,clone3", "EAGAIN", f"{at}", False) for at in range(1, 30, 2)),
    *(("clone,clone3", "EAGAIN", f"{at}+", False) for at in range(2, 30, 3)),
    ("ftruncate", "ENOSPC", "1+", False),
]
"""Calls that fail, with which error and when; anywhere, or only those that have to do with the databases."""


@pytest.fixture(scope="module")
def half(files: Files) -> Iterator[Path]:
    """A directory with databases that hold the first parts of users and products."""
    with new_place() as directory:
        with chdir(directory):
            for name, share in (("users", 3), ("products", 3), ("orders", 0)):
                lines = (files.path / f"{name}.csv").read_text().splitlines()
                write(f"half/{name}.csv", *lines[: len(lines) // share if share else 1])
            assert main(["-qq", *ATOMIC, "--data", "half", "--export", "none"]) == 0
        yield directory


def begin_with(half: Path) -> Sequence[int]:
    """Have those databases here; returns how many records they hold."""
    shutil.copytree(half, ".", dirs_exist_ok=True)
    return stored()


def check_all_or_none(code: int, before: Sequence[int], files: Files, may_be_untold: bool = False) -> None:
    """All databases are as before or as after the load, and the exit code and the result say which."""
    after = tuple(map(len, files.databases))
    check_intact(dict(zip(NAMES, before, strict=True)), may_hold_more=may_be_untold)
    assert stored() in (before, after), "the databases are torn"
    if code == 0:
        assert stored() == after
    elif not may_be_untold:
        assert stored() == before
    assert main(["-qq", *ATOMIC, "--data", str(files.path)]) == 0
    assert [rows(name) for name in NAMES] == files.databases
    assert left() == {"half", "rejects", "result.json", *(f"{name}.db" for name in NAMES)}


@needs_strace
def test_a_disk_that_fails(files: Files, half: Path) -> None:
    """Whichever call fails, while records are kept apart or all are committed, nothing is stored, and it is told."""

    def check(fault: tuple[str, str, str, bool]) -> None:
        call, error, when, on_all = fault
        before = begin_with(half)
        paths = [str(Path(part).absolute()) for part in PARTS] if on_all else []
        done = load(files.path, *ATOMIC, tracer=fails(call, error, when, *paths))
        if done.code != 0:
            check_told(done, ".db", ".csv", "rejects", "result.json", "the load cannot be stored")
        check_all_or_none(done.code, before, files, may_be_untold=True)

    try_each(check, some(FAULTS, 1))


@needs_strace
def test_a_directory_that_is_synced_the_second_time(files: Files, half: Path) -> None:
    """All is told to be stored, as it is: the eighth sync is that of a name whose removal has stored it."""

    def check(when: int) -> None:
        before = begin_with(half)
        failing = fails("fdatasync", "EIO", str(when), str(Path().absolute()))
        done = load(files.path, *ATOMIC, tracer=failing)
        assert (done.code, done.err) == (0, "")
        check_all_or_none(done.code, before, files)

    try_each(check, some([8, 7, 9], 1))


@pytest.mark.usefixtures("mounting")
def test_a_disk_that_is_too_small(files: Files, half: Path) -> None:
    """Where there is no room for what is kept apart, or for all in the end, nothing is stored; on a bigger one, all."""

    def check(case: tuple[bool, int]) -> None:
        is_kept_there, kibibytes = case
        before, apart = begin_with(half), Path().absolute()
        with disk(f"{kibibytes}k") as path:
            for name in NAMES:
                shutil.copy(f"{name}.db", path)
            with chdir(path):
                environ = environment(SQLITE_TMPDIR=str(path if is_kept_there else apart))
                done = load(files.path, *ATOMIC, env=environ)
                remount(path, "size=64m")
                for name in ("half", "data"):
                    Path(name).mkdir()
                if done.code:
                    check_told(done, ".db", "rejects", "result.json")
                check_all_or_none(done.code, before, files, may_be_untold=not Path("result.json").exists())

    try_each(check, some([*product([True, False], range(1_000, 5_000, 500))], 1))


def check_interrupted(beside: str, seconds: float, files: Files, half: Path, mutant: str | None = None) -> None:
    """A signal comes so long after a file is beside the databases; each sync takes its time."""
    before = begin_with(half)
    slow = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_exit=20000"]
    for part in PARTS:
        slow += ["-P", str(Path(part).absolute())]
    program = of_mutant(mutant, "-qq", *ATOMIC, "--data", str(files.path))
    how: Any = {"streams": (subprocess.DEVNULL,) * 3, "tracer": strace(os.devnull, *slow)}
    with warm.begin(*program, env=environment(), **how) as process:
        wait_until(lambda: any(Path().glob(beside)))
        time.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        code = process.wait(HANG)
    told = result()["run"]
    assert (code, told["status"]) in [(143, "interrupted"), (0, "rejects"), (-signal.SIGTERM, "rejects")]
    assert code == told["exit_code"] or told["exit_code"] == 0
    check_all_or_none(told["exit_code"], before, files)


JOURNAL, LISTING = "users.db-journal", "users.db-mj*"
"""What is there first when the databases are made ready, and when all is committed."""

MOMENTS = [*((LISTING, at / 50) for at in range(10)), *((JOURNAL, at / 50) for at in range(20))]


@needs_strace
def test_a_signal_amid_the_commit(files: Files, half: Path) -> None:
    """All is stored or nothing, and the exit code and the result say which; if it is not waited for, they do not."""

    def check(case: tuple[str, float, str | None]) -> None:
        beside, seconds, mutant = case
        with pytest.raises(AssertionError) if mutant else nullcontext():
            check_interrupted(beside, seconds, files, half, mutant)

    unshielded = (LISTING, 0.0, "commit of all not shielded")
    try_each(check, [*((*moment, None) for moment in some(MOMENTS, 1)), unshielded])
