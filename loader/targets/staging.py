"""Databases that a load comes into together: it is kept apart, and one transaction over all of them takes it in.

SQLite makes such a transaction whole by journals that name each other, which it does not with write-ahead logs. So the
databases are left without these for as long as it takes.
"""

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing, nullcontext, suppress
from pathlib import Path

from attrs import field, frozen

from loader.core.dataset import Dataset
from loader.core.errors import TargetError, UsageError
from loader.core.records import Records
from loader.disk import sync
from loader.targets import Table, Target
from loader.targets.recovery import recover
from loader.targets.sqlite import Connection, ConstraintError, SqliteTable, SqliteTarget, connect
from loader.targets.tables import create_table, quoted

_COPIED = 8192
"""How many records are taken from where they are kept at a time."""


def together(targets: Sequence[Target]) -> "AbstractAsyncContextManager[SqliteStaging]":
    """A staging of these databases; UsageError if SQLite cannot commit them together."""
    paths = {target.name: target.path for target in targets if isinstance(target, SqliteTarget)}
    if others := [target.name for target in targets if target.name not in paths]:
        raise UsageError(f"{others[0]} is no SQLite database: it cannot be committed together with others")
    if len({*map(os.path.realpath, paths.values())}) < len(paths):
        raise UsageError(f"{' and '.join(paths)} are not as many databases as names: call each by one name only")
    with closing(sqlite3.connect("")) as any_connection:
        most = any_connection.getlimit(sqlite3.SQLITE_LIMIT_ATTACHED) + 1
    if len(paths) > most:
        raise UsageError(f"SQLite commits at most {most} databases together here, not {len(paths)}")
    return _staging([*paths.values()])


@asynccontextmanager
async def _staging(paths: Sequence[Path]) -> AsyncIterator["SqliteStaging"]:
    kept = AsyncExitStack()
    staging = SqliteStaging([_StagedTarget(path, kept) for path in paths])
    try:
        async with kept:
            yield staging
    finally:
        with suppress(MemoryError, RuntimeError):  # no thread can be had: the next load does it
            await recover(*paths)  # what could not be put in order while a database was missing
        staging.clear_away()


class SqliteStaging:
    """Databases that are loaded together; `at` is the name of the one it is at work on."""

    def __init__(self, targets: "Sequence[_StagedTarget]") -> None:
        self.is_stored = False
        self.at = targets[0].name
        self._targets = {target.name: target for target in targets}
        self._connection: Connection | None = None
        self._new: list[Path] = []

    def target(self, name: str) -> Target:
        return self._targets[name]

    def hurry(self) -> None:
        if self._connection:
            self._connection.hurry()

    async def commit(self) -> None:
        for name, target in self._targets.items():
            self.at = name
            await target.make_ready()
        self._new = [target.path for target in self._targets.values() if not target.path.exists()]
        [first, *_] = self._targets.values()
        async with connect(first.name, first.uri) as connection:
            self._connection = connection
            async with self._joined(connection):
                is_written = False
                try:
                    async with connection.transaction():
                        await self._write(connection)
                        is_written = True
                except TargetError:
                    at = self.at
                    if not is_written or not await self._is_there(connection):
                        self.at = at
                        raise
                self.is_stored = True

    async def _write(self, connection: Connection) -> None:
        for schema, target in self._each(connection):
            await target.store(connection, schema)
        for _, target in self._each(connection):
            target.check_in_place()
        connection.name = " and ".join(self._targets)

    async def _is_there(self, connection: Connection) -> bool:
        """Whether all has come in for good, although its commit failed: with the sync of a name that was removed.

        That of the list of journals, or of the only journal: all is stored as soon as it is gone.
        """
        with suppress(TargetError, OSError):
            for target in self._targets.values():
                sync(target.path.resolve().parent)
            for schema, target in self._each(connection):
                if (is_there := await target.is_there(connection, schema)) is not None:
                    return is_there
        return False

    def clear_away(self) -> None:
        """Remove the files that were made for databases, if nothing has come into them."""
        for path in self._new:
            with suppress(OSError):
                if not path.stat().st_size:
                    os.unlink(os.path.realpath(path))

    @asynccontextmanager
    async def _joined(self, connection: Connection) -> AsyncIterator[None]:
        """All databases in one connection, and without write-ahead logs; in the end they have them again."""
        modes = {}
        try:
            for schema, target in self._each(connection):
                if schema != "main":
                    await connection.run(f"ATTACH ? AS {schema}", [target.uri])
                [[modes[schema]]] = await connection.run(f"PRAGMA {schema}.journal_mode")
                [[mode]] = await connection.run(f"PRAGMA {schema}.journal_mode = DELETE")
                if mode != "delete":
                    raise TargetError(f"{target.name}: it cannot do without journal mode {mode}: run without --atomic")
                await connection.run(f"PRAGMA {schema}.synchronous = EXTRA")  # the name of a journal is synced as well
            yield
        finally:
            for schema, mode in modes.items():
                if mode == "wal" or self.is_stored:
                    with suppress(TargetError):  # the next load does it, if somebody is in the way
                        await connection.run(f"PRAGMA {schema}.journal_mode = WAL")

    def _each(self, connection: Connection) -> "Iterator[tuple[str, _StagedTarget]]":
        """Each database, with what it is called in the connection, whose faults are told in its name meanwhile."""
        for number, (name, target) in enumerate(self._targets.items()):
            self.at = connection.name = name
            yield f"database{number}" if number else "main", target


@frozen
class _StagedTarget(SqliteTarget):
    """A database as it is to be: what is written is kept in temporary files, one for each table, till `kept` is closed.

    SQLite sees to it that nothing is left of these, even if the program is killed.
    """

    _kept: AsyncExitStack
    _tables: "dict[Dataset, _StagedTable]" = field(factory=dict)
    _first: tuple[int, int] | None = field(init=False)
    """What told the file from others when the load began."""

    @_first.default
    def _identity_now(self) -> tuple[int, int] | None:
        return self._identity()

    @property
    def uri(self) -> str:
        return self._uri("rw" if self._first else "rwc")

    @asynccontextmanager
    async def open(self, dataset: Dataset, check: bool) -> AsyncIterator[Table]:
        await self._recover()
        opening = self._scratch(dataset, nullcontext(self._uri("rw")), _StagedTable)
        self._tables[dataset] = table = await self._kept.enter_async_context(opening)
        yield table

    async def make_ready(self) -> None:
        """Let nothing of this load be in the way of the transaction."""
        self._make_directory()
        await self._recover()
        for table in self._tables.values():
            await table.let_go()

    async def store(self, connection: Connection, schema: str) -> None:
        """Write what is kept into the database."""
        for dataset, kept in self._tables.items():
            if not await connection.has_table(dataset, schema):
                await connection.run(create_table(dataset, schema))
            await connection.trust_own(dataset, schema)
            try:
                await kept.copy(SqliteTable(connection, dataset, schema))
            except ConstraintError as error:
                raise TargetError(
                    f"{self.name}: {error.__cause__}: another program has written to it meanwhile, or the table allows "
                    f"for less than the dataset; run again, or change that"
                ) from error

    async def is_there(self, connection: Connection, schema: str) -> bool | None:
        """Whether what is kept stands in the database, as a sample of it tells; None if nothing is kept."""
        for dataset, kept in self._tables.items():
            if sample := await kept.sample():
                there = SqliteTable(connection, dataset, schema)
                return await connection.has_table(dataset, schema) and not await there.differing(sample)
        return None

    def check_in_place(self) -> None:
        if self._first and self._identity() != self._first:
            raise TargetError(f"{self.name} was removed or replaced while it was loaded")


class _StagedTable(SqliteTable):
    """A table that is kept apart; it notes which records are to replace others, in their order."""

    @property
    def _updates(self) -> str:
        """The table of the keys of those."""
        return f"main.{quoted(f'updates of {self._dataset.table}')}"

    async def look(self) -> None:
        key = ", ".join(f"{quoted(each.name)} {each.kind.column}" for each in self._dataset.key_group.fields)
        await self._connection.run(f"CREATE TABLE {self._updates} ({key}, UNIQUE ({self._key}))")
        self._seen = await self._changes()
        await super().look()

    async def update(self, records: Records) -> None:
        await super().update(records)
        if records:
            keys = Records([records.columns[at] for at in self._dataset.key_group.at])
            await self._write(keys, self._updates, self._key)

    async def let_go(self) -> None:
        """Have the real database no longer open; TargetError if it has changed since it was looked at first."""
        if (changes := await self._changes()) != self._seen:
            raise TargetError(f"{self._connection.name}: another program has written to it meanwhile: run again")
        if changes is not None:
            await self._connection.run("DETACH stored")

    async def _changes(self) -> object:
        """What tells what another program has written to the real database; None if it was not there."""
        if not any(name == "stored" for _, name, _ in await self._connection.run("PRAGMA database_list")):
            return None
        return await self._connection.run("PRAGMA stored.data_version")

    async def copy(self, to: SqliteTable) -> None:
        """Write all records to another table: first those that replace others, for they may set values free."""
        updated = f"{self._updates} AS updates JOIN {self._name} USING ({self._key}) ORDER BY updates._rowid_"
        inserted = f"{self._name} WHERE ({self._key}) NOT IN (SELECT {self._key} FROM {self._updates})"
        for some, write in ((updated, to.update), (inserted, to.insert)):
            async for rows in self._connection.portions(f"SELECT {self._columns} FROM {some}", _COPIED):
                await write(Records.of(rows))

    async def sample(self) -> Records:
        """One of the records, if there are any."""
        return Records.of(await self._connection.run(f"SELECT {self._columns} FROM {self._name} LIMIT 1"))
