"""A load in small blocks that tells of each commit: `python -m tests.torture.announcing DATA INTO [MUTANT]...`.

Besides a mutant, `atomic` may be named.
"""

import os
import sys
from pathlib import Path
from typing import Any

import loader
from loader.datasets import DATASETS
from tests.torture.mutants import MUTANTS

BLOCK_SIZE = 140


def jobs(data: Path, into: Path, **options: Any) -> list[loader.Job]:
    """Users, products and orders from CSV, each into a database of its own."""
    return [
        loader.Job(each, loader.FileSource(data / f"{each.name}.csv", "csv", **options), into / f"{each.name}.db")
        for each in DATASETS
    ]


def announce(event: loader.Event) -> None:
    """Tell on stdout the dataset, and how many records more are stored; none, when its file has been opened."""
    match event:
        case loader.Opened():
            os.write(1, f"{event.dataset} 0\n".encode())
        case loader.Committed():
            os.write(1, f"{event.dataset} {event.inserted}\n".encode())
        case _:
            pass


if __name__ == "__main__":
    data, into, *words = sys.argv[1:]
    for mutant in {*words} - {"atomic"}:
        MUTANTS[mutant].apply()
    options: Any = {"atomic": True, "max_rejects": "100%"} if "atomic" in words else {}
    loader.run(jobs(Path(data), Path(into), block_size=BLOCK_SIZE), observe=announce, **options)
