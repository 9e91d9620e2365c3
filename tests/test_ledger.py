"""The ledger: what a lane tells is seen by all that wait, and nobody waits in vain."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from loader import ledger
from loader.core.keys import KeySet
from loader.core.records import Cause, Place, Reason
from loader.ledger import Ledger


def cause(key: object, line: int = 1) -> Cause:
    return Cause("users", key, Place("users.csv", line, line), Reason("type-error", "id", "wrong"))


def promptly(steps: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run these steps in a loop of their own; whoever waits in vain is found out."""

    async def main() -> None:
        async with asyncio.timeout(2):
            await steps()

    asyncio.run(main())


WAKES: dict[str, Callable[[Ledger], None]] = {
    "open": lambda ledger: ledger.open(False),
    "add": lambda ledger: ledger.add(KeySet([1])),
    "close": lambda ledger: ledger.close(True),
    "close unfinished": lambda ledger: ledger.close(False),
}


@pytest.mark.parametrize("wake", WAKES.values(), ids=WAKES)
def test_all_that_wait_are_woken(wake: Callable[[Ledger], None]) -> None:
    """Whatever is told wakes each that waits, once."""

    async def steps() -> None:
        told = Ledger()
        waiting = [asyncio.create_task(told.later_than(told.version)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        wake(told)
        await asyncio.gather(*waiting)
        again = asyncio.create_task(told.later_than(told.version))
        await asyncio.sleep(0)
        assert not again.done()
        wake(told)
        await again

    promptly(steps)


@pytest.mark.parametrize("end", ["add", "close unfinished"])
def test_it_has_begun_when_there_are_keys_or_it_is_closed(end: str) -> None:
    """An open ledger has not begun, nor one to which no keys were added."""
    told = Ledger()
    for step in (lambda ledger: None, WAKES["open"], lambda ledger: ledger.add(KeySet())):
        step(told)
        assert not told.begun
    WAKES[end](told)
    assert told.begun


@pytest.mark.parametrize("wake", WAKES.values(), ids=WAKES)
def test_what_was_told_before_is_not_waited_for(wake: Callable[[Ledger], None]) -> None:
    """Who looked at a version, and comes to wait when there is a later one, does not wait."""

    async def steps() -> None:
        told = Ledger()
        seen = told.version
        wake(told)
        await told.later_than(seen)

    promptly(steps)


def test_nobody_waits_for_what_is_told_before_there_is_a_loop() -> None:
    """A ledger may be closed before the load begins, as that of a dataset that is only looked up."""
    told = Ledger()
    seen = told.version
    told.close(finished=True)
    assert (told.closed, told.finished) == (True, True)
    promptly(lambda: told.later_than(seen))


def test_who_gives_up_is_no_hindrance() -> None:
    """One of several that wait is cancelled; the others are woken nonetheless."""

    async def steps() -> None:
        told = Ledger()
        first, second = (asyncio.create_task(told.later_than(told.version)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        told.add(KeySet([1]))
        await second
        assert first.cancelled() or await asyncio.gather(first, return_exceptions=True)

    promptly(steps)


@pytest.mark.parametrize("seed", range(20))
def test_no_key_is_missed(seed: int) -> None:
    """However lanes alternate, each that waits sees all keys, and the end."""

    async def steps() -> None:
        random, told = Random(seed), Ledger()

        async def pause() -> None:
            for _ in range(random.randrange(3)):
                await asyncio.sleep(0)

        async def write() -> None:
            await pause()
            told.open(False)
            for key in range(20):
                await pause()
                told.add(KeySet([key]))
            await pause()
            told.close(True)

        async def wait_for(key: int) -> None:
            while key not in told.keys:
                assert not told.closed
                seen = told.version
                await told.later_than(seen)
                await pause()

        async def wait_for_the_end() -> None:
            while not told.closed:
                await told.later_than(told.version)

        await asyncio.gather(write(), *(wait_for(key) for key in range(20)), wait_for_the_end())
        assert len(told.keys) == 20

    promptly(steps)


def test_a_ledger_begins_with_nothing() -> None:
    """At first nothing is known: not even whether there were records before."""
    told = Ledger()
    assert told.had_records is None
    assert (told.closed, told.finished, len(told.keys), told.causes) == (False, False, 0, {})
    told.open(True)
    assert told.had_records is True


def test_the_first_cause_of_a_key_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rejections of one key the first is remembered, and only so many in all, so that memory stays flat."""
    monkeypatch.setattr(ledger, "KEPT_CAUSES", 3)
    told = Ledger()
    for key, line in ((1, 5), (1, 6), (2, 7), (3, 8), (4, 9), (1, 10)):
        told.reject(cause(key, line))
    assert {key: each.place.line for key, each in told.causes.items()} == {1: 5, 2: 7, 3: 8}


def test_keys_are_passed_on_when_they_are_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the end nothing is, as nobody may read what another writes; nor in the end, if they are many, or texts."""
    for most, key, known in ((2**20, 7, {1, 7}), (8, 7, set()), (2**20, "seven", set())):
        monkeypatch.setattr(ledger, "MOST_KNOWN", most)
        told = Ledger()
        told.add(KeySet([1, key]))
        assert len(told.known) == 0
        told.close(finished=False)
        assert set(told.known) == known
