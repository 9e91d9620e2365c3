"""What every target promises, and what SQLite adds to it."""

import asyncio
import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest
from attrs import define, field, make_class
from attrs.validators import gt

from loader.core.dataset import Dataset
from loader.core.errors import TargetError
from loader.core.fields import Group
from loader.core.records import Records
from loader.core.values import max_places, not_blank
from loader.targets import Lookup, Table, Target, recovery, sqlite
from loader.targets.sqlite import SqliteTarget

T = TypeVar("T")


@define
class Thing:
    id: int
    name: str = field(validator=not_blank)
    price: Decimal | None = field(default=None, validator=max_places(2))
    of: int | None = None


@define
class Word:
    word: str
    rank: int = field(validator=gt(0))


THINGS = Dataset("things", Thing, "id", unique=("name", "of"), nocase=("name",), references={"of": "things"})
WORDS = Dataset("words", Word, "word")


@define
class Seat:
    row: str
    place: int
    guest: str


SEATS = Dataset("seats", Seat, ("row", "place"), [("row", "guest")], "row")


def wanting(dataset: Dataset = THINGS, **values: Collection[object]) -> dict[Group, Sequence[object]]:
    """Values that are claimed, by what claims them."""
    groups = {group.name: group for group in dataset.claim_groups}
    return {groups[name]: list(some) for name, some in values.items()}


TARGETS: dict[str, Callable[[Path], Target]] = {"sqlite": lambda directory: SqliteTarget(directory / "things.db")}
"""How a target of each kind is made, whose files, if it has any, are in this directory."""


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return TARGETS[request.param](tmp_path)


def let_threads_end(others: set[threading.Thread]) -> None:
    for thread in set(threading.enumerate()) - others:
        thread.join(2)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Whatever happened, no connection stays behind that would keep the process alive."""
    before = set(threading.enumerate())
    yield
    let_threads_end(before)
    assert set(threading.enumerate()) <= before


def opened(target: Target, step: Callable[[Table], Awaitable[T]], check: bool = False, dataset: Dataset = THINGS) -> T:
    """Do something with the table of a target that is opened for it."""

    async def run() -> T:
        async with target.open(dataset, check) as table:
            return await step(table)

    return asyncio.run(run())


async def write(table: Table, *inserts: Any, updates: Any = ()) -> None:
    async with table.transaction():
        await table.update(Records.of(updates))
        await table.insert(Records.of(inserts))


def insert(target: Target, *records: Any) -> None:
    opened(target, lambda table: write(table, *records))


async def records_of(table: Table) -> set[Any]:
    return set(await table.find(wanting(id=range(-10, 50))))


def records(target: Target) -> set[Any]:
    return opened(target, records_of)


def stored(target: Target, keys: Any, check: bool = False, dataset: Dataset = THINGS) -> set[object]:
    async def run() -> set[object]:
        async with target.lookup(dataset, check) as lookup:
            return await found_by(lookup, keys)

    return asyncio.run(run())


async def found_by(lookup: Lookup, keys: Collection[object]) -> set[object]:
    return set(keys) - await lookup.missing(keys)


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    """The files of a directory with all their bytes and times of change."""
    return {
        str(path.relative_to(directory)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (directory, *directory.rglob("*"))
    }


A, B, C = (1, "Anvil", 9.5, None), (2, "Bolt", 100, 1), (-3, "çedille", None, 2)


# The contract.


def test_opening_makes_the_table(target: Target) -> None:
    """A database that is not there is made, without records; opened again it is found."""
    for _ in range(2):
        assert opened(target, records_of) == set()


def test_what_is_inserted_is_found(target: Target) -> None:
    """Records are found by key and by unique value, in any case where case does not count, each once, as they were."""
    insert(target, A, B, C)

    async def find(table: Table) -> list[Any]:
        by_name: Any = [wanting(name=[name]) for name in ("BOLT", "ÇEDILLE", "çEDille")]
        claims: Any = [wanting(id=[1]), *by_name, wanting(id=[2, -3], name=["bolt"], of=[1]), wanting(id=[]), {}]
        return [sorted(await table.find(each), key=str) for each in claims]

    assert opened(target, find) == [[A], [B], [], [C], [C, B], [], []]


def test_what_is_read_back_is_what_was_written(target: Target) -> None:
    """Numbers and text of every kind come back equal and of the same type."""
    records_ = [
        (2**63 - 1, "NULL", 0, None),
        (-(2**63), "7", 0.01, -(2**63)),
        (0, "1e3", 999999999999999, 2**63 - 1),
        (1, "\t\r\n '\"", 9999999999999.99, 0),
        (2, "\U0001f600\u0000"[:1], -0.5, 1),
    ]
    insert(target, *records_)
    found = opened(target, lambda table: table.find(wanting(id=[record[0] for record in records_])))
    assert sorted(map(repr, found)) == sorted(map(repr, records_))


def test_text_can_be_a_key(target: Target) -> None:
    """Keys of text are told apart by case, and found as they are."""

    async def write_words(table: Table) -> list[Any]:
        await write(table, ("a", 1), ("A", 2), ("ä", 3))
        return await table.find(wanting(WORDS, word=["A", "ä", "b"]))

    assert sorted(opened(target, write_words, dataset=WORDS)) == [("A", 2), ("ä", 3)]
    assert stored(target, ["a", "B", "Ä"], dataset=WORDS) == {"a"}


def test_an_update_takes_the_place_of_a_record(target: Target) -> None:
    """An update replaces the record of its key, in the order given: the second may take what the first gives up."""
    insert(target, A, B)
    updates = [(1, "Awl", None, None), (2, "Anvil", 3, 1)]
    opened(target, lambda table: write(table, (4, "Bolt", 1, 4), updates=updates))
    assert records(target) == {*updates, (4, "Bolt", 1, 4)}


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
def test_a_transaction_happens_as_a_whole_or_not_at_all(
    target: Target, error: type[BaseException], check: bool
) -> None:
    """What was written in a transaction that is left by an error is gone; the next one is not disturbed."""
    insert(target, A, B)

    async def fail(table: Table) -> set[Any]:
        with contextlib.suppress(error):
            async with table.transaction():
                await table.update(Records.of([(1, "Awl", None, None)]))
                many = [(number, f"n{number}", None, number) for number in range(100, 3_000)]
                await table.insert(Records.of([C, *many]))
                raise error
        assert await records_of(table) == {A, B}
        await write(table, (5, "e", None, None))
        return await records_of(table)

    assert opened(target, fail, check) == {A, B, (5, "e", None, None)}
    assert len(records(target)) == (2 if check else 3)


@pytest.mark.parametrize(
    "bad",
    [
        (1, "x", None, None),
        (9, "ANVIL", None, None),
        (9, "x", None, 7),
        (9, None, None, None),
        ("x", "x", None, None),
    ],
    ids=str,
)
def test_the_table_is_a_second_line_of_defence(target: Target, bad: Any) -> None:
    """A record that should never have come so far is refused by the table, with all that was written beside it."""
    insert(target, (1, "Anvil", 1, 7))

    async def fail(table: Table) -> None:
        with pytest.raises(TargetError, match=table_name(target)):
            await write(table, (20, "good", None, None), bad, (21, "good too", None, None))
        assert await records_of(table) == {(1, "Anvil", 1, 7)}
        await write(table, (5, "e", None, None))

    opened(target, fail)
    assert records(target) == {(1, "Anvil", 1, 7), (5, "e", None, None)}


def test_the_table_checks_what_others_write(path: Path) -> None:
    """What the model demands is demanded of other programs too; loader itself has asked the model, and goes faster."""
    insert(SqliteTarget(path), A)
    for bad in ("(9, '  ', NULL, NULL)", "(9, x'00', NULL, NULL)", "(9, 'x', 'y', NULL)"):
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            sql(path, f"INSERT INTO things VALUES {bad}")


def table_name(target: Target) -> str:
    return target.name.rpartition(os.sep)[2]


def test_a_table_knows_whether_it_had_records(target: Target) -> None:
    """`had_records` is about earlier runs, also where the load is only tried."""

    async def had(table: Table) -> bool:
        with contextlib.suppress(TargetError):
            await write(table, A)
        return table.had_records

    assert [opened(target, had, check) for check in (True, False, False, True)] == [False, False, True, True]


def test_a_lookup_sees_what_is_committed(target: Target) -> None:
    """A lookup finds keys once their transaction is over, and not before, while the table is open."""

    async def run() -> None:
        async with target.open(THINGS, check=False) as table:
            await write(table, A)
            async with target.lookup(THINGS, check=False) as lookup:
                assert await found_by(lookup, [1, 2, -3]) == {1}
                async with table.transaction():
                    await table.insert(Records.of([B]))
                    assert await found_by(lookup, [1, 2]) == {1}
                assert await found_by(lookup, [1, 2]) == {1, 2}

    asyncio.run(run())


@pytest.mark.parametrize("check", [False, True])
def test_a_lookup_where_nothing_is_finds_nothing(target: Target, check: bool, tmp_path: Path) -> None:
    """A database that is not there holds no keys, and is not made by looking."""
    before = snapshot(tmp_path)
    assert stored(target, [1], check) == set()
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("check", [False, True])
def test_a_lookup_in_a_database_without_the_table_finds_nothing(target: Target, check: bool) -> None:
    """A database of something else holds no keys of the dataset."""
    opened(target, write, dataset=WORDS)
    assert stored(target, [1], check) == set()


@pytest.mark.parametrize("check", [False, True])
def test_numbers_of_any_size_are_no_limit(target: Target, check: bool) -> None:
    """Tens of thousands of records are inserted, found and looked up at once."""
    many = [(number, f"name {number}", None, number) for number in range(40_000)]

    async def fill(table: Table) -> tuple[int, int]:
        await write(table, *many)
        by_key = await table.find(wanting(id=range(-40_000, 40_000)))
        return len(by_key), len(await table.find(wanting(id=range(40_000), name=[name for _, name, _, _ in many])))

    assert opened(target, fill, check) == (40_000, 40_000)
    assert len(stored(target, range(-40_000, 40_000))) == (0 if check else 40_000)


@pytest.mark.parametrize("check", [False, True])
def test_keys_of_several_fields_are_no_limit(target: Target, check: bool) -> None:
    """Tens of thousands of keys of several fields are found, also by what is unique without regard to case."""
    many = [(f"Row {number // 100}", number % 100, f"Guest {number}") for number in range(40_000)]

    async def fill(table: Table) -> tuple[int, int]:
        await write(table, *many)
        by_key = await table.find({SEATS.key_group: [(row, place) for row, place, _ in many] + [("row 1", 1)]})
        [unique] = SEATS.unique_groups
        return len(by_key), len(await table.find({unique: [(row.upper(), guest) for row, _, guest in many]}))

    assert opened(target, fill, check, SEATS) == (40_000, 40_000)
    found = stored(target, [("Row 1", 1), ("row 1", 1), ("Row 1", 100)], dataset=SEATS)
    assert found == (set() if check else {("Row 1", 1)})


def test_an_update_finds_its_record_by_several_fields(target: Target) -> None:
    """The fields of the key stay, the others change."""

    async def change(table: Table) -> set[Any]:
        await write(table, ("a", 1, "Ann"), ("A", 1, "Ben"))
        await write(table, updates=[("a", 1, "Cid")])
        return set(await table.find({SEATS.key_group: [("a", 1), ("A", 1)]}))

    assert opened(target, change, dataset=SEATS) == {("a", 1, "Cid"), ("A", 1, "Ben")}


def test_with_check_nothing_changes(target: Target, tmp_path: Path) -> None:
    """What is written on trial is seen by later calls, hides what it replaces, and leaves no trace."""
    insert(target, A, B, C)
    before = snapshot(tmp_path)
    updated, added = (1, "Awl", 1, 8), (4, "Anvil", None, 9)

    async def tried(table: Table) -> list[Any]:
        assert await records_of(table) == {A, B, C}
        await write(table, updates=[updated])
        await write(table, added)
        assert await records_of(table) == {updated, B, C, added}
        claims: Any = [wanting(id=[1]), wanting(name=["ANVIL"]), wanting(name=["awl"]), wanting(of=[8, 9, 1])]
        return [sorted(await table.find(each)) for each in claims]

    assert opened(target, tried, check=True) == [[updated], [added], [updated], [updated, B, added]]
    assert stored(target, [1, 2, 4], check=True) == {1, 2}
    assert snapshot(tmp_path) == before
    assert records(target) == {A, B, C}


def test_with_check_nothing_is_made(tmp_path: Path) -> None:
    """On trial neither a database nor its directory is made."""
    for make in TARGETS.values():
        target = make(tmp_path / "new")
        assert opened(target, lambda table: write(table, A), check=True) is None
        assert stored(target, [1], check=True) == set()
        assert list(tmp_path.iterdir()) == []


# SQLite.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "things.db"


def sql(path: Path, *statements: str) -> list[Any]:
    """Run statements as another program would, and return the rows of the last."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for statement in statements[:-1]:
            connection.execute(statement)
        return connection.execute(statements[-1]).fetchall()
    finally:
        connection.close()


def refused(
    target: Target, words: str, check: bool = False, step: Callable[[Table], Awaitable[Any]] = records_of
) -> None:
    """The target cannot be used, and says so in a line that names it."""
    with pytest.raises(TargetError, match=words) as error:
        opened(target, step, check)
    assert target.name in str(error.value)
    assert "\n" not in str(error.value)


def test_each_commit_is_durable(path: Path) -> None:
    """The connection really writes ahead and waits for the disk."""

    async def pragmas(table: Any) -> list[Any]:
        return [await table._connection.run(f"PRAGMA {name}") for name in ("journal_mode", "synchronous")]

    assert opened(SqliteTarget(path), pragmas) == [[("wal",)], [(2,)]]
    assert sql(path, "PRAGMA journal_mode") == [("wal",)]


def test_a_disk_that_allows_no_write_ahead_log_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If SQLite answers the wish for a write-ahead log with another mode, nothing is stored there."""
    run = sqlite.Connection.run

    async def without_wal(self: Any, statement: str, parameters: Any = ()) -> list[Any]:
        return await run(self, statement.replace("= WAL", "= DELETE"), parameters)

    monkeypatch.setattr(sqlite.Connection, "run", without_wal)
    refused(SqliteTarget(path), "does not allow a write-ahead log .journal mode delete.")


@pytest.mark.parametrize(
    "name", ["a b.db", "a?mode=ro#x.db", "100%41.db", 'it\'s "quoted".db', "ü.db", ":memory:", "file:x"]
)
def test_any_file_name_will_do(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is the name of a file, whatever stands in it, in a directory that may not be there yet."""
    monkeypatch.chdir(tmp_path)
    for target in (SqliteTarget(tmp_path / "deep" / "er" / name), SqliteTarget(Path(name))):
        insert(target, A)
        assert target.path.is_file()
        assert (records(target), stored(target, [1, 2], check=True)) == ({A}, {1})
        assert opened(target, records_of, check=True) == {A}


FITS = [
    'CREATE TABLE things ("of" INT UNIQUE, id INTEGER PRIMARY KEY, name VARCHAR(9) UNIQUE COLLATE NOCASE, '
    "price DECIMAL(9, 2))",
    "CREATE TABLE THINGS (id INTEGER NOT NULL, name TEXT, price NUMERIC, 'of' BIGINT, note TEXT,"
    " n INT NOT NULL DEFAULT 7, PRIMARY KEY (id), UNIQUE ('of'));"
    "CREATE UNIQUE INDEX by_name ON things (name COLLATE NOCASE);"
    "CREATE INDEX by_note ON things (note, n)",
]


@pytest.mark.parametrize("statements", FITS)
def test_a_table_that_fits_is_adopted(path: Path, statements: str) -> None:
    """A table of other hands is used if its columns, key and unique values are those of the dataset."""
    sql(path, *statements.split(";"), "INSERT INTO things (id, name, price, 'of') VALUES (1, 'Anvil', 9.5, NULL)")
    target = SqliteTarget(path)
    for check in (True, False):
        assert opened(target, records_of, check) == {A}
    insert(target, B)
    assert records(target) == {A, B}


def misfit_table(**changes: str) -> str:
    columns = {
        "id": "id INTEGER PRIMARY KEY",
        "name": "name TEXT COLLATE NOCASE UNIQUE",
        "price": "price NUMERIC",
        "of": '"of" INTEGER UNIQUE',
    } | changes
    return f"CREATE TABLE things ({', '.join(column for column in columns.values() if column)})"


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (misfit_table(price=""), "it has no column price"),
        (misfit_table(name="name INTEGER COLLATE NOCASE UNIQUE"), "its column name is INTEGER, not TEXT"),
        (misfit_table(price="price"), "its column price is of no type, not NUMERIC"),
        (misfit_table(price="price FLOAT"), "its column price is FLOAT, not NUMERIC"),
        (misfit_table(price="price NUMERIC NOT NULL"), "its column price may not be NULL"),
        (misfit_table(more="more TEXT NOT NULL"), "its column more must have a value"),
        (misfit_table(id="id INTEGER"), "its primary key is missing, not id"),
        (misfit_table(id="id INTEGER", key="PRIMARY KEY (id, name)"), "its primary key is id, name, not id"),
        (misfit_table(name="name TEXT PRIMARY KEY", id="id INTEGER"), "its primary key is name, not id"),
        (misfit_table(name="name TEXT UNIQUE"), "name .*unique in it"),
        (misfit_table(name="name TEXT COLLATE NOCASE"), r"name \(NOCASE\) is not unique in it"),
        (misfit_table(price="price NUMERIC UNIQUE"), r"price \(BINARY\) is unique in it"),
        (misfit_table(more="UNIQUE (price, name)"), r"name .* and price .* is unique in it"),
        (misfit_table() + ";CREATE UNIQUE INDEX i ON things (price) WHERE price > 1", "price .* is unique in it"),
        (misfit_table() + ";CREATE UNIQUE INDEX i ON things (abs(price))", ".*is unique in it"),
        ("CREATE VIEW things AS SELECT 1 AS id", "it is a view"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_unchanged(path: Path, statements: str, words: str, check: bool) -> None:
    """A table that cannot take the records is refused with what is wrong and a way out; its file stays as it was."""
    sql(path, *statements.split(";"))
    before = snapshot(path.parent)
    refused(
        SqliteTarget(path), f"its table things does not fit: {words}.*; move the file away, or choose another", check
    )
    assert snapshot(path.parent) == before


def test_a_key_that_is_compared_otherwise_does_not_fit(path: Path) -> None:
    """A table whose key takes `a` and `A` for one cannot hold two records that the dataset tells apart."""
    sql(path, "CREATE TABLE words (word TEXT COLLATE NOCASE PRIMARY KEY, rank INTEGER)")
    with pytest.raises(TargetError, match="its table words does not fit"):
        opened(SqliteTarget(path), lambda table: write(table, ("a", 1), ("A", 2)), dataset=WORDS)


def test_another_writer_is_waited_for_and_then_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that another program has locked is waited for, for a while; then that is said."""
    target = SqliteTarget(path)
    insert(target, A)
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    with contextlib.closing(other):
        other.execute("BEGIN IMMEDIATE")
        refused(target, "another program has locked it: run again", step=lambda table: write(table, B))
        assert opened(target, lambda table: write(table, B), check=True) is None
        assert stored(target, [1, 2]) == {1}
        other.execute("ROLLBACK")
        insert(target, B)
    assert records(target) == {A, B}


def test_another_writer_of_a_new_database_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same while the database is not yet in the mode in which loader writes."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    sql(path, "CREATE TABLE other (x)")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        refused(SqliteTarget(path), "another program has locked it: run again")


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_taken_away_is_noticed(path: Path, replaced: bool) -> None:
    """Records are not lost in a file that has no name any more, nor counted for one that took its name."""

    def take_away() -> None:
        path.rename(path.with_name("moved.db"))
        if replaced:
            path.write_bytes(b"")

    async def lose(table: Table) -> None:
        await write(table, A)
        take_away()
        await write(table, B)

    refused(SqliteTarget(path), "was removed or replaced while it was written to", step=lose)
    assert (path.read_bytes() if replaced else path.exists()) in (b"", False)


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("text", ["id,name\n1,Anvil\n" * 100, "x" * 50, "SQLite format 3\0" + "x" * 5_000])
def test_a_file_that_is_no_database_is_refused_unchanged(path: Path, text: str, check: bool) -> None:
    """A text file of the database's name is not written to, and the way out is told."""
    path.write_text(text)
    before = snapshot(path.parent)
    refused(SqliteTarget(path), "it is not an SQLite database: move it away, or choose another directory", check)
    with pytest.raises(TargetError, match="not an SQLite database"):
        stored(SqliteTarget(path), [1], check)
    assert snapshot(path.parent) == before


@pytest.mark.parametrize("check", [False, True])
def test_an_empty_file_is_a_database_to_be(path: Path, check: bool) -> None:
    """A file of no bytes is as good as none, as SQLite has it."""
    path.touch()
    assert opened(SqliteTarget(path), records_of, check) == set()
    assert stored(SqliteTarget(path), [1], check) == set()
    assert bool(path.read_bytes()) is not check


def test_a_damaged_database_is_told(path: Path) -> None:
    """A database whose pages were overwritten is told to be damaged, with its name."""
    target = SqliteTarget(path)
    insert(target, *((number, f"name {number}", None, number) for number in range(2_000)))
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xaa" * (len(data) - 4096)
    path.write_bytes(data)
    refused(target, "it is damaged: restore it, or move it away")


def test_a_name_that_cannot_be_a_file_is_told(tmp_path: Path) -> None:
    """A directory of the database's name, and a file in the place of its directory, are told with the way out."""
    (tmp_path / "things.db").mkdir()
    refused(
        SqliteTarget(tmp_path / "things.db"), "is not a file: move it away, or choose another directory with --into"
    )
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match=r"file cannot be made: "):
        opened(SqliteTarget(tmp_path / "file" / "things.db"), records_of)


def test_a_new_directory_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each directory that is made is synced into the one above, which SQLite does not do, before a record is stored."""
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    insert(SqliteTarget(tmp_path / "new" / "within" / "things.db"), A)
    assert synced == [tmp_path.stat().st_ino, (tmp_path / "new").stat().st_ino]
    insert(SqliteTarget(tmp_path / "new" / "within" / "things.db"), B)
    assert len(synced) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any file")
@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_may_not_be_written_to_is_told(path: Path, what: str) -> None:
    """A file or directory without permission is told with the way out, and can still be checked."""
    target = SqliteTarget(path)
    insert(target, A)
    locked = path if what == "file" else path.parent
    locked.chmod(0o444 if what == "file" else 0o555)
    try:
        refused(target, "may not be written to|cannot be opened", step=lambda table: write(table, B))
        assert opened(target, records_of, check=True) == {A}
    finally:
        locked.chmod(0o755)


def test_a_full_disk_is_told_and_nothing_is_half_done(path: Path) -> None:
    """If the database cannot grow, that is said, and not that the rollback failed; with more room the load goes on."""
    target = SqliteTarget(path)

    async def fill(table: Any) -> set[Any]:
        await write(table, A)
        [[pages]] = await table._connection.run("PRAGMA page_count")
        await table._connection.run(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(TargetError, match=r"things\.db: the disk is full: make room and run again"):
            await write(table, B, *((number, "x" * 1_000 + str(number), None, None) for number in range(100, 200)))
        assert await records_of(table) == {A}
        await table._connection.run("PRAGMA max_page_count = 100000")
        await write(table, B)
        return await records_of(table)

    assert opened(target, fill) == {A, B}
    assert records(target) == {A, B}


def test_an_opening_that_fails_leaves_nothing_that_complains(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a database cannot be opened the thread of its connection ends in peace, also if the loop ends at once."""
    complaints: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda complaint: complaints.append(complaint.exc_value))
    path.mkdir()
    before = set(threading.enumerate())
    for _ in range(50):
        with pytest.raises(TargetError):
            opened(SqliteTarget(path), records_of)
    let_threads_end(before)
    assert not complaints


def test_an_error_keeps_its_cause(path: Path) -> None:
    """What SQLite said is kept behind the words for the user."""
    path.write_text("no database\n" * 100)
    with pytest.raises(TargetError) as error:
        opened(SqliteTarget(path), records_of)
    assert isinstance(error.value.__cause__, sqlite3.DatabaseError)


def test_the_table_says_again_what_the_model_says(path: Path) -> None:
    """Also what another program writes has to keep the rules: types, no blanks, no doubles in any case, a key."""
    insert(SqliteTarget(path), A)
    bad = ["2, ' ', 1, 1", "2, 'ANVIL', 1, 1", "2, 'b', 'x', 1", "'x', 'b', 1, 1", "2, NULL, 1, 1", "2, x'00', 1, 1"]
    for values in bad:
        with pytest.raises(sqlite3.IntegrityError):
            sql(path, f"INSERT INTO things VALUES ({values})")
    opened(SqliteTarget(path.with_name("words.db")), records_of_words, dataset=WORDS)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        sql(path.with_name("words.db"), "INSERT INTO words VALUES ('a', 0)")


async def records_of_words(table: Table) -> list[Any]:
    return await table.find(wanting(WORDS, word=["a"]))


def leave_a_log(path: Path) -> None:
    """Make a database as a program that was killed leaves it: the last transaction is only in its log."""
    living = path.with_name("living.db")
    insert(SqliteTarget(living), A)
    with contextlib.closing(sqlite3.connect(living, isolation_level=None)) as connection:
        connection.execute("INSERT INTO things VALUES (2, 'Bolt', 100, 1)")
        for ending in ("", "-wal"):
            shutil.copy2(f"{living}{ending}", f"{path}{ending}")
    living.unlink()


def test_a_check_reads_a_leftover_log_and_leaves_it(path: Path) -> None:
    """What a killed run committed last is seen on trial, and neither database nor log is changed."""
    leave_a_log(path)
    before = snapshot(path.parent)
    target = SqliteTarget(path)
    assert opened(target, records_of, check=True) == {A, B}
    assert stored(target, [1, 2, 3], check=True) == {1, 2}
    after = snapshot(path.parent)
    assert {name: after[name] for name in ("things.db", "things.db-wal")} == {
        name: before[name] for name in ("things.db", "things.db-wal")
    }
    assert set(after) <= {*before, "things.db-shm"}  # the index of the log, which a kill leaves as well


def test_a_leftover_log_is_part_of_the_database(path: Path) -> None:
    """A run goes on from what the killed one committed last."""
    leave_a_log(path)
    insert(SqliteTarget(path), C)
    assert records(SqliteTarget(path)) == {A, B, C}


def test_a_check_beside_a_writer_sees_what_is_committed(path: Path) -> None:
    """On trial, a database that another program writes to is read as of its last commit, and left as it is."""
    target = SqliteTarget(path)
    insert(target, A)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("INSERT INTO things VALUES (2, 'Bolt', 100, 1)")
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO things VALUES (3, 'Cog', 100, 2)")
        before = {name: Path(f"{path}{name}").read_bytes() for name in ("", "-wal")}
        assert opened(target, records_of, check=True) == {A, B}
        assert {name: Path(f"{path}{name}").read_bytes() for name in ("", "-wal")} == before


def test_a_collation_is_known_in_small_letters(path: Path) -> None:
    """SQL does not care for the case of a collation's name."""
    sql(path, misfit_table(name="name TEXT NOT NULL UNIQUE COLLATE nocase"))
    assert opened(SqliteTarget(path), lambda table: table.find(wanting(id=[1]))) == []


@pytest.mark.parametrize("is_free", [False, True])
def test_a_trigger_that_leaves_records_out_is_told(path: Path, is_free: bool) -> None:
    """What a table silently does not take is never counted as inserted, nor as held by another record."""

    async def add(table: Table) -> None:
        records = Records.of([(2, "b", None, None), (3, "c", None, None), *([(4, "A", None, None)] if is_free else [])])
        async with table.transaction():
            await (table.insert_free(records) if is_free else table.insert(records))

    insert(SqliteTarget(path), (1, "a", None, None))
    sql(
        path,
        "CREATE TRIGGER picky BEFORE INSERT ON things WHEN NEW.id = 3 BEGIN SELECT RAISE(IGNORE); END",
    )
    told = f"a trigger of the table leaves out 1 of {3 if is_free else 2} records; change"
    with pytest.raises(TargetError, match=rf"things\.db: {told}"):
        opened(SqliteTarget(path), add)
    assert sql(path, "SELECT id FROM things") == [(1,)]


def test_an_sqlite_that_is_too_old_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is begun with a version that cannot do what is needed."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    with pytest.raises(TargetError, match=r"things\.db: SQLite 3\.34\.1 is too old: use a Python that has 3\.35 or"):
        insert(SqliteTarget(path), A)
    assert not path.exists()


def test_a_table_that_allows_for_less_is_told(path: Path) -> None:
    """A constraint of an adopted table that the dataset does not have is named, with the way out."""
    sql(path, misfit_table(name="name TEXT NOT NULL UNIQUE COLLATE NOCASE CHECK (length(name) < 5)"))
    words = r"things\.db: CHECK constraint failed: .*: the table allows for less than the dataset; change that"
    with pytest.raises(TargetError, match=words):
        insert(SqliteTarget(path), (1, "longer", None, None))


def leave_a_journal(path: Path) -> None:
    """Leave a database as a program does that is killed amid a transaction with a rollback journal."""
    code = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA journal_mode = DELETE'); c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN')\n"
        "c.execute('DELETE FROM things')\n"
        "c.executemany('INSERT INTO things VALUES (?, ?, NULL, NULL)', [(i, f'{i} ' * 99) for i in range(9, 3000)])\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)
    assert path.with_name(f"{path.name}-journal").stat().st_size


def test_a_list_of_journals_is_put_away_beside_the_file_that_a_link_names(path: Path) -> None:
    """SQLite keeps it there, and leaves it where the power went before it was removed."""
    insert(SqliteTarget(path), A)
    link = path.with_name("link.db")
    link.symlink_to(path.name)
    listing = path.with_name(f"{path.name}-mj12345678")
    listing.write_bytes(os.fsencode(f"{path}-journal\0"))
    insert(SqliteTarget(link), B)
    assert not listing.exists()


def test_a_list_of_journals_that_is_not_written_yet_is_left_alone(path: Path) -> None:
    """SQLite makes it when it has locked the databases, and it is of nobody's any more when they can be read."""
    insert(SqliteTarget(path), A)
    listing = path.with_name(f"{path.name}-mj12345678")
    listing.touch()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        asyncio.run(recovery.recover(path))
        assert listing.exists()
    asyncio.run(recovery.recover(path))
    assert not listing.exists()


@pytest.mark.parametrize("opening", [SqliteTarget.open, SqliteTarget.lookup])
def test_what_was_cut_off_is_undone_beside_the_event_loop(
    opening: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that takes long to undo holds up nothing else."""
    insert(SqliteTarget(path), A)
    leave_a_journal(path)
    goes_on, undo, seen = threading.Event(), recovery._is_in_order, []

    def slow(path: Path) -> bool:
        seen.append(goes_on.wait(5))
        return undo(path)

    monkeypatch.setattr(recovery, "_is_in_order", slow)

    async def use() -> None:
        asyncio.get_running_loop().call_later(0.05, goes_on.set)
        async with opening(SqliteTarget(path), THINGS, check=False):
            pass

    asyncio.run(use())
    assert seen == [True]
    assert stored(SqliteTarget(path), [1, 9]) == {1}


@pytest.mark.parametrize("named", [["TMPDIR"], ["SQLITE_TMPDIR", "TMPDIR"], []])
def test_a_full_directory_of_temporary_files_is_named(
    named: Sequence[str], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept there of a check, or of an atomic load, has no room; the disk of the database has."""
    for name in ("SQLITE_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    for name in named:
        monkeypatch.setenv(name, str(tmp_path / name))
        (tmp_path / name).mkdir()

    async def fill(table: Any) -> None:
        await table._connection.run("PRAGMA max_page_count = 9")
        await write(table, *((at, f"{at} " * 99, None, None) for at in range(1_000)))

    directory, name = (tmp_path / named[0], named[0]) if named else ("/var/tmp", "TMPDIR")
    words = f"{directory}, the directory of temporary files, is full: make room there, or name another one in {name},"
    refused(SqliteTarget(path), re.escape(words), check=True, step=fill)


def test_a_check_does_not_read_what_was_cut_off(path: Path) -> None:
    """A transaction that another program did not finish is undone by a load, and must not be by a check."""
    insert(SqliteTarget(path), (1, "a", None, None))
    leave_a_journal(path)
    before = snapshot(path.parent)
    with pytest.raises(
        TargetError, match=r"things\.db: a transaction was cut off: a load, which may write to it, undoes"
    ):
        stored(SqliteTarget(path), [1, 9], check=True)
    assert snapshot(path.parent) == before
    assert stored(SqliteTarget(path), [1, 9]) == {1}
    assert {each.name for each in path.parent.iterdir()} == {path.name}


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("had_records", [False, True])
def test_what_is_free_is_added(target: Target, had_records: bool, check: bool) -> None:
    """Records are added but for those whose key or name, in whatever case, another one has."""
    if had_records:
        insert(target, A, B)
    many = [(at, f"n{at}", None, None) for at in range(100, 5_000)]

    async def added(table: Table) -> tuple[Sequence[int], ...]:
        async with table.transaction():
            return (
                await table.insert_free(Records.of([(3, "c", None, None), (4, "C", None, None), (5, "d", None, None)])),
                await table.insert_free(Records.of([*many, (6, "N200", None, None), (7, "f", None, None)])),
                await table.insert_free(Records.of([(2, "h", None, None), (8, "ANVIL", None, None)])),
                await table.insert_free(Records.of([])),
            )

    assert [list(held) for held in opened(target, added, check)] == [[1], [4_900], [0, 1] if had_records else [], []]
    there = {record[0] for record in records(target)}  # of those below 50
    if check:
        assert there == ({1, 2} if had_records else set())
    else:
        assert there == {3, 5, 7} | ({1, 2} if had_records else {2, 8})


@pytest.mark.parametrize("check", [False, True])
def test_a_table_may_have_the_name_of_what_sql_calls_the_new_record(tmp_path: Path, check: bool) -> None:
    """`excluded` is the record that is written, also in a table of that name."""
    dataset = Dataset("Excluded", make_class("X", {"id": field(type=int), "name": field(type=str)}), "id", ("name",))

    async def changed(table: Table) -> tuple[Sequence[int], list[Any]]:
        async with table.transaction():
            await table.insert(Records.of([(1, "a"), (2, "b")]))
            held = await table.insert_free(Records.of([(4, "a"), (5, "c")]))
            await table.update(Records.of([(1, "z")]))
            return held, await table.find(wanting(dataset, id=[1, 4, 5]))

    held, found = opened(SqliteTarget(tmp_path / "excluded.db"), changed, check, dataset)
    assert (held, sorted(found)) == ([0], [(1, "z"), (5, "c")])


MIXED: Any = int | str


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("type_", "keys"),
    [
        (int, [-(2**63), 0, 2**63 - 1, 7, 8]),
        (str, ["a", "A", "ä", "'", "b\n"]),
        (float, [0.0, -1.5, 1e300, 2.0, 5e-324]),
        (Decimal, [1, 1.5, -3, 0.01, 123456789012345]),
        (MIXED, [1, "1", "a", 2, "2"]),
    ],
)
def test_what_is_held_is_known_by_keys_of_any_kind(tmp_path: Path, type_: Any, keys: list[Any], check: bool) -> None:
    """A record is found out by its key, whatever that is, and by what it wants alone."""
    dataset = Dataset("tags", make_class("Tag", {"id": field(type=type_), "name": field(type=str)}), "id", ("name",))
    first = [(key, f"n{at}") for at, key in enumerate(keys[:3])]
    second = [(keys[3], "x"), (keys[1], "y"), (keys[4], "n2"), (keys[2], "n2")]

    async def added(table: Table) -> list[Sequence[int]]:
        async with table.transaction():
            return [await table.insert_free(Records.of(some)) for some in (first, second[:3], second[3:])]

    assert opened(SqliteTarget(tmp_path / "tags.db"), added, check, dataset) == [[], [1, 2], [0]]


@pytest.mark.parametrize("check", [False, True])
def test_what_is_held_is_known_by_a_key_of_several_fields(tmp_path: Path, check: bool) -> None:
    """The key may be of several fields, and so may be what a record wants alone."""

    async def added(table: Table) -> list[Sequence[int]]:
        async with table.transaction():
            some = [("a", 1, "Ann"), ("A", 1, "Bob"), ("a", 2, "Cy")], [("a", 1, "Di"), ("b", 1, "Ed"), ("A", 3, "Ann")]
            return [await table.insert_free(Records.of(each)) for each in some]

    assert opened(SqliteTarget(tmp_path / "seats.db"), added, check, SEATS) == [[], [0, 2]]


@pytest.mark.parametrize("check", [False, True])
def test_records_that_differ_are_told_from_those_that_do_not(target: Target, check: bool) -> None:
    """A record is the same if every value is, case included, also where a part of them was written on trial."""
    insert(target, A, B, *((at, f"n{at}", None, None) for at in range(100, 5_000)))

    async def differing(table: Table) -> list[Any]:
        await write(table, (5, "e", None, None), updates=[(2, "Bolt", 100, 7)])
        some = [A, B, (2, "Bolt", 100, 7), (1, "anvil", 9.5, None), (5, "e", None, None), (6, "f", None, None)]
        same = [(at, f"n{at}", None, None) for at in range(100, 5_000)]
        return [list(await table.differing(Records.of(each))) for each in (some, same, [*same, *same, *some], [])]

    assert opened(target, differing, check) == [[1, 3, 5], [], [9_801, 9_803, 9_805], []]


def test_any_number_of_records_is_written(target: Target) -> None:
    """Records are written in portions of any size, each once."""
    insert(target, *((at, f"n{at}", None, None) for at in range(1, 9_876)))
    assert stored(target, range(10_000)) == set(range(1, 9_876))


def test_a_connection_that_is_closed_can_be_hurried(tmp_path: Path) -> None:
    """To close takes long where a log is taken up on a slow disk; who is told to hurry meanwhile goes on in order."""

    async def main() -> None:
        async with sqlite.connect("a.db", f"file:{tmp_path}/a.db") as connection:
            pass
        connection.hurry()
        assert connection.is_hurried

    asyncio.run(main())
