"""How a disk or a pipe is waited for beside the event loop, and what that and the loop itself need of the system."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from mmap import mmap
from threading import Thread
from typing import TypeVar

T = TypeVar("T")

ROOM = 2**24
"""Bytes that are to be free for a new thread: its stack takes 8 MiB as a rule, and Python a few KiB to begin in it."""


def make_sure_of_room() -> None:
    """Raise MemoryError where there is no room for a thread.

    Were there some for its stack only, it would end before it begins, and who starts it would wait for it for ever.
    """
    try:
        mmap(-1, ROOM).close()
    except OSError as error:
        raise MemoryError from error


def make_sure_of_files() -> None:
    """Raise OSError where no three files can be opened: an event loop, which needs them, would leave a traceback."""
    one, other = socket.socketpair()
    with one, other:
        one.dup().close()


async def in_thread(call: Callable[[], T], discard: Callable[[T], object] = lambda _: None) -> T:
    """Make a call in a thread of its own, which does not keep the program from ending while it waits.

    `discard` is given what comes too late for one who was cancelled.
    """
    future: Future[T] = Future()

    def work() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)

    make_sure_of_room()
    Thread(target=work, daemon=True).start()
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.add_done_callback(lambda late: late.cancelled() or late.exception() or discard(late.result()))
        raise


def try_for(seconds: float, call: Callable[[], object]) -> None:
    """Make a call in a thread of its own, and wait no longer for it, nor if there is no thread to be had."""
    with suppress(RuntimeError):
        thread = Thread(target=call, daemon=True)
        thread.start()
        thread.join(seconds)


async def in_threads(items: Iterator[T]) -> AsyncIterator[T]:
    """The same items, each fetched in a thread."""
    end = object()
    while (item := await in_thread(partial(next, items, end))) is not end:
        yield item
