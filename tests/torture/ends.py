"""How a load ends, whatever is done to it: in time, told in a line, all that is stored sound, and to be finished."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar

import pytest
from attrs import frozen

from loader.cli import main
from tests.benchmarks.generate import generate
from tests.test_cli import NAMES, SAMPLE, command, environment, result, rows, settle_in
from tests.torture import new_place, warm
from tests.torture.sharing import share

T = TypeVar("T")

HANG = 10.0
"""Seconds after which a load is taken to hang."""

SIZES = (9_500, 800, 17_000)
"""Users, products and orders, for which two blocks, one and two are committed."""


@frozen
class Files:
    """What is loaded, and the databases and rejects of a load that nothing disturbed."""

    path: Path
    databases: list[list[tuple[Any, ...]]]
    rejects: Mapping[str, bytes]


@pytest.fixture(scope="session")
def files() -> Iterator[Files]:
    with new_place() as directory:
        generate(directory, *SIZES, faults=0.02, seed=5, form="csv")
        done = load(directory, cwd=directory)
        assert (done.code, done.err) == (1, "")
        rejects = {path.name: path.read_bytes() for path in (directory / "rejects").iterdir()}
        yield Files(directory, [rows(name, directory) for name in NAMES], rejects)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)


def try_each(check: Callable[[T], object], cases: Sequence[T]) -> None:
    """Check each case in a directory of its own, which holds the sample; as many at once as there are processors."""

    def check_in_its_place(numbered: tuple[int, T]) -> None:
        number, case = numbered
        place = Path(f"case{number}").absolute()
        shutil.copytree(SAMPLE, place / "data")
        with chdir(place):
            check(case)
        shutil.rmtree(place)

    share(check_in_its_place, [*enumerate(cases)], worth=1)


@frozen
class Done:
    """How the program ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def causes(self) -> list[str]:
        """What it said was wrong, but for what is a mere consequence."""
        lines = self.err.splitlines()
        assert all(line.startswith("loader: ") for line in lines), self.err
        return [line for line in lines if " refers to " not in line and "nothing of " not in line]


def of_mutant(name: str | None, *arguments: str) -> Sequence[str]:
    """The module of a mutant, or of the loader itself, and its arguments."""
    return ("tests.torture.mutants", name, *arguments) if name else ("loader", *arguments)


def load(
    data: Path, *arguments: str, mutant: str | None = None, env: Mapping[str, str] | None = None, **how: Any
) -> Done:
    """Run the program on a directory of files; fail if it hangs."""
    with _not_hanging():
        program = of_mutant(mutant, "-qq", "--data", str(data), *arguments)
        return _done(warm.run(*program, env=env or environment(), timeout=HANG, **how))


def load_from_its_start(data: Path, *arguments: str, **options: Any) -> Done:
    """The same where Python is started for it, for its start matters."""
    line = command("-qq", "--data", str(data), *arguments)
    settings: Mapping[str, Any] = {"env": environment(), "stdin": subprocess.DEVNULL, **options}
    with _not_hanging():
        return _done(subprocess.run(line, capture_output=True, timeout=HANG, check=False, **settings))


@frozen
class AtWork:
    """A program that has begun, and what it says is wrong."""

    program: warm.Program
    _err: IO[bytes]

    def end(self, seconds: float = HANG) -> Done:
        """Wait for its end; fail if it hangs."""
        with _not_hanging():
            code = self.program.wait(seconds)
        return Done(code, "", os.pread(self._err.fileno(), 2**24, 0).decode())


@contextmanager
def begun(data: Path, *arguments: str, cwd: Path | None = None) -> Iterator[AtWork]:
    """The program at work on a directory of files; it is waited for in the end, or killed if something fails."""
    nothing, given = subprocess.DEVNULL, ("-qq", "--data", str(data), *arguments)
    with (
        TemporaryFile() as err,
        warm.begin("loader", *given, env=environment(), streams=(nothing, nothing, err), cwd=cwd) as program,
    ):
        yield AtWork(program, err)


@contextmanager
def _not_hanging() -> Iterator[None]:
    try:
        yield
    except subprocess.TimeoutExpired as late:
        pytest.fail(f"the program hangs: after {late.timeout} s it has not ended; it said {late.stderr!r}")


def _done(end: "subprocess.CompletedProcess[bytes]") -> Done:
    return Done(end.returncode, end.stdout.decode(), end.stderr.decode())


def check_told(done: Done, *names: str) -> None:
    """The exit code is 3, and each cause is one line, once, that names one of the files."""
    assert done.code == 3, done
    assert done.causes, "nothing was said"
    assert len(set(done.causes)) == len(done.causes) <= 4, done.err
    for cause in done.causes:
        assert any(name in cause for name in names), f"{cause!r} names none of {names}"


def check_intact(before: Mapping[str, int] | None = None, may_hold_more: bool = False) -> None:
    """Each database is sound, no order refers to nothing, and a result that is there counts what was stored.

    `before` says how many records the databases held already. They `may_hold_more` than was told where a disk took
    a batch, and then failed to say that it is durable: the next run will find it unchanged.
    """
    kept = {name: _sound(Path(f"{name}.db"), name) for name in NAMES}
    users, products = ({row[0] for row in kept[name]} for name in ("users", "products"))
    assert not [row for row in kept["orders"] if row[1] not in users or row[2] not in products], "dangling orders"
    if not Path("result.json").exists():
        return
    document = result()
    for each in document["datasets"]:
        troubled = each["untried"] or each["name"] in [problem["dataset"] for problem in document["problems"]]
        assert not troubled or each["status"] != "complete", each["name"]
        unknown = len(kept[each["name"]]) - (before or {}).get(each["name"], 0) - each["inserted"]
        assert unknown == 0 or (may_hold_more and 0 < unknown <= each["untried"]), each["name"]
        assert each["read"] == sum(each[end] for end in ("inserted", "updated", "unchanged", "rejected", "untried"))


def _sound(path: Path, name: str) -> list[tuple[Any, ...]]:
    """What a database that may not be there holds, if it is sound."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return connection.execute(f"SELECT * FROM {name}").fetchall() if (name,) in tables else []


def check_finished_by_running_again(files: Files) -> None:
    """The same command ends as if nothing had been."""
    assert main(["-qq", "--data", str(files.path)]) == 1
    assert [rows(name) for name in NAMES] == files.databases
    assert {path.name: path.read_bytes() for path in Path("rejects").glob("[!.]*")} == files.rejects
