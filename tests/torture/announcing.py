"""A load in small blocks that tells of each commit: `python -m tests.torture.announcing DATA INTO [MUTANT]...`.

Besides mutants, `atomic` may be named, and `checkpoints`, with which the logs are written back into the databases again
and again.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

import loader
from loader.core.dataset import Dataset
from loader.datasets import DATASETS
from loader.targets import Table
from loader.targets.sqlite import SqliteTable
from tests.torture.mutants import MUTANTS

BLOCK_SIZE = 140
CHECKPOINTS = "checkpoints"


@frozen
class Checkpointing(loader.SqliteTarget):
    """A database that takes up its log after a few pages, where SQLite by itself would wait for a thousand."""

    @asynccontextmanager
    async def open(self, dataset: Dataset, check: bool) -> AsyncIterator[Table]:
        async with loader.SqliteTarget(self.path).open(dataset, check) as table:
            assert isinstance(table, SqliteTable)
            await table._connection.run("PRAGMA wal_autocheckpoint = 8")
            yield table


def jobs(
    data: Path, into: Path, target: type[loader.SqliteTarget] = loader.SqliteTarget, **options: Any
) -> list[loader.Job]:
    """Users, products and orders from CSV, as far as they are there, each into a database of its own."""
    return [
        loader.Job(
            each, loader.FileSource(data / f"{each.name}.csv", "csv", **options), target(into / f"{each.name}.db")
        )
        for each in DATASETS
        if (data / f"{each.name}.csv").exists()
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
    for mutant in {*words} - {"atomic", CHECKPOINTS}:
        MUTANTS[mutant].apply()
    target = Checkpointing if CHECKPOINTS in words else loader.SqliteTarget
    options: Any = {"atomic": True, "max_rejects": "100%"} if "atomic" in words else {}
    loader.run(jobs(Path(data), Path(into), target, block_size=BLOCK_SIZE), observe=announce, **options)
