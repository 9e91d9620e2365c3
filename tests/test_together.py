"""An atomic load ends as any other does, or leaves every database as it was and says why."""

import asyncio
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

import loader
from loader import RejectLimit
from loader.cli import main
from loader.core.errors import TargetError
from loader.datasets import DATASETS, USERS
from loader.targets.tables import create_table
from tests.laws import (
    Content,
    Files,
    Setting,
    Trial,
    attempt,
    carry_out,
    check_all,
    check_conservation,
    check_no_dangling,
    contents,
    expected,
    settings_,
    told,
)
from tests.test_cli import (
    NAMES,
    big,
    final_state,
    left,
    result,
    rows,
    settle_in,
    started,
    stored_if_there,
    wait_until,
    write,
)
from tests.test_laws import copied, earlier, law, place

__all__ = ["big"]

ATOMIC = ("-qq", "--atomic")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)


# --- it ends as any other load ---------------------------------------------------------------------------------------


ALLOWED = RejectLimit(100, percent=True)


@law
@given(contents(), earlier, settings_, settings_, st.booleans())
def test_it_is_a_load_as_any_other(
    content: Content, before: Content | None, one: Setting, other: Setting, update: bool
) -> None:
    """All laws hold, whatever the interleaving; databases and report are those of a load that is not atomic."""
    options: Any = {"on_conflict": "update" if update else "reject", "max_rejects": ALLOWED}
    with place(content, before) as (directory, files):
        second = copied(directory / "db", "db2")
        atomic = carry_out(files, directory / "db", one, atomic=True, **options)
        plain = carry_out(files, second, other, **options)
        check_all(atomic, expected(atomic, update=update, max_percent=100))
        assert told(atomic.report) == told(plain.report)
        assert atomic.after == plain.after
        assert not [path.name for path in (directory / "db").iterdir() if path.suffix != ".db"]


@law
@given(contents(), earlier, settings_, st.sampled_from(NAMES), st.integers(1, 60))
def test_a_database_that_fails_keeps_all_out(
    content: Content, before: Content | None, setting: Setting, name: str, step: int
) -> None:
    """Whichever call fails, also the last, all databases are as they were, all is accounted for, and it can be done."""
    with place(content, before) as (directory, files):
        setting.schedule.fail_at(name, step, TargetError("the disk is full"))
        trial = carry_out(files, directory / "db", setting, atomic=True, max_rejects=ALLOWED)
        check_none_or_all(trial, is_stored=trial.report.status != "failed")
        check_done_again(trial, files, directory / "db")


@law
@given(contents(), earlier, settings_, st.integers(1, 160))
def test_a_load_that_is_cancelled_keeps_all_out(
    content: Content, before: Content | None, setting: Setting, moment: int
) -> None:
    """At whichever moment: all is stored or nothing, what is told is what is there, and running again does it."""
    with place(content, before) as (directory, files):
        trial = asyncio.run(
            attempt(files, directory / "db", setting, cancel=(moment,), atomic=True, max_rejects=ALLOWED)
        )
        check_none_or_all(trial, is_stored=trial.report.status in ("complete", "rejects"))
        check_done_again(trial, files, directory / "db")


def check_none_or_all(trial: Trial, is_stored: bool) -> None:
    """The databases are as before, or as the report says that they are to be; nothing of it is told otherwise."""
    check_no_dangling(trial)
    check_conservation(trial)
    if is_stored:
        check_all(trial, expected(trial, max_percent=100))
    else:
        assert trial.after == trial.before
        assert trial.report.totals.inserted == trial.report.totals.updated == 0
        assert "complete" not in {tally.status for tally in trial.report.tallies.values()}


def check_done_again(trial: Trial, files: Files, databases: Path) -> None:
    """The same load, run again, ends as one that nothing was in the way of."""
    again = carry_out(files, databases, Setting(), atomic=True, max_rejects=ALLOWED)
    check_all(again, expected(again, max_percent=100))
    whole = expected(trial, max_percent=100)
    assert again.after == {name: outcome.records for name, outcome in whole.items()}


def test_the_databases_are_left_as_by_any_load() -> None:
    """They have write-ahead logs, and nothing is beside them."""
    assert main([*ATOMIC, "--max-rejects", "4"]) == 0
    assert left() == {"rejects", "result.json", *(f"{name}.db" for name in NAMES)}
    for name in NAMES:
        with closing(sqlite3.connect(f"{name}.db")) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_value_that_a_later_key_sets_free_is_taken() -> None:
    """Records replace others in the order of the file, not of their keys."""
    write("data/users.csv", "id,name,email", "1,A,a@x.io", "2,B,b@x.io")
    assert main([*ATOMIC, "users"]) == 0
    write("data/users.csv", "id,name,email", "2,B,c@x.io", "1,A,b@x.io", "3,C,a@x.io")
    assert main([*ATOMIC, "users", "--on-conflict", "update"]) == 0
    assert rows("users") == [(1, "A", "b@x.io"), (2, "B", "c@x.io"), (3, "C", "a@x.io")]
    assert result()["run"]["atomic"]
    assert result()["totals"] == {"read": 3, "inserted": 1, "updated": 2, "unchanged": 0, "rejected": 0, "untried": 0}


def test_columns_of_others_are_kept() -> None:
    """A table with a column that no dataset has keeps it, whatever replaces the rest of the record."""
    write("data/users.csv", "id,name,email", "1,A,a@x.io")
    assert main([*ATOMIC, "users"]) == 0
    with closing(sqlite3.connect("users.db")) as connection:
        connection.execute("ALTER TABLE users ADD COLUMN note TEXT DEFAULT 'new'")
        connection.execute("UPDATE users SET note = 'kept'")
        connection.commit()
    write("data/users.csv", "id,name,email", "1,B,a@x.io", "2,C,c@x.io")
    assert main([*ATOMIC, "users", "--on-conflict", "update"]) == 0
    assert rows("users") == [(1, "B", "a@x.io", "kept"), (2, "C", "c@x.io", "new")]


def test_observers_are_told_what_is_stored_when_it_is() -> None:
    """What a lane has written is told as committed once it is in the database, and not before."""
    seen = []

    def observe(event: loader.Event) -> None:
        if isinstance(event, loader.Committed) and event.inserted:
            seen.append((event.dataset, event.inserted, len(rows(event.dataset))))

    loader.run(sample_jobs(), atomic=True, max_rejects=4, observe=observe)
    assert seen == [("users", 8, 8), ("products", 8, 8), ("orders", 6, 6)]


def sample_jobs() -> list[loader.Job]:
    return [loader.Job(each, f"data/{each.name}.csv", f"{each.name}.db") for each in DATASETS]


# --- or nothing is stored --------------------------------------------------------------------------------------------


def check_nothing_stored(*causes: str) -> None:
    """No record is there, the result says so, and each dataset has a problem; these are those of the causes."""
    assert set(stored_if_there().values()) <= {0}
    document = result()
    for each in document["datasets"]:
        assert (each["inserted"], each["updated"]) == (0, 0)
        assert each["read"] == each["unchanged"] + each["rejected"] + each["untried"]
        assert each["status"] in ("failed", "stopped")
    details = [problem["detail"] for problem in document["problems"]]
    assert [detail for detail in details if not detail.startswith("nothing of ")] == list(causes)
    assert len(details) == 3
    assert not list(Path().glob(".*"))


def test_rejects_that_are_not_allowed_for(capsys: pytest.CaptureFixture[str]) -> None:
    """All rejects are told, nothing is stored, and the exit code is 3."""
    assert main(["--atomic"]) == 3
    check_nothing_stored(
        *(
            f"{number} {name} were rejected, so nothing is stored: mend them, or allow for them with max-rejects, "
            "and run again"
            for number, name in ((2, "users"), (2, "products"), (4, "orders"))
        )
    )
    assert result()["totals"]["rejected"] == 8
    assert "Nothing was stored. Mend that, and run the same command again." in capsys.readouterr().out
    assert main([*ATOMIC, "--max-rejects", "4"]) == 0
    assert result()["totals"]["inserted"] == 22


def test_too_many_rejects() -> None:
    """A dataset with more rejects than allowed keeps the others from being stored as well."""
    assert main([*ATOMIC, "--max-rejects", "2"]) == 3
    check_nothing_stored("3 orders were rejected, more than max-rejects 2: mend them, or allow for more, and run again")


def test_nothing_is_left_beside_databases_that_stay_as_they_are() -> None:
    """They are read only, and closed."""
    assert main([*ATOMIC, "--max-rejects", "4"]) == 0
    before = {name: Path(f"{name}.db").read_bytes() for name in NAMES}
    write("data/users.csv", "id,name,email", "20,New,new@x.io", "21,Faulty,")
    assert main([*ATOMIC]) == 3
    assert {name: Path(f"{name}.db").read_bytes() for name in NAMES} == before
    assert left() == {"rejects", "result.json", *(f"{name}.db" for name in NAMES)}


def test_nothing_is_left_of_databases_that_were_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all of it cannot be committed, their files are gone; an empty one that was there before stays."""
    Path("products.db").touch()

    def fail(self: object) -> None:
        assert len(list(Path().glob("*.db"))) == 3
        raise TargetError("it fails")

    monkeypatch.setattr("loader.targets.staging._StagedTarget.check_in_place", fail)
    assert main([*ATOMIC, "--max-rejects", "4"]) == 3
    assert {path.name for path in Path().glob("*.db*")} == {"products.db"}


def test_a_source_that_fails() -> None:
    """A file that cannot be used keeps the others from being stored."""
    write("data/products.csv", "id,name")
    assert main([*ATOMIC, "--max-rejects", "4"]) == 3
    assert not stored_if_there()
    assert {each["status"] for each in result()["datasets"]} == {"failed", "stopped"}


def _is_open() -> Any:
    connection = sqlite3.connect("products.db")
    connection.execute("SELECT * FROM products").fetchone()
    return connection


def _is_locked() -> Any:
    connection = sqlite3.connect("products.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


@pytest.mark.parametrize("hold", [_is_open, _is_locked])
def test_another_program_that_holds_a_database(hold: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and no database is changed; the load is finished by running again."""
    monkeypatch.setattr("loader.targets.sqlite.BUSY_SECONDS", 0.2)
    shutil.copytree("data", "half")
    for name in NAMES:
        write(f"half/{name}.csv", *Path(f"data/{name}.csv").read_text().splitlines()[:4])
    assert main([*ATOMIC, "--data", "half"]) == 0
    before = stored_if_there()
    with closing(hold()):
        assert main([*ATOMIC, "--max-rejects", "4"]) == 3
    assert stored_if_there() == before
    [first, *_] = [each for each in result()["problems"] if each["dataset"] == "products"]
    assert first["detail"] == "products.db: another program has locked it: run again when that is done"
    assert main([*ATOMIC, "--max-rejects", "4"]) == 0
    assert list(stored_if_there().values()) == [8, 8, 6]


def test_another_program_that_is_done_in_time() -> None:
    """It is waited for, and the load is stored."""
    write("one/users.csv", "id,name,email")
    assert main([*ATOMIC, "--data", "one"]) == 0
    other = sqlite3.connect("users.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = Timer(0.5, other.close)
    timer.start()
    assert main([*ATOMIC, "--max-rejects", "4"]) == 0
    timer.join()
    assert list(stored_if_there().values()) == [8, 8, 6]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO users VALUES (3, 'Other', 'other@x.io')",
        "DELETE FROM users WHERE id = 2",
        "UPDATE users SET name = 'Other' WHERE id = 2",
        "CREATE TRIGGER t BEFORE INSERT ON users BEGIN SELECT RAISE(IGNORE); END",
    ],
)
def test_another_program_that_writes_meanwhile(statement: str) -> None:
    """Nothing is stored beside what it has written, which may be what a reference or a verdict relies on."""
    write("one/users.csv", "id,name,email", "2,Two,two@x.io")
    assert main([*ATOMIC, "--data", "one"]) == 0

    def observe(event: loader.Event) -> None:
        if isinstance(event, loader.Read) and event.dataset == "users":
            with closing(sqlite3.connect("users.db")) as connection:
                connection.execute(statement)
                connection.commit()

    report = loader.run(sample_jobs(), atomic=True, max_rejects=9, observe=observe)
    assert report.atomic
    assert report.exit_code == 3
    problem = "users.db: another program has written to it meanwhile: run again"
    assert str(report.tallies["users"].problem) == problem
    assert [tally.status for tally in report.tallies.values()] == ["failed", "stopped", "stopped"]
    assert report.totals.inserted == 0
    assert [Path(name).exists() and len(rows(name[:-3])) for name in ("products.db", "orders.db")] in (
        [False, False],
        [0, 0],
    )
    assert len(rows("users")) <= 2


def test_a_record_that_another_program_has_stored_as_well() -> None:
    """It does not pass for a sign that all of the load has come in."""
    write("one/users.csv", "id,name,email", "1,One,one@x.io", "2,Two,two@x.io")

    def observe(event: loader.Event) -> None:
        if isinstance(event, loader.Read):
            with closing(sqlite3.connect("users.db")) as connection:
                connection.execute(create_table(USERS))
                connection.executemany(
                    "INSERT INTO users VALUES (?, ?, ?)", [(1, "One", "one@x.io"), (2, "Other", "other@x.io")]
                )
                connection.commit()

    report = loader.run([loader.Job(USERS, "one/users.csv", "users.db")], atomic=True, observe=observe)
    assert report.exit_code == 3
    assert (report.totals.inserted, report.totals.untried) == (0, 2)
    assert "another program has written to it meanwhile" in str(report.tallies["users"].problem)
    assert [name for _, name, _ in rows("users")] == ["One", "Other"]


def test_a_list_of_journals_of_a_database_that_was_missing_is_put_away() -> None:
    """It can only be once that is there again."""
    assert main([*ATOMIC, "--max-rejects", "4", "users"]) == 0
    Path("products.db-journal").write_bytes(b"of products that were removed" * 40)
    Path("users.db-mj12345678").write_bytes(
        b"".join(os.fsencode(f"{Path(name).absolute()}-journal\0") for name in ("users.db", "products.db"))
    )
    assert main([*ATOMIC, "--max-rejects", "4"]) == 0
    assert {path.name for path in Path().glob("*.db*")} == {"users.db", "products.db", "orders.db"}


def test_a_database_that_has_other_tables_only() -> None:
    """It is let go of all the same before all are committed together."""
    with closing(sqlite3.connect("users.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE others (id)")
    report = loader.run(sample_jobs(), atomic=True, max_rejects=9)
    assert (report.exit_code, len(rows("users"))) == (0, 8)


def test_a_database_that_is_replaced_meanwhile() -> None:
    """Another file in its place is not taken for it."""
    assert main([*ATOMIC, "--max-rejects", "4"]) == 0
    shutil.copy("users.db", "other.db")

    def observe(event: loader.Event) -> None:
        if isinstance(event, loader.Read) and event.dataset == "users":
            os.replace("other.db", "users.db")

    report = loader.run(sample_jobs(), atomic=True, max_rejects=4, observe=observe)
    assert str(report.tallies["users"].problem) == "users.db was removed or replaced while it was loaded"


def has_kept(process: int, size: int) -> bool:
    """Whether a process has a file of such a size that has no name any more."""
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):
            if link.stat().st_size > size and not link.stat().st_nlink:
                return True
    return False


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the files that a process has open are not told")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)], ids=["INT", "TERM", "KILL"]
)
def test_a_signal_leaves_nothing(big: Path, number: int, code: int) -> None:
    """Nothing is stored, whatever the lanes had done; the next load ends as if nothing had been, and tidies up."""
    for name in NAMES:
        Path(f"data/{name}.csv").unlink()
        os.link(big / f"{name}.csv", f"{name}.csv")
    arguments = ("--atomic", "--data", ".", "--max-rejects", "100%")
    with started(*arguments) as process:
        wait_until(lambda: has_kept(process.pid, 2**16))
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    assert not stored_if_there()
    if number != signal.SIGKILL:
        assert b"Interrupted. Nothing was stored: run the same command again." in out
        document = result()
        assert document["totals"]["inserted"] == 0 < document["totals"]["untried"]
        assert {each["status"] for each in document["datasets"]} == {"interrupted"}
        assert not list(Path().glob(".*"))
    assert main(["-qq", *arguments]) == 0
    assert final_state(".") == final_state(big)
    assert not list(Path().glob(".*"))


# --- wrong use -------------------------------------------------------------------------------------------------------


def test_what_is_only_checked_is_not_atomic(capsys: pytest.CaptureFixture[str]) -> None:
    """The two are refused together, on the command line and in Python."""
    assert main(["--atomic", "--check"]) == 2
    assert capsys.readouterr().err == ("loader: --check stores nothing, --atomic all or nothing: choose one of them\n")
    with pytest.raises(loader.LoaderError, match="choose one of them"):
        loader.run(sample_jobs(), atomic=True, check=True)
    assert not stored_if_there()


def test_more_databases_than_sqlite_commits_together() -> None:
    """They are refused before anything is done; as many as go are loaded."""

    @define
    class Thing:
        id: int

    def several(number: int) -> list[loader.Job]:
        datasets = [loader.Dataset(name=f"things{at}", model=Thing, key="id") for at in range(number)]
        return [loader.Job(each, loader.rows([{"id": 1}], name="rows"), f"into/{each.name}.db") for each in datasets]

    with pytest.raises(loader.LoaderError, match="SQLite commits at most 11 databases together here, not 12"):
        loader.run(several(12), atomic=True)
    assert not Path("into").exists()
    assert loader.run(several(11), atomic=True).totals.inserted == 11


def test_a_database_with_two_names() -> None:
    """It is refused, for it would be in its own way."""
    Path("other.db").symlink_to("users.db")
    users, products, _ = sample_jobs()
    other = loader.Job(products.dataset, products.sources, "other.db")
    with pytest.raises(loader.LoaderError, match=r"users\.db and other\.db are not as many databases as names"):
        loader.run([users, other], atomic=True)


def test_databases_of_a_kind_that_cannot() -> None:
    """A target that cannot be committed together with others is refused."""

    class Other:
        name = "other"

    [first, *others] = sample_jobs()
    odd: Any = Other()
    for wrong in (
        [loader.Job(first.dataset, first.sources, odd), *others],
        [first, loader.Job(others[0].dataset, others[0].sources, odd)],
    ):
        with pytest.raises(loader.LoaderError, match="cannot be committed together"):
            loader.run(wrong, atomic=True)
    assert not stored_if_there()
