"""Where records are kept: the contract, and how its steps are awaited."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar, runtime_checkable

from loader.core.dataset import Dataset
from loader.core.fields import Group
from loader.core.records import Record, Records
from loader.core.restoring import Contests

_T = TypeVar("_T")

PATIENCE = 0.3
"""Seconds after which a step that is cancelled is hurried, again and again."""


async def to_its_end(step: Awaitable[_T], hurry: Callable[[], object] = lambda: None) -> _T:
    """Await a step that is not to be left half done: a cancellation, even a second, takes effect when it is over.

    If that takes long, `hurry` is called.
    """
    task = asyncio.ensure_future(step)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            _, unfinished = await asyncio.wait([task], timeout=PATIENCE if cancelled else None)
            if unfinished:
                hurry()
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        task.exception()  # it is overtaken by the cancellation
        raise cancelled
    return task.result()


class Lookup(Protocol):
    """A look at the keys that are durably stored."""

    async def missing(self, keys: Collection[object]) -> set[object]:
        """Those of the keys that are not there."""


class Table(Protocol):
    """The records of one dataset, open for writing.

    `had_records` says whether there may be any that this run did not store. Each call raises TargetError if the
    database fails.
    """

    had_records: bool

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """All that is done inside happens at its end, durably, or not at all; nobody else writes meanwhile."""

    def hurry(self) -> None:
        """Have a transaction end soon: break off a statement that takes long, and wait for no lock."""

    async def find(self, claims: Mapping[Group, Sequence[object]]) -> list[Record]:
        """The records that hold one of these values; each once."""

    async def differing(self, records: Records) -> Sequence[int]:
        """The positions of those that are not stored as they stand, in order."""

    async def insert(self, records: Records) -> None:
        """Add records none of whose claims is held."""

    async def insert_free(self, records: Records) -> Sequence[int]:
        """Add those none of whose claims is held, and return the positions of the others, in order.

        No two of them claim the same.
        """

    async def update(self, records: Records) -> None:
        """Put records in the place of those of their keys, in this order."""


class Stored(Lookup, Protocol):
    """The records of one dataset, open to be looked through."""

    async def count(self) -> int:
        """How many there are."""

    def portions(self) -> AsyncGenerator[tuple[Sequence[Record], Contests], None]:
        """All of them in the order of their keys, a few at a time, with who else has a claim that is not kept unique.

        TargetError, when all have been given, if the table does not fit.
        """


class Target(Protocol):
    """A database; `name` is how messages call it."""

    @property
    def name(self) -> str: ...

    def open(self, dataset: Dataset, check: bool) -> AbstractAsyncContextManager[Table]:
        """The table of a dataset, made if it is not there; TargetError, and nothing is changed, if one does not fit.

        With `check`, what is written is seen by later calls, and gone at the end; the database is left as it was.
        """

    def lookup(self, dataset: Dataset, check: bool) -> AbstractAsyncContextManager[Lookup]:
        """A look at what is there of a dataset, which may be nothing at all; with `check` it leaves no trace."""

    async def verify(self) -> None:
        """Raise TargetError if the database is damaged; this leaves no trace."""

    def read(self, dataset: Dataset) -> AbstractAsyncContextManager[Stored]:
        """A look, without a trace, through what is there of a dataset; TargetError if its fields are not all there."""


class Staging(Protocol):
    """Databases that a load comes into all at once, or not at all; till then, what is written is kept apart.

    `is_stored` says whether it has come in, and `at` is the name of the database that it is at work on.
    """

    is_stored: bool
    at: str

    def target(self, name: str) -> Target:
        """What stands for a database meanwhile: its tables show what is kept as if it were stored."""

    async def commit(self) -> None:
        """Store all that is kept in all databases, durably; TargetError, and nothing is changed, if that fails."""

    def hurry(self) -> None:
        """Have the commit end soon: break off a statement that takes long, and wait for no lock."""


@runtime_checkable
class Stageable(Protocol):
    """A database that can be loaded together with others of its kind."""

    def together(self, targets: Sequence[Target]) -> AbstractAsyncContextManager[Staging]:
        """A staging of these databases, of which nothing is left behind it; UsageError if they cannot go together."""
