"""Where parsing runs, and what is parsed next: an executor takes a pure call and gives a future of its result."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from threading import Thread
from time import monotonic
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PLACES = 2 * (os.cpu_count() or 1)
"""How many calls are given to an executor at once, so that a later one that matters more need not wait for long."""


class Here(Executor):
    """Runs each call at once, where it is made."""

    _is_running = _is_broken_off = False

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()
        try:
            future.set_result(self._run(call, *args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._is_running = True
        try:
            if self._is_broken_off:
                raise asyncio.CancelledError
            return call(*args, **kwargs)
        finally:
            self._is_running = False

    def break_off(self) -> None:
        """Run no more calls: raise CancelledError in one that is running, as a signal handler can, or begins yet."""
        self._is_broken_off = True
        if self._is_running:
            self._is_running = False
            raise asyncio.CancelledError


class Turns:
    """Whose call is next, where there are more than places for them: the one of the lowest rank, then the first."""

    def __init__(self, places: int = PLACES) -> None:
        self._places = places
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._number = count()

    async def take(self, rank: int) -> None:
        """Wait for a place."""
        if self._places:
            self._places -= 1
            return
        place = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (rank, next(self._number), place))
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        while self._waiting:
            _, _, place = heappop(self._waiting)
            if not place.done():
                place.set_result(None)
                return
        self._places += 1


def processes(number: int) -> Executor:
    """So many processes of this machine; a process to be forked has no thread yet, or it may hang."""
    import multiprocessing  # only now: it takes a tenth of the start
    from concurrent.futures import ProcessPoolExecutor

    method = "fork" if sys.platform == "linux" else "spawn"
    pool = ProcessPoolExecutor(number, multiprocessing.get_context(method), initializer=_begin)
    try:
        pool.submit(os.getpid)  # so that they are all there before there are threads
    except Exception:
        end_processes()  # those that are there already, for which Python would wait
        raise
    if method == "fork":
        pool._result_queue._writer.close()  # type: ignore[attr-defined] # they have it: see `_end_together`
    if hasattr(os, "waitid"):
        Thread(target=_end_together, args=(pool,), daemon=True).start()
    return pool


def _end_together(pool: Any) -> None:
    """If a process is killed, end the others, and the pool's wait for what was to come from it.

    The pool looks after its processes only between results: the rest of a result within which one was killed is waited
    for for ever, where the pool itself holds open the pipe that it would have come through. And it ends the others by
    SIGTERM, which they leave to their parent.
    """
    from multiprocessing.connection import wait

    pipe = pool._result_queue._writer
    with suppress(OSError, ValueError):  # the pool itself has closed them meanwhile
        while begun := list((pool._processes or {}).values()):
            wait([each.sentinel for each in begun], timeout=0.2)
            ends = [end for each in begun if (end := _end(each)) is not None]
            if any(end < 0 for end in ends):
                for each in begun:
                    each.kill()
                pipe.close()
            if ends:  # else all is in order, and the pool itself closes the pipe
                return


def _end(process: Any) -> int | None:
    """The exit code of a process, or the number of the signal that has killed it, less than 0; None if it goes on."""
    try:  # and leave it to the pool to take note of it
        end = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # it has done so
        code: int | None = process.exitcode
        return code
    return end and (end.si_status if end.si_code == os.CLD_EXITED else -end.si_status)


def end_processes(patience: float = 0) -> None:
    """End them at once, or so many seconds later, where there is no time to wait till they have ended in order."""
    if "multiprocessing" not in sys.modules:
        return
    from multiprocessing.connection import wait

    until = monotonic() + patience
    for child in sys.modules["multiprocessing"].active_children():
        wait([child.sentinel], max(until - monotonic(), 0))
        child.kill()


def _begin() -> None:
    """Leave it to the parent to heed signals, and end when it does; and let it go first, for it has to write."""
    if hasattr(os, "nice"):
        os.nice(5)
    for name in ("SIGHUP", "SIGINT", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    import multiprocessing
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    if parent:
        wait([parent.sentinel])
        os._exit(0)
