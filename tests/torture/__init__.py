"""What a power cut, a full disk, a signal, an enemy's file or a closed terminal do to a load.

By default each module tries a sample of its cases; all of them with `TORTURE=whole python -m pytest tests/torture`.
How many of each kind have been tried is told at the end.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

T = TypeVar("T")

TRIED: Counter[str] = Counter()
"""How many cases of each kind this run of the tests has tried."""

SECONDS: list[float] = []
"""How long each load took to end after a signal."""

WHOLE = os.environ.get("TORTURE") == "whole"


def _memory() -> str | None:
    """A directory in memory, if there is one with room for a GiB: what is tried there waits for no disk."""
    path = "/dev/shm"
    return path if os.access(path, os.W_OK) and shutil.disk_usage(path).free > 2**30 else None


_MEMORY = _memory()


@contextmanager
def new_place() -> Iterator[Path]:
    """A new directory, in memory if there is room, that is gone in the end."""
    with TemporaryDirectory(dir=_MEMORY, ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def some(cases: Sequence[T], few: int) -> Sequence[T]:
    """All cases if the whole is asked for, else a few that are spread evenly over them."""
    if WHOLE or len(cases) <= few:
        return cases
    return [cases[at * len(cases) // few] for at in range(few)]
