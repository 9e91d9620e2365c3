"""No kill and no power cut, at whatever moment, breaks a law: they are replayed from a record, and carried out.

Random kills have no teeth, for they seldom hit the moments that matter. So the system calls of a load are recorded
once, and what the disk holds is worked out for every moment: what is there after a kill, and what may be there after a
power cut, where each write that was not synced is kept or lost.
"""

import csv
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, closing, suppress
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import frozen

import loader
from loader.cli import main
from tests.benchmarks.generate import ORDER_FAULTS, PRODUCT_FAULTS, USER_FAULTS, Row, products, users, with_faults
from tests.benchmarks.generate import write as write_rows
from tests.test_cli import NAMES, environment, result, timeless
from tests.torture import TRIED, WHOLE, new_place, some, warm
from tests.torture.announcing import CHECKPOINTS, jobs
from tests.torture.ends import of_mutant
from tests.torture.sharing import share
from tests.torture.syscalls import Named, Record, State, Synced, Told, Written, record, strace, why_not

Stored = Mapping[str, Sequence[tuple[Any, ...]]]
"""The records of each dataset."""

recorded = pytest.mark.skipif(why_not() is not None, reason=f"system calls cannot be recorded: {why_not()}")

STATES = "states of the disk after a kill or a power cut, no two the same, each checked and loaded again"

# --- what is loaded, and how what is there is judged -----------------------------------------------------------------


def make_data(directory: Path) -> None:
    """Write files with faults of every kind.

    The orders refer to users and products about as far down in their files, and only the last of them to such as are
    not there: with one of those the lane waits until all users are loaded, and till then all lanes are to go on.
    """
    random = Random(4)
    faults = {"users": USER_FAULTS, "products": PRODUCT_FAULTS}
    clean = {"users": list(users(150, Random(1))), "products": list(products(90, Random(1)))}
    rows = {name: list(with_faults(map(dict, clean[name]), faults[name], 0.08, random)) for name in clean}
    there = {name: [row["id"] for row in rows[name] if row in clean[name]] for name in clean}

    def reference(name: str, share: float) -> str:
        return there[name][int(share * len(there[name]))] if share < 0.8 else str(random.randint(1, len(clean[name])))

    orders: Iterator[Row] = (
        {
            "id": str(at + 1),
            "user_id": reference("users", at / 260),
            "product_id": reference("products", at / 260),
            "quantity": "1",
        }
        for at in range(260)
    )
    rows["orders"] = list(with_faults(orders, ORDER_FAULTS[:2], 0.08, random))
    directory.mkdir(parents=True)
    for name in NAMES:
        write_rows(directory / f"{name}.csv", iter(rows[name]))


@frozen
class End:
    """What a load that nothing interrupts comes to: the records in the order of the file, and the rejections."""

    data: Path
    stored: Stored
    rejections: Mapping[str, Sequence[loader.Rejection]]

    @classmethod
    def of(cls, data: Path, into: Path) -> "End":
        report = loader.run(jobs(data, into))
        rejections = {name: report.tallies[name].rejections for name in NAMES}
        found = sound(into)
        in_order = {}
        for name in NAMES:
            by_key = {record[0]: record for record in found[name]}
            refused = {each.place.line for each in rejections[name]}
            with (data / f"{name}.csv").open() as file:
                rows = [row for line, row in enumerate(csv.DictReader(file), 2) if line not in refused]
            in_order[name] = [by_key[int(row["id"])] for row in rows]
            assert len(in_order[name]) == len(by_key) < len(by_key) + len(refused)
        return cls(data, in_order, rejections)


def sound(into: Path) -> Stored:
    """What the databases hold; each is sound in itself, and no order refers to what is not there."""
    stored: dict[str, list[tuple[Any, ...]]] = {name: [] for name in NAMES}
    for name in NAMES:
        if (into / f"{name}.db").exists():
            with closing(sqlite3.connect(into / f"{name}.db")) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                if connection.execute("SELECT 1 FROM sqlite_master").fetchall():
                    stored[name] = connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
    there = {name: {record[0] for record in stored[name]} for name in NAMES}
    dangling = [
        order for order in stored["orders"] if order[1] not in there["users"] or order[2] not in there["products"]
    ]
    assert not dangling, f"orders dangle: {dangling}"
    return stored


def check_stored(into: Path, end: End, told: Sequence[str]) -> Stored:
    """What is there is the beginning of what is to be, and all that was told to be stored is there."""
    stored = sound(into)
    for name in NAMES:
        count = len(stored[name])
        assert stored[name] == sorted(end.stored[name][:count]), f"other {name} than the first {count}"
        promised = sum(int(line.split()[1]) for line in told if line.split()[0] == name)
        assert count >= promised, f"{promised} {name} were told to be stored, and {count} are"
    return stored


def check_run_again(into: Path, end: End, before: Stored) -> None:
    """A load that is run again ends as one that nothing interrupted, and finds unchanged what was there."""
    report = loader.run(jobs(end.data, into))
    stored = sound(into)
    for name in NAMES:
        assert stored[name] == sorted(end.stored[name])
        tally = report.tallies[name]
        assert tally.status == "complete"
        assert (tally.counts.unchanged, tally.counts.untried) == (len(before[name]), 0)
        assert tally.rejections == end.rejections[name]


# --- replayed --------------------------------------------------------------------------------------------------------


def put(state: State, directory: Path) -> Path:
    """Write the files of a state into a directory that holds nothing else."""
    shutil.rmtree(directory, ignore_errors=True)
    for path, content in state.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    return directory


@frozen
class Moment:
    """What may be there when the power goes, or the program is killed, at a step of a record; and what it had told."""

    state: State
    told: Sequence[str]

    @cached_property
    def digest_of_files(self) -> bytes:
        digest = hashlib.sha256()
        for path, content in sorted(self.state.items()):
            digest.update(b"%s %d " % (os.fsencode(path), len(content)))
            digest.update(content)
        return digest.digest()

    @property
    def digest(self) -> tuple[int, bytes]:
        return len(self.told), self.digest_of_files


def moments(of: Record, ends: Iterable[int]) -> Iterator[Moment]:
    """Every kill and every power cut before these steps; those that come to the same are there once."""
    found: set[tuple[int, bytes]] = set()
    contents: dict[bytes, bytes] = {}  # most files are the same in many states
    for end in ends:
        told = of.told(end)
        for state in (of.killed(end), *of.cut(end, Random(end))):
            moment = Moment({path: contents.setdefault(data, data) for path, data in state.items()}, told)
            if moment.digest not in found:
                found.add(moment.digest)
                yield moment


def check_each(found: Iterable[Moment], check: Callable[[Moment], object]) -> None:
    for moment in found:
        check(moment)


def ends(of: Record) -> Sequence[int]:
    """Before each of the steps, and after the last."""
    return range(of.given, len(of.steps) + 1)


def announcing(directory: Path, *mutants: str) -> tuple[Record, End]:
    """Record a load in small blocks, which tells of each commit."""
    make_data(directory / "work" / "data")
    program = ("tests.torture.announcing", "data", "db", *mutants)
    of = record(program, directory / "work", directory / "log", environment())
    assert of.killed(len(of.steps)) == files(directory / "work"), "the record is not what has happened"
    return of, End.of(directory / "work" / "data", directory / "end")


def files(directory: Path) -> State:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@recorded
def test_the_databases_outlive_every_kill_and_power_cut(tmp_path: Path) -> None:
    """They are sound, no order dangles, all that was told is there, and run again the load comes to its end."""
    of, end = announcing(tmp_path)
    found = list(moments(of, some(ends(of), 6)))
    assert not WHOLE or len(found) >= 2_300
    check_all(some(found, 12), end, tmp_path)


def check_all(found: Sequence[Moment], end: End, directory: Path) -> None:
    """Check each of these moments, and load again what is there then; once, if more was told of the same files."""
    same: dict[bytes, list[Moment]] = {}
    for moment in found:
        same.setdefault(moment.digest_of_files, []).append(moment)

    def check(moments: Sequence[Moment]) -> None:
        place = directory / f"{os.getpid()}"
        for moment in moments:
            TRIED[STATES] += 1
            before = check_stored(put(moment.state, place) / "db", end, moment.told)
        check_run_again(put(moment.state, place) / "db", end, before)

    share(check, [*same.values()])


def checkpoints(of: Record) -> Sequence[int]:
    """Before and after each of the steps that take up a log into its database while records are still loaded."""
    databases = {step.file for step in of.steps if isinstance(step, Named) and step.path.endswith(".db")}
    told = [at for at, step in enumerate(of.steps) if isinstance(step, Told) and not step.text.endswith(" 0\n")]
    begun = range(told[0], told[-1])
    steps = [at for at in begun if isinstance(step := of.steps[at], Written | Synced) and step.node in databases]
    assert len([at for at in steps if isinstance(of.steps[at], Synced)]) >= 6, "there are not enough checkpoints"
    return sorted({end for at in steps for end in (at, at + 1)})


@recorded
def test_the_databases_outlive_kills_and_power_cuts_while_their_logs_are_taken_up(tmp_path: Path) -> None:
    """The same holds in the midst of checkpoints, where the databases themselves are written to."""
    of, end = announcing(tmp_path, CHECKPOINTS)
    check_all(some(list(moments(of, some(checkpoints(of), 4))), 8), end, tmp_path)


@recorded
@pytest.mark.parametrize(
    ("mutants", "fault"),
    some(
        [
            (["announce before commit"], "orders dangle"),
            (["synchronous=NORMAL"], "were told to be stored"),
            ([CHECKPOINTS, "synchronous=OFF"], "orders dangle|were told to be stored"),
        ],
        1,
    ),
    ids=str,
)
def test_a_mutant_does_not_outlive_them(mutants: Sequence[str], fault: str, tmp_path: Path) -> None:
    """A loader that tells of records too soon is caught by the same check of the same moments."""
    of, end = announcing(tmp_path, *mutants)

    def check(moment: Moment) -> None:
        check_stored(put(moment.state, tmp_path / "state") / "db", end, moment.told)

    with pytest.raises(AssertionError, match=fault):
        check_each(moments(of, ends(of)[::-1]), check)


# --- the command line: result and rejects ----------------------------------------------------------------------------

Prepare = Callable[[Path], Sequence[str]]
"""Makes a directory ready for a load, and returns its arguments."""

LOAD = ("-qq", "--jobs", "0", "--into", "db")


def first(directory: Path) -> Sequence[str]:
    """A first load: nothing is there before."""
    make_data(directory / "data")
    return LOAD


def later(directory: Path) -> Sequence[str]:
    """A load into databases, a result and rejects of an earlier one, of the first halves of the files."""
    make_data(directory / "data")
    (directory / "half").mkdir()
    for path in (directory / "data").iterdir():
        lines = path.read_text().splitlines(keepends=True)
        (directory / "half" / path.name).write_text("".join(lines[: len(lines) // 2]))
    with chdir(directory):
        assert main([*LOAD, "--data", "half"]) == 1
    return LOAD


def fed_back(directory: Path) -> Sequence[str]:
    """A load of rejects, of which all products, and half of the others, were mended: nowhere else are those rows."""
    make_data(directory / "data")
    with chdir(directory):
        assert main(LOAD) == 1
    mended = {
        "users": {"name": "Mended", "email": "mended{at}@example.com"},
        "products": {"name": "Mended {at}", "price": "1.50"},
        "orders": {"user_id": "1", "product_id": "1", "quantity": "1"},
    }
    for name, cells in mended.items():
        path = directory / "rejects" / f"{name}.csv"
        with path.open() as file:
            rows = list(csv.DictReader(file))
        for at, row in enumerate(rows):
            if at % 2 or name == "products":
                row.update({"id": str(1_000 + at), **{cell: text.format(at=at) for cell, text in cells.items()}})
        write_rows(path, iter(rows))
    return (*LOAD, "--data", "rejects")


@frozen
class Change:
    """A load by the command line: its arguments, and what is there before and after it."""

    arguments: Sequence[str]
    before: State
    after: State
    stored_before: Stored
    stored_after: Stored

    def check(self, directory: Path) -> None:
        """Every file is the old or the new one; a new one tells of records that are stored."""
        stored = sound(directory / "db")
        now = files(directory)
        for name in NAMES:
            assert stored[name] in (self.stored_before[name], self.stored_after[name])
            rejects, was, becomes = (each.get(f"rejects/{name}.csv") for each in (now, self.before, self.after))
            assert rejects in (was, becomes), f"the rejects of {name} are neither the old nor the new"
            assert rejects == was or stored[name] == self.stored_after[name], f"rejects of {name} that are not stored"
        told, was_told, is_to_be_told = (meaning(each.get("result.json")) for each in (now, self.before, self.after))
        assert told in (was_told, is_to_be_told), "result.json is neither the old nor the new"
        if told != was_told:
            assert stored == self.stored_after, "result.json tells of records that are not stored"
            there, named = (
                {path: content for path, content in each.items() if path.startswith("rejects/") and "/." not in path}
                for each in (now, self.after)
            )
            assert there == named, "result.json tells of other rejects than are there"

    def check_run_again(self, directory: Path) -> None:
        """The same command ends as if nothing had interrupted it."""
        with chdir(directory):
            assert main(self.arguments) == 1
        assert sound(directory / "db") == self.stored_after
        now = files(directory)
        assert now.keys() == self.after.keys(), "something is left behind"
        for name in NAMES:
            assert now.get(f"rejects/{name}.csv") == self.after.get(f"rejects/{name}.csv")
        refused = {each["name"]: each["rejections"] for each in json.loads(self.after["result.json"])["datasets"]}
        for each in result(directory / "result.json")["datasets"]:
            assert each["rejections"] == refused[each["name"]]


def meaning(content: bytes | None) -> object:
    """A result without its times; or its bytes, if they are not one."""
    try:
        return content and timeless(json.loads(content))
    except ValueError:
        return content


@cache
def changing(prepare: Prepare, mutant: str | None = None) -> tuple[Record, Change]:
    """Record a load by the command line, or that of a mutant; once for all tests."""
    with new_place() as directory:
        work = directory / "work"
        arguments = prepare(work)
        before, stored_before = files(work), sound(work / "db")
        of = record(of_mutant(mutant, *arguments), work, directory / "log", environment(), code=1)
        after = files(work)
        assert of.killed(len(of.steps)) == after, "the record is not what has happened"
        return of, Change(arguments, before, after, stored_before, sound(work / "db"))


@recorded
@pytest.mark.parametrize("prepare", some([later, fed_back, first], 1))
def test_the_outputs_outlive_every_kill_and_power_cut(prepare: Prepare, tmp_path: Path) -> None:
    """Result and rejects are the old ones or the new ones, never half; no mended row is lost; run again, all is new."""
    of, change = changing(prepare)

    def check(moment: Moment) -> None:
        TRIED[STATES] += 1
        place = tmp_path / f"{os.getpid()}"
        change.check(put(moment.state, place))
        change.check_run_again(put(moment.state, place))

    share(check, some(list(moments(of, some(ends(of), 6))), 6))


@recorded
def test_a_mutant_does_not_outlive_them_with_its_outputs(tmp_path: Path) -> None:
    """A loader that writes the result in its place is caught by the same check of the same moments."""
    of, change = changing(later, "result written in place")
    with pytest.raises(AssertionError, match=r"result\.json is neither the old nor the new"):
        check_each(moments(of, ends(of)[::-1]), lambda moment: change.check(put(moment.state, tmp_path / "state")))


# --- carried out -----------------------------------------------------------------------------------------------------


def test_a_load_outlives_random_kills_and_so_does_the_next(tmp_path: Path) -> None:
    """Killed at any moment between its first file and its end, and killed again when run again."""
    make_data(tmp_path / "data")
    end = End.of(tmp_path / "data", tmp_path / "end")
    seconds = run_until(60, tmp_path, "whole")[1]
    random, kills = Random(6), 0
    for trial in count():
        told: list[str] = []
        for _ in range(2):
            more, lasted, is_killed = run_until(random.uniform(0, seconds), tmp_path, f"db{trial}")
            seconds = seconds if is_killed else min(seconds, lasted)  # the first may have been held up
            told += more
            kills += is_killed
            TRIED["kills at random moments"] += is_killed
            before = check_stored(tmp_path / f"db{trial}", end, told)
        check_run_again(tmp_path / f"db{trial}", end, before)
        if kills >= (100 if WHOLE else 2):
            break


def run_until(seconds: float, directory: Path, into: str) -> tuple[list[str], float, bool]:
    """Run a load that tells of its commits, and kill it so many seconds after it has told something.

    Returns what it told, how many seconds it went on after that, and whether it had to be killed.
    """
    reading, writing = os.pipe()
    program = ("tests.torture.announcing", "data", into)
    with (
        open(reading) as lines,
        warm.begin(*program, env=environment(), streams=(subprocess.DEVNULL, writing, 2), cwd=directory) as process,
    ):
        os.close(writing)
        told, began = lines.readline(), time.monotonic()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        lasted = time.monotonic() - began
        process.kill()
        told += lines.read()
    assert process.returncode in (0, -signal.SIGKILL)
    return told.splitlines(), lasted, process.returncode != 0


CALLS = [
    (later, "rename"),
    (first, "pwrite64"),
    (fed_back, "unlink"),
    (first, "mkdir"),
    (first, "fdatasync"),
    (first, "unlink"),
    (later, "write"),
    (later, "fsync"),
    (fed_back, "rename"),
]
"""Where a load is killed: while tables are first made, while outputs are replaced, while rejects are removed."""


@recorded
@pytest.mark.parametrize(("prepare", "call"), some(CALLS, 1))
def test_a_load_outlives_a_kill_at_each_call(prepare: Prepare, call: str, tmp_path: Path) -> None:
    """Killed at the first call of a kind that any of its threads does, the second, and so on to the last."""
    _, change = changing(prepare)
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when=")

    def is_killed(nth: int) -> bool:
        """Whether a load is killed at its n-th call; whether or not, all is in order."""
        place = put(change.before, tmp_path / f"{nth}")
        tracer = strace(os.devnull, *inject[:-1], f"{inject[-1]}{nth}")
        done = warm.run("loader", *change.arguments, env=environment(), timeout=60, cwd=place, tracer=tracer)
        change.check(place)
        change.check_run_again(place)
        TRIED["kills at a system call"] += done.returncode == -signal.SIGKILL
        return done.returncode == -signal.SIGKILL

    assert is_killed(1)
    for at in count(2, 4) if WHOLE else ():
        if not all(share(is_killed, range(at, at + 4), worth=1)):
            break
