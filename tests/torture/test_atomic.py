"""An atomic load comes into all databases or into none, whenever it is killed or the power goes, whatever fails."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import islice, permutations, product
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

import loader
from tests.test_cli import NAMES, SAMPLE, environment
from tests.torture import WHOLE, new_place, sharing, some, warm
from tests.torture.announcing import jobs
from tests.torture.ends import of_mutant
from tests.torture.sharing import share
from tests.torture.syscalls import Record, State, record, why_not
from tests.torture.test_crash import Moment, Stored, check_each, ends, files, make_data, moments, put, sound

recorded = pytest.mark.skipif(why_not() is not None, reason=f"system calls cannot be recorded: {why_not()}")


def new(directory: Path) -> None:
    """No database is there before."""
    make_data(directory / "data")


def grown(directory: Path) -> None:
    """The databases of an earlier load are there, of the first halves of the files."""
    make_data(directory / "data")
    (directory / "half").mkdir()
    for path in (directory / "data").iterdir():
        lines = path.read_text().splitlines(keepends=True)
        (directory / "half" / path.name).write_text("".join(lines[: len(lines) // 2]))
    loader.run(jobs(directory / "half", directory / "db"))


PLACE = "atomic"
"""The directory in which a load is recorded, in letters of which each is another."""

NEXT = ("atomic", "plain", "check", "verify")
"""What is done next to the databases: a load of either kind, a check, or a verification."""


@frozen
class Change:
    """An atomic load in a directory: what is stored before it and after it."""

    work: Path
    before: Stored
    after: Stored

    @property
    def of_this_process(self) -> "Change":
        """The same in a place that no other process has; but for the order of its letters, it is called the same."""
        name = next(islice(permutations(self.work.name), sharing.PROCESS, None))
        return evolve(self, work=self.work.with_name("".join(name)))

    def put(self, state: State) -> State:
        """Have the files of a state there; journals name each other by paths, and hold the sum of their letters."""
        recorded, own = f"/{PLACE}/".encode(), f"/{self.work.name}/".encode()
        there = {path: data.replace(recorded, own) if "-" in path else data for path, data in state.items()}
        put(there, self.work)
        return there

    def check(self, told: Sequence[str] = ()) -> Stored:
        """All databases are as before or as after; as after, if it was told that anything is stored."""
        stored = sound(self.work / "db")
        assert stored in (self.before, self.after), "the databases are torn"
        if any(int(line.split()[1]) for line in told):
            assert stored == self.after, "what was told to be stored is not"
        return stored

    def check_next(self, state: State, before: Stored, how: str) -> None:
        """Whatever reads the databases next finds them so; a load is as one after no other.

        A check and a verification change nothing, and say so if there is something to be undone.
        """
        there = self.put(state)
        on = jobs(self.work / "data", self.work / "db")
        options: Any = {"check": {"check": True}, "atomic": {"atomic": True}}.get(how, {})
        report = asyncio.run(loader.verify(on)) if how == "verify" else loader.run(on, max_rejects="100%", **options)
        if how in ("check", "verify"):
            assert durable(files(self.work)) == durable(there)
            if any(path.endswith("-journal") for path in state) and report.status == "failed":
                assert any("a transaction was cut off: a load" in problem for problem in told_wrong(report))
                return
        assert report.status == ("complete" if how == "verify" else "rejects"), told_wrong(report)
        assert {tally.name: tally.counts.unchanged for tally in report.tallies.values()} == {
            name: len(before[name]) for name in NAMES
        }
        assert sound(self.work / "db") == (before if how in ("check", "verify") else self.after)
        if how == "atomic":
            assert {path.name for path in (self.work / "db").iterdir()} == {f"{name}.db" for name in NAMES}


def durable(state: State) -> State:
    """The files of a state that hold anything, but for the index of a write-ahead log, which SQLite makes anew."""
    return {path: data for path, data in state.items() if data and not path.endswith("-shm")}


def told_wrong(report: loader.Report) -> list[str]:
    return [str(tally.problem) for tally in report.tallies.values() if tally.problem]


Prepare = Callable[[Path], None]
"""Makes a directory ready for a load."""


def changing(prepare: Prepare, directory: Path, *mutants: str) -> tuple[Record, Change]:
    """Record an atomic load."""
    work = directory / PLACE
    prepare(work)
    before = sound(work / "db")
    program = ("tests.torture.announcing", "data", "db", "atomic", *mutants)
    of = record(program, work, directory / "log", environment())
    assert of.killed(len(of.steps)) == files(work), "the record is not what has happened"
    return of, Change(work, before, sound(work / "db"))


@pytest.fixture(scope="module", params=some([grown, new], 1))
def changed(request: pytest.FixtureRequest) -> Iterator[tuple[Prepare, Record, Change]]:
    """A load that is recorded once for all who look at it."""
    with new_place() as directory:
        yield request.param, *changing(request.param, directory)


@recorded
def test_all_or_none_is_stored_after_every_kill_and_power_cut(
    changed: tuple[Prepare, Record, Change], tmp_path: Path
) -> None:
    """All three databases are as before or as after the load; run again, it comes to its end and leaves nothing."""
    prepare, of, change = changed
    plain = tmp_path / "plain"
    prepare(plain)
    loader.run(jobs(plain / "data", plain / "db"))
    assert sound(plain / "db") == change.after, "other records than those of a load that is not atomic"

    def is_stored(case: tuple[int, Moment]) -> bool:
        at, moment = case
        own = change.of_this_process
        own.put(moment.state)
        stored = own.check(moment.told)
        if WHOLE or at % 16 == 0:
            own.check_next(moment.state, stored, NEXT[at // (1 if WHOLE else 16) % len(NEXT)])
        return stored == change.after

    seen = share(is_stored, [*enumerate(moments(of, some(ends(of), 6)))])
    assert {*seen} == {False, True}
    assert not WHOLE or len(seen) > 400, len(seen)


@recorded
def test_a_commit_that_was_cut_off_is_undone_by_whatever_is_next(changed: tuple[Prepare, Record, Change]) -> None:
    """Where the journals of all databases name each other, lanes that open these at once undo it, or say so."""
    _, of, change = changed
    cut_off = [
        state
        for state in map(of.killed, ends(of))
        if sum(path.endswith(".db-journal") for path in state) == 3 and any("-mj" in path for path in state)
    ]
    assert len(cut_off) > 10

    def check(case: tuple[int, State]) -> None:
        at, state = case
        own = change.of_this_process
        own.put(state)
        before = own.check()
        for how in NEXT if WHOLE else NEXT[at % len(NEXT) :][:1]:
            own.check_next(state, before, how)

    share(check, [*enumerate(some(cut_off, 4))], worth=1)


MUTANTS = {
    "one database is committed after the other": "the databases are torn",
    "all is committed with write-ahead logs": "the databases are torn",
    "nothing of all is synced": "told to be stored",
    "all is told before it is stored": "told to be stored",
}
"""What is to be found out of each."""


@recorded
@pytest.mark.parametrize(("prepare", "mutant"), some([*product([grown, new], MUTANTS)], 1))
def test_a_mutant_is_caught(prepare: Prepare, mutant: str, tmp_path: Path) -> None:
    """A load that commits in another way is caught by the same check of the same moments."""
    of, change = changing(prepare, tmp_path, mutant)

    def check(moment: Any) -> None:
        put(moment.state, change.work)
        change.check(moment.told)

    with pytest.raises(AssertionError, match=MUTANTS[mutant]):
        check_each(moments(of, ends(of)[::-1]), check)


@recorded
@pytest.mark.parametrize(
    ("mutant", "fault"),
    [
        ("the log of a database is not begun again", None),
        ("nor is the removal of its journal synced", "told to be stored"),
    ],
)
def test_a_database_alone_is_stored_for_good_when_it_is_told(mutant: str, fault: str | None, tmp_path: Path) -> None:
    """Also where another program keeps its log from being begun again; no list of journals has been synced then."""

    def alone(directory: Path) -> None:
        make_data(directory / "data")
        for name in NAMES[1:]:
            (directory / "data" / f"{name}.csv").unlink()

    of, change = changing(alone, tmp_path, mutant)

    def check(moment: Moment) -> None:
        put(moment.state, change.work)
        change.check(moment.told)

    with pytest.raises(AssertionError, match=fault) if fault else nullcontext():
        check_each(moments(of, ends(of)[-20:]), check)


@pytest.mark.parametrize(("mutant", "code", "users"), [(None, 3, 0), ("rejects are no obstacle", 1, 8)])
def test_rejects_are_an_obstacle(mutant: str | None, code: int, users: int, tmp_path: Path) -> None:
    """The sample, which has some, is not stored; a loader that does not mind them stores it."""
    program = of_mutant(mutant, "-qq", "--atomic", "--data", str(SAMPLE))
    done = warm.run(*program, env=environment(), timeout=60, cwd=tmp_path)
    assert (done.returncode, len(sound(tmp_path)["users"])) == (code, users)
