"""Cases shared out among as many processes as there are processors."""

import os
import pickle
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import pytest

from tests.torture import SECONDS, TRIED

T = TypeVar("T")


def share(check: Callable[[T], object], cases: Sequence[T], worth: int = 8) -> None:
    """Check each case, in this process or in a copy of it, and count what is tried there as well.

    A case may not rely on another. So many are worth a process; one that has threads is not copied, for that may hang.
    """
    can = hasattr(os, "fork") and threading.active_count() == 1
    number = max(1, min(os.cpu_count() or 1, len(cases) // worth)) if can else 1
    with ExitStack() as stack:
        ends = [stack.enter_context(_beside(check, cases[at::number])) for at in range(1, number)]
        for case in cases[::number]:
            check(case)
        for end in ends:
            end()


@contextmanager
def _beside(check: Callable[[T], object], cases: Sequence[T]) -> Iterator[Callable[[], None]]:
    """Check cases in a copy of this process; yields what waits for it to end, and fails if one of them did."""
    reading, writing = os.pipe()
    copy = os.fork()
    if not copy:
        with open(writing, "wb") as told:
            pickle.dump(_check_all(check, cases), told)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as heard:

        def end() -> None:
            fault, tried, seconds = pickle.load(heard)
            TRIED.update(tried)
            SECONDS.extend(seconds)
            if fault:
                pytest.fail(fault, pytrace=False)

        try:
            yield end
        finally:
            os.kill(copy, 9)
            os.waitpid(copy, 0)


def _check_all(check: Callable[[T], object], cases: Sequence[T]) -> tuple[str, Mapping[str, int], Sequence[float]]:
    """What is told of the first case that fails, if any does, and what was tried and measured."""
    tried, measured = Counter(TRIED), len(SECONDS)
    fault, case = "", None
    try:
        for case in cases:
            check(case)
    except BaseException:
        fault = f"{case!r:.200}\n{traceback.format_exc()}"
    return fault, TRIED - tried, SECONDS[measured:]
