"""What one lane tells the others: which keys it has committed, which it rejected, and that it is done."""

import asyncio

from loader.core.keys import KeySet
from loader.core.records import Cause

KEPT_CAUSES = 100_000
MOST_KNOWN = 2**20  # bytes, which are passed on with each block


class Ledger:
    """The keys of one dataset that this run has committed; it only grows, until it is closed.

    `had_records` says whether the database may hold others, None while that is not known; `found` are those that were
    looked up there. `finished` is False if the dataset could not be loaded to its end. `causes` are the first
    rejections, by key, if any dataset refers to it.
    """

    def __init__(self, is_referred: bool = True) -> None:
        self._kept_causes = KEPT_CAUSES if is_referred else 0
        self.keys = KeySet()
        self.found = KeySet()
        self.causes: dict[object, Cause] = {}
        self.had_records: bool | None = None
        self.closed = False
        self.finished = False
        self.version = 0
        self._known: KeySet | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def open(self, had_records: bool) -> None:
        self.had_records = had_records
        self._wake()

    def add(self, keys: KeySet) -> None:
        """Note keys whose COMMIT has returned."""
        self.keys |= keys
        self._wake()

    @property
    def known(self) -> KeySet:
        """Keys that are there, for those who are elsewhere: all of this run, once they are, if they are small."""
        if self.closed and self._known is None:
            self._known = self.keys if self.keys.size <= MOST_KNOWN else KeySet()
        return self._known or KeySet()

    @property
    def begun(self) -> bool:
        """Whether keys were committed, or it is closed."""
        return self.closed or bool(self.keys)

    @property
    def room(self) -> int:
        """How many causes more are kept."""
        return self._kept_causes - len(self.causes)

    def reject(self, cause: Cause) -> None:
        """Note a rejection."""
        if len(self.causes) < self._kept_causes and cause.key not in self.causes:
            self.causes[cause.key] = cause

    def close(self, finished: bool) -> None:
        self.closed, self.finished = True, finished
        self._wake()

    def _wake(self) -> None:
        self.version += 1
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    async def later_than(self, version: int) -> None:
        """Wait until the ledger is of a later version."""
        if self.version == version:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
