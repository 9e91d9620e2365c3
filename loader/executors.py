"""Where parsing runs: an executor takes a pure call and gives a future of its result."""

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from threading import Thread
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Here(Executor):
    """Runs each call at once, where it is made."""

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()
        try:
            future.set_result(call(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def processes(number: int) -> Executor:
    """So many processes of this machine; a process to be forked has no thread yet, or it may hang."""
    import multiprocessing  # only now: it takes a tenth of the start
    from concurrent.futures import ProcessPoolExecutor

    method = "fork" if sys.platform == "linux" else "spawn"
    pool = ProcessPoolExecutor(number, multiprocessing.get_context(method), initializer=_begin)
    pool.submit(_begin)  # so that they are all there before there are threads
    return pool


def end_processes() -> None:
    """End them at once, where there is no time to do it in order."""
    if "multiprocessing" not in sys.modules:
        return
    for child in sys.modules["multiprocessing"].active_children():
        child.kill()


def _begin() -> None:
    """Leave it to the parent to heed signals, and end when it does."""
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
