"""Cases shared out among as many processes as there are processors."""

import os
import pickle
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import pytest

from tests.torture import SECONDS, TRIED

T = TypeVar("T")
R = TypeVar("R")

PROCESS = 0
"""The number of this process among those that share cases; 0 is the one that has them."""


def share(check: Callable[[T], R], cases: Sequence[T], worth: int = 8) -> list[R]:
    """Check each case, in this process or in a copy of it, and count what is tried there as well; what the checks give.

    A case may not rely on another. So many are worth a process; one that has threads is not copied, for that may hang.
    """
    can = hasattr(os, "fork") and threading.active_count() == 1
    number = max(1, min(os.cpu_count() or 1, len(cases) // worth)) if can else 1
    given: list[Any] = [None] * len(cases)
    with ExitStack() as stack:
        ends = [stack.enter_context(_beside(at, check, cases[at::number])) for at in range(1, number)]
        given[::number] = [check(case) for case in cases[::number]]
        for at, end in enumerate(ends, 1):
            given[at::number] = end()
    return given


@contextmanager
def _beside(number: int, check: Callable[[T], R], cases: Sequence[T]) -> Iterator[Callable[[], Sequence[R]]]:
    """Check cases in a copy of this process; yields what waits for it to end, and fails if one of them did."""
    reading, writing = os.pipe()
    copy = os.fork()
    if not copy:
        global PROCESS
        PROCESS = number
        with open(writing, "wb") as told:
            pickle.dump(_check_all(check, cases), told)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as heard:

        def end() -> Sequence[R]:
            fault, given, tried, seconds = pickle.load(heard)
            TRIED.update(tried)
            SECONDS.extend(seconds)
            if fault:
                pytest.fail(fault, pytrace=False)
            return list(given)

        try:
            yield end
        finally:
            os.kill(copy, signal.SIGKILL)
            os.waitpid(copy, 0)


def _check_all(
    check: Callable[[T], R], cases: Sequence[T]
) -> tuple[str, Sequence[R], Mapping[str, int], Sequence[float]]:
    """What is told of the first case that fails, if any does, what the others gave, and what was tried and measured."""
    tried, measured = Counter(TRIED), len(SECONDS)
    fault, case, given = "", None, []
    try:
        for case in cases:
            given.append(check(case))
    except BaseException:
        fault = f"{case!r:.200}\n{traceback.format_exc()}"
    return fault, given, TRIED - tried, SECONDS[measured:]
