"""What a power cut, a full disk, a signal, an enemy's file or a closed terminal do to a load.

By default each module tries a sample of its cases; all of them with `TORTURE=whole python -m pytest tests/torture`.
How many of each kind have been tried is told at the end.
"""

import os
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

TRIED: Counter[str] = Counter()
"""How many cases of each kind this run of the tests has tried."""

SECONDS: list[float] = []
"""How long each load took to end after a signal."""

WHOLE = os.environ.get("TORTURE") == "whole"


def some(cases: Sequence[T], few: int) -> Sequence[T]:
    """All cases if the whole is asked for, else a few that are spread evenly over them."""
    if WHOLE or len(cases) <= few:
        return cases
    return [cases[at * len(cases) // few] for at in range(few)]
