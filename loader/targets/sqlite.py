"""SQLite database files, one for each dataset or for several, durable at each commit (WAL, synchronous=FULL)."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    aclosing,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from time import monotonic
from typing import Any, TypeVar

import aiosqlite
from attrs import define, frozen

from loader.core.dataset import Dataset
from loader.core.errors import TargetError
from loader.core.fields import Group
from loader.core.records import Record, Records
from loader.core.restoring import Contests
from loader.disk import make_directory
from loader.targets import Lookup, Staging, Stored, Table, Target, to_its_end
from loader.targets.recovery import recover
from loader.targets.tables import compared, create_table, listed, misfit, quoted
from loader.threads import make_sure_of_room

_T = TypeVar("_T", bound="SqliteTable")

BUSY_SECONDS = 5.0
"""How long another program may hold a lock that is wanted."""

_BUSY_STEP = 0.1
"""How long SQLite itself waits for it at a time, while nothing can be told to it; also where it thinks it is no use."""

_VARIABLES = 32_766  # SQLITE_MAX_VARIABLE_NUMBER
_WRITTEN = 1024
"""How many records a statement writes, which is prepared once; the rest of a batch takes another statement."""
_CACHED = 32
"""How many statements are kept prepared; one of a thousand records takes half a megabyte."""
_LOOKED_UP = 4096
"""How many values a statement looks up at the most; fewer are padded to a power of two."""

_REFUSE = "loader_refuse"
"""What SQL calls the function that is told of each record which is in conflict with another."""

_PORTION = 256  # rows that are looked through at once, of a MiB or more each

_AGAIN = "run again when that is done"
_ELSEWHERE = "change that, or choose another directory with --into"
_WAYS_OUT = {
    sqlite3.SQLITE_BUSY: f"another program has locked it: {_AGAIN}",
    sqlite3.SQLITE_FULL: "the disk is full: make room and run again",
    sqlite3.SQLITE_IOERR: "the disk fails or is full: mend that and run again",
    sqlite3.SQLITE_READONLY: "it may not be written to: change its permissions, or choose another directory",
    sqlite3.SQLITE_READONLY_ROLLBACK: "a transaction was cut off: a load, which may write to it, undoes that",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: look at the directory and its permissions",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database: move it away, or choose another directory with --into",
    sqlite3.SQLITE_CORRUPT: "it is damaged: restore it, or move it away and load again",
}


@frozen
class SqliteTarget:
    """A database file. Raises TargetError, naming it, for whatever keeps it from being used."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def open(self, dataset: Dataset, check: bool) -> AbstractAsyncContextManager[Table]:
        return self._scratch(dataset, self._without_a_trace(), SqliteTable) if check else self._database(dataset)

    @asynccontextmanager
    async def lookup(self, dataset: Dataset, check: bool) -> AsyncIterator[Lookup]:
        if not check:
            await self._recover()
        if not self._is_there():
            yield _Nothing()
            return
        with self._without_a_trace() if check else nullcontext(self._uri("rw")) as uri:
            async with connect(self.name, uri) as connection:
                await connection.run("PRAGMA query_only = ON")
                is_there = await connection.has_table(dataset)
                yield SqliteTable(connection, dataset) if is_there else _Nothing()

    def together(self, targets: Sequence[Target]) -> AbstractAsyncContextManager[Staging]:
        from loader.targets.staging import together  # it is made of what is here

        return together(targets)

    async def verify(self) -> None:
        if not self._is_there():
            return
        async with self._reading() as connection:
            await connection.run("PRAGMA ignore_check_constraints = ON")  # a row that breaks one is read, and told
            found = [line for [text] in await connection.run("PRAGMA integrity_check") for line in text.splitlines()]
            if faults := [line for line in found if line != "ok" and not line.startswith("***")]:
                raise TargetError(f"{self.name}: {_WAYS_OUT[sqlite3.SQLITE_CORRUPT]} ({faults[0]})")

    @asynccontextmanager
    async def read(self, dataset: Dataset) -> AsyncIterator[Stored]:
        if not self._is_there():
            yield _Nothing()
            return
        async with self._reading() as connection:
            misfit: _MisfitError | None = None
            try:
                is_there = await connection.has_table(dataset)
            except _MisfitError as error:
                is_there, misfit = True, error
            if not is_there:
                yield _Nothing()
                return
            stored = _StoredTable(connection, dataset, misfit)
            await stored.look()
            yield stored

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator["Connection"]:
        with self._without_a_trace() as uri:
            async with connect(self.name, uri) as connection:
                connection.sqlite.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
                try:
                    yield connection
                finally:
                    await connection.sqlite.interrupt()  # a statement that still runs is not waited for

    @asynccontextmanager
    async def _database(self, dataset: Dataset) -> AsyncIterator[Table]:
        self._make_directory()
        await self._recover()
        first = self._identity()  # before it is opened, so that another file in its place is not taken for it
        async with connect(self.name, self._uri("rwc")) as connection:
            first = first or self._identity()
            is_there = await connection.has_table(dataset)
            [[mode]] = await connection.run("PRAGMA journal_mode = WAL")
            if mode != "wal":
                raise TargetError(f"{self.name}: its disk does not allow a write-ahead log (journal mode {mode})")
            await connection.run("PRAGMA synchronous = FULL")
            if not is_there:
                await connection.run("BEGIN IMMEDIATE")
                if not await connection.has_table(dataset):  # another load may have made it just now
                    await connection.run(create_table(dataset))
                await connection.run("COMMIT")
            await connection.trust_own(dataset)
            table = SqliteTable(
                connection, dataset, is_in_place=lambda: first is not None and self._identity() == first
            )
            await table.look()
            yield table

    @asynccontextmanager
    async def _scratch(
        self, dataset: Dataset, stored: AbstractContextManager[str], kind: type[_T]
    ) -> AsyncIterator[_T]:
        """A private database on top of the real one, which is only read, by a URI."""
        async with connect(self.name, "") as connection:
            connection.ways_out = _ways_out_of_temporary_files()
            await connection.run("PRAGMA journal_mode = MEMORY")
            await connection.run("PRAGMA synchronous = OFF")
            with stored if self._is_there() else nullcontext() as uri:
                lower = None
                if uri:
                    await connection.run("ATTACH ? AS stored", [uri])
                    lower = "stored" if await connection.has_table(dataset, "stored") else None
                await connection.run(create_table(dataset))
                await connection.trust_own(dataset)
                table = kind(connection, dataset, lower=lower)
                await table.look()
                yield table

    async def _recover(self) -> None:
        """Put in order what a program that was killed has left."""
        self._is_there()  # raises if something else has its name
        await recover(self.path)

    def _make_directory(self) -> None:
        try:
            make_directory(self.path.parent)  # SQLite syncs the names in it, but not its own
        except OSError as error:
            raise TargetError(f"{self.path.parent} cannot be made: {error.strerror}; {_ELSEWHERE}") from error

    def _is_there(self) -> bool:
        status = _status(self.path)
        for path in self._beside("-journal", "-wal", "-shm"):
            _status(path)  # raises if it is no file
        return status is not None and status.st_size > 0

    def _beside(self, *suffixes: str) -> Iterator[Path]:
        """The files that SQLite keeps beside the database."""
        real = Path(os.path.realpath(self.path))
        return (real.with_name(f"{real.name}{suffix}") for suffix in suffixes)

    def _uri(self, mode: str) -> str:
        return f"{self.path.absolute().as_uri()}?mode={mode}"

    @contextmanager
    def _without_a_trace(self) -> Iterator[str]:
        """A URI to read by; not even a side file is made where no write-ahead log has to be read with the file.

        Then nothing holds back other programs, nor is seen what they write: TargetError if one has written.
        """
        before = self._unlogged()
        problem: TargetError | None = None
        try:
            yield self._uri("ro") + ("&immutable=1" if before else "")
        except TargetError as error:  # which may come from what was half written
            problem = error
        if before and self._unlogged() != before:
            raise TargetError(f"{self.name}: another program has begun to write to it: {_AGAIN}") from problem
        if problem:
            raise problem

    def _unlogged(self) -> tuple[int, int] | None:
        """The size of the file, and when it was written to, if it is all that has to be read."""
        for path in self._beside("-wal", "-journal"):
            if (logged := _status(path)) and logged.st_size:
                return None
        try:
            status = self.path.stat()
        except OSError as error:
            raise TargetError(
                f"{self.name} was removed while it was looked at: run again ({error.strerror})"
            ) from error
        return status.st_size, status.st_mtime_ns

    def _identity(self) -> tuple[int, int] | None:
        """What tells the file from any other that takes its name."""
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino


def _status(path: Path) -> os.stat_result | None:
    """What the system tells of a file, if it is there; TargetError if it tells nothing, or that it is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        way_out = _WAYS_OUT[sqlite3.SQLITE_CANTOPEN]
        raise TargetError(f"{path}: {way_out} ({error.strerror})") from error
    if not S_ISREG(status.st_mode):
        raise TargetError(f"{path} is not a file: move it away, or choose another directory with --into")
    return status


class _Nothing:
    """The records of a database that is not there."""

    async def missing(self, keys: Collection[object]) -> set[object]:
        return set(keys)

    async def count(self) -> int:
        return 0

    async def portions(self) -> AsyncGenerator[tuple[Sequence[Record], Contests], None]:
        return
        yield


@define
class Connection:
    """A connection to a database, whose faults it translates."""

    name: str
    sqlite: aiosqlite.Connection
    interrupt: Callable[[], None]
    ways_out: Mapping[int, str] = _WAYS_OUT
    is_hurried: bool = False

    async def run(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Run one statement and return its rows, in one trip to the thread of the connection, unless it has to wait."""
        until = monotonic() + BUSY_SECONDS
        while True:
            try:
                with _own_faults(self.name, self.ways_out):
                    return list(await self.sqlite.execute_fetchall(statement, parameters))
            except _LockedError:
                if self.is_hurried or monotonic() > until:
                    raise
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:  # the thread knows nothing of it
                self.hurry()
                raise

    def hurry(self) -> None:
        """Wait for no lock any more, and break off the statement that is being run, if there is one."""
        self.is_hurried = True
        with suppress(sqlite3.ProgrammingError):  # it is being closed, which may take as long
            self.interrupt()

    async def write(self, statement: str, portions: Iterator[Sequence[object]]) -> int:
        """Run one statement for each portion of parameters, in one trip, and return how many rows it wrote in all."""
        with _own_faults(self.name, self.ways_out):
            return (await self.sqlite.executemany(statement, portions)).rowcount

    async def define(self, name: str, arguments: int, function: Callable[..., object]) -> None:
        """Let statements call a function of so many arguments."""
        with _own_faults(self.name, self.ways_out):
            await self.sqlite.create_function(name, arguments, function)

    async def portions(self, statement: str, size: int = _PORTION) -> AsyncGenerator[list[Any], None]:
        """Run one statement, and give its rows a few at a time; if it is cut off, closing the connection ends it."""
        with _own_faults(self.name, self.ways_out):
            cursor = await self.sqlite.execute(statement)
            rows = list(await cursor.fetchmany(size))
        while rows:
            yield rows
            with _own_faults(self.name, self.ways_out):
                rows = list(await cursor.fetchmany(size))

    @asynccontextmanager
    async def transaction(self, begin: str = "BEGIN IMMEDIATE") -> AsyncIterator[None]:
        """All that is done inside happens at its end, or not at all."""
        await self.run(begin)
        try:
            yield
            await self.run("COMMIT")
        except BaseException:
            if self.sqlite.in_transaction:  # after some faults SQLite has rolled back already
                await self.run("ROLLBACK")
            raise

    async def close(self) -> None:
        try:
            if self.is_hurried:  # else SQLite remembers that it was interrupted, and does not put its log in order
                await self.sqlite.execute_fetchall("SELECT 1")
        finally:
            await self.sqlite.close()

    async def has_table(self, dataset: Dataset, schema: str = "main") -> bool:
        """Whether the table of a dataset is there; TargetError if it is, and does not fit."""
        found = await self.run(
            f"SELECT type FROM {schema}.sqlite_master WHERE name = ? COLLATE NOCASE", [dataset.table]
        )
        if not found:
            return False
        table = quoted(dataset.table)
        columns = await self.run(f"PRAGMA {schema}.table_info({table})")
        unique = []
        for _, index, is_unique, _, is_partial in await self.run(f"PRAGMA {schema}.index_list({table})"):
            if is_unique:
                parts = await self.run(f"PRAGMA {schema}.index_xinfo({quoted(index)})")
                held = tuple((name, collation) for _, _, name, _, collation, in_key in parts if in_key)
                unique.append((held, bool(is_partial)))
        if fault := misfit(dataset, found[0][0], columns, unique):
            raise _MisfitError(
                f"{self.name}: its table {dataset.table} does not fit: {fault}; move the file away, or choose another "
                f"directory with --into"
            )
        return True

    async def trust_own(self, dataset: Dataset, schema: str = "main") -> None:
        """Check no record again by a table that loader has made: its model has demanded all that this would."""
        [[made_by]] = await self.run(
            f"SELECT sql FROM {schema}.sqlite_master WHERE name = ? COLLATE NOCASE", [dataset.table]
        )
        await self.run(f"PRAGMA ignore_check_constraints = {made_by == create_table(dataset)}")


class _MisfitError(TargetError):
    """A table is not one of the dataset."""


class ConstraintError(TargetError):
    """A constraint of a table does not allow for what was to be written."""


class _LockedError(TargetError):
    """Another program holds a lock."""


@contextmanager
def _own_faults(name: str, ways_out: Mapping[int, str] = _WAYS_OUT) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise ConstraintError(f"{name}: {error}: the table allows for less than the dataset; {_ELSEWHERE}") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        kind = _LockedError if code & 0xFF == sqlite3.SQLITE_BUSY else TargetError
        raise kind(f"{name}: {ways_out.get(code) or ways_out.get(code & 0xFF, error)}") from error


def _ways_out_of_temporary_files() -> Mapping[int, str]:
    """What to say where these cannot grow; SQLite looks for a directory for them in this order."""
    named = [name for name in ("SQLITE_TMPDIR", "TMPDIR") if os.environ.get(name)]
    likely = [*(os.environ[name] for name in named), "/var/tmp", "/usr/tmp", "/tmp"]
    usable = (each for each in likely if os.path.isdir(each) and os.access(each, os.W_OK | os.X_OK))
    way_out = (
        f"{next(usable, '.')}, the directory of temporary files, is full: make room there, or name another one in "
        f"{[*named, 'TMPDIR'][0]}, and run again"
    )
    return {**_WAYS_OUT, sqlite3.SQLITE_FULL: way_out, sqlite3.SQLITE_IOERR_WRITE: way_out}


@asynccontextmanager
async def connect(name: str, uri: str) -> AsyncIterator[Connection]:
    if sqlite3.sqlite_version_info < (3, 35):  # the first that takes ON CONFLICT DO UPDATE for whatever conflict
        raise TargetError(f"{name}: SQLite {sqlite3.sqlite_version} is too old: use a Python that has 3.35 or later")
    timeout = min(_BUSY_STEP, BUSY_SECONDS)
    opening = partial(sqlite3.connect, uri, uri=True, isolation_level=None, timeout=timeout, cached_statements=_CACHED)
    with _own_faults(name):  # first without aiosqlite, whose thread outlives the event loop if it cannot connect
        opened = opening(check_same_thread=False)  # it does not read yet
    with closing(opened):  # also where no thread can be had
        connection = aiosqlite.Connection(lambda: opened, iter_chunk_size=1)
        made = Connection(name, connection, opened.interrupt)
        try:
            make_sure_of_room()
            await to_its_end(connection)
            yield made
        finally:
            await to_its_end(made.close())


class SqliteTable:
    """A table, and under it, where a load is only tried, the real one: it hides the records there that have its keys.

    `is_in_place` tells whether the file that was opened still has its name.
    """

    def __init__(
        self,
        connection: Connection,
        dataset: Dataset,
        schema: str = "main",
        lower: str | None = None,
        is_in_place: Callable[[], bool] = lambda: True,
    ) -> None:
        self.had_records = False
        self._version: object = None
        self._connection, self._dataset = connection, dataset
        self._is_in_place = is_in_place
        self._columns = ", ".join(map(quoted, dataset.names))
        self._key = listed(dataset.key_group)
        self._name = f"{schema}.{quoted(dataset.table)}"
        self._layers = [self._name]
        self._refused: list[object] = []
        key = [quoted(field.name) for field in dataset.key_group.fields]
        excluded = ", ".join(f"excluded.{name}" for name in key)
        self._unless_held = f" ON CONFLICT DO UPDATE SET {key[0]} = {key[0]} WHERE {_REFUSE}({excluded})"
        if lower:
            same_key = " AND ".join(f"upper.{name} = lower.{name}" for name in key)
            hidden = f"SELECT 1 FROM {self._name} AS upper WHERE {same_key}"
            self._layers.append(f"(SELECT * FROM {lower}.{quoted(dataset.table)} AS lower WHERE NOT EXISTS ({hidden}))")

    async def look(self) -> None:
        """See whether there are records."""
        await self._connection.define(_REFUSE, len(self._dataset.key_group.fields), self._refuse)
        self._version = await self._connection.run("PRAGMA data_version")
        for layer in self._layers:
            self.had_records |= bool(await self._connection.run(f"SELECT 1 FROM {layer} LIMIT 1"))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        is_private = len(self._layers) > 1  # and the real one is only read: nobody else is to be kept from writing
        async with self._connection.transaction("BEGIN" if is_private else "BEGIN IMMEDIATE"):
            if await self._connection.run("PRAGMA data_version") != self._version:
                self.had_records = True  # another program has written meanwhile
            yield
            if not self._is_in_place():
                raise TargetError(f"{self._connection.name} was removed or replaced while it was written to")

    def hurry(self) -> None:
        self._connection.hurry()

    def _refuse(self, *key: object) -> bool:
        """Note the key of a record that cannot be inserted; SQLite asks whether it is to replace the one in its way."""
        self._refused.append(key if len(key) > 1 else key[0])
        return False

    async def find(self, claims: Mapping[Group, Sequence[object]]) -> list[Record]:
        found: dict[Record, None] = {}
        columns = ", ".join(f"there.{quoted(name)}" for name in self._dataset.names)
        for group, values in claims.items():
            for layer in self._layers:
                join = f"CROSS JOIN {layer} AS there WHERE {_equal(group)}"
                found.update(dict.fromkeys(await self._look_up(columns, join, _rows_of(group, values))))
        return list(found)

    async def differing(self, records: Records) -> Sequence[int]:
        left: Sequence[int] = range(len(records))
        for layer in self._layers:
            left = await self._differing(layer, records, left)
        return left

    async def _differing(self, layer: str, records: Records, positions: Sequence[int]) -> list[int]:
        """Those of some positions whose records are not there as they stand."""
        if not positions:
            return []
        rows = records if len(positions) == len(records) else records.only(positions)
        given = Records((positions, *rows.columns))
        same = " AND ".join(
            f"there.{quoted(each.name)} {'=' if each in self._dataset.key_group.fields else 'IS'} given.column{number} "
            "COLLATE BINARY"
            for number, each in enumerate(self._dataset.fields, 2)
        )
        found: set[Any] = {at for (at,) in await self._without(layer, same, given, "given.column1")}
        return sorted(found)

    async def missing(self, keys: Collection[object]) -> set[object]:
        rows = _rows_of(self._dataset.key_group, list(keys))
        for layer in self._layers:
            rows = Records.of(await self._without(layer, _equal(self._dataset.key_group), rows, "given.*"))
        return {key[0] for key in rows} if len(self._dataset.key_group.fields) == 1 else set(rows)

    async def insert(self, records: Records) -> None:
        await self._write_all(records)

    async def insert_free(self, records: Records) -> Sequence[int]:
        held: set[Any] = set()
        for layer in self._layers[1:] if records else ():  # what a lower one holds is in nobody's way
            for group in self._dataset.claim_groups:
                given = Records((*(records.columns[at] for at in group.at), range(len(records))))
                join = f"CROSS JOIN {layer} AS there WHERE {_equal(group)}"
                held.update(at for (at,) in await self._look_up(f"given.column{len(given.columns)}", join, given))
        free = records.without(sorted(held))
        self._refused.clear()
        written = await self._write(free, self._name, self._columns, self._unless_held)
        held.update(_places(self._dataset.key_group.of_all(records), self._refused))
        self._demand(written + len(held), len(records))
        return sorted(held)

    async def update(self, records: Records) -> None:
        others = [quoted(each.name) for each in self._dataset.fields if each not in self._dataset.key_group.fields]
        sets = ", ".join(f"{name} = excluded.{name}" for name in others)
        await self._write_all(records, f" ON CONFLICT ({self._key}) DO UPDATE SET {sets}")

    async def _without(self, layer: str, same: str, rows: Records, columns: str) -> list[Record]:
        """Of given rows those for which no record of a layer is the same."""
        [first, *_] = self._dataset.key_group.fields
        join = f"LEFT JOIN {layer} AS there ON {same} WHERE there.{quoted(first.name)} IS NULL"
        return await self._look_up(columns, join, rows)

    async def _look_up(self, columns: str, join: str, rows: Records) -> list[Record]:
        """What is found for given rows; the last is given more than once, so that few statements are prepared."""
        width = len(rows.columns)
        most = min(_LOOKED_UP, _VARIABLES // max(width, 1))
        found: list[Record] = []
        for at in range(0, len(rows), most):
            some = rows[at : at + most]
            count = min(1 << (len(some) - 1).bit_length(), most)
            values = some.flat() + some[-1:].flat() * (count - len(some))
            given = f"(VALUES {_marks(width, count)}) AS given"
            found += await self._connection.run(f"SELECT {columns} FROM {given} {join}", values)
        return found

    async def _write(self, records: Records, table: str, columns: str, on_conflict: str = "") -> int:
        """Write records to a table, and return how many were written."""
        width = len(records.columns)
        size = min(_WRITTEN, _VARIABLES // max(width, 1))
        whole = len(records) // size * size
        written = 0
        for start, end, step in ((0, whole, size), (whole, len(records), len(records) - whole)):
            if start < end:
                rows = _marks(width, step)
                statement = f"INSERT OR ABORT INTO {table} AS there ({columns}) VALUES {rows}{on_conflict}"
                # made in the thread of the connection, each when it is its turn
                portions = (records[at : at + step].flat() for at in range(start, end, step))
                written += await self._connection.write(statement, portions)
        return written

    async def _write_all(self, records: Records, on_conflict: str = "") -> None:
        """Write records; TargetError unless all were written."""
        self._demand(await self._write(records, self._name, self._columns, on_conflict), len(records))

    def _demand(self, known: int, given: int) -> None:
        """Raise TargetError unless it is known what became of all the records that were given."""
        if known < given:
            raise TargetError(
                f"{self._connection.name}: a trigger of the table leaves out {given - known} of {given} records; "
                f"{_ELSEWHERE}"
            )


class _StoredTable(SqliteTable):
    """A table that is looked through. One that does not fit may hold claims twice, which are then looked for."""

    def __init__(self, connection: Connection, dataset: Dataset, misfit: _MisfitError | None) -> None:
        super().__init__(connection, dataset)
        self._misfit = misfit
        self._groups = dataset.claim_groups if misfit else ()

    async def look(self) -> None:
        """See whether all columns are there: SQLite takes the quoted name of one that is not for a text."""
        try:
            await self._connection.run(f"SELECT {self._exact_columns()} FROM {self._name} AS stored LIMIT 0")
        except TargetError as error:
            raise self._misfit or error from None

    async def count(self) -> int:
        [[count]] = await self._connection.run(f"SELECT count(*) FROM {self._name}")
        return int(count)

    async def portions(self) -> AsyncGenerator[tuple[Sequence[Record], Contests], None]:
        key, width, before = _exactly(self._dataset.key_group), len(self._dataset.names), 0
        columns, windows = [self._exact_columns()], []
        for at, group in enumerate(self._groups):
            windows.append(f"w{at} AS (PARTITION BY {_exactly(group)} ORDER BY {key})")
            columns.append(f"row_number() OVER w{at}")
            columns += [f"first_value({quoted(part.name)}) OVER w{at}" for part in self._dataset.key_group.fields]
        window = f"WINDOW {', '.join(windows)}" if windows else ""
        select = f"SELECT {', '.join(columns)} FROM {self._name} AS stored {window} ORDER BY {key}"
        async with aclosing(self._connection.portions(select)) as portions:
            async for rows in portions:
                records = [row[:width] for row in rows] if windows else rows
                yield records, dict(self._contests(rows, before)) if windows else {}
                before += len(rows)
        if self._misfit:
            raise self._misfit

    def _exact_columns(self) -> str:
        return ", ".join(f"stored.{quoted(name)}" for name in self._dataset.names)

    def _contests(self, rows: Sequence[Record], before: int) -> Iterator[tuple[tuple[int, Group], tuple[Any, Any]]]:
        """The rows that are not the first to have a value, and the keys of those that are."""
        key = self._dataset.key_group
        for line, row in enumerate(rows, before + 1):
            rest = iter(row[len(self._dataset.names) :])
            for group in self._groups:
                number: Any = next(rest)
                first = list(islice(rest, len(key.fields)))
                holder, value = first[0] if len(first) == 1 else tuple(first), group.of(row)
                if number > 1 and value is not None and (group is key or holder != key.of(row)):
                    yield (line, group), (value, holder)


def _exactly(group: Group) -> str:
    """The columns of fields that are taken together, compared as the dataset says, whatever the table says."""
    fields = zip(group.at, group.fields, strict=True)
    return ", ".join(
        f"{quoted(each.name)} COLLATE {'NOCASE' if at in group.nocase else 'BINARY'}" for at, each in fields
    )


def _places(values: Sequence[object], some: Iterable[object]) -> Iterator[int]:
    """Where some of the values stand, which come in the same order; ValueError if one is not among them."""
    at = 0
    for value in some:
        at = values.index(value, at)
        yield at


def _rows_of(group: Group, values: Sequence[Any]) -> Records:
    """The values of a group as rows of so many columns as it has fields."""
    return Records([values]) if len(group.fields) == 1 else Records.of(values)


def _equal(group: Group) -> str:
    """That a record there holds a given value of a group."""
    return " AND ".join(f"there.{name} = given.column{at}" for at, name in enumerate(compared(group), 1))


def _marks(width: int, count: int) -> str:
    """So many rows of so many parameters."""
    return ",".join([f"({','.join('?' * width)})"] * count)
