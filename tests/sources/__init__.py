"""How the tests of sources read a file: whole, in blocks of any size."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen

from loader.core.dataset import Dataset
from loader.core.parsing import parse
from loader.core.records import Batch, Block, Misfit, Origin, Reader, Reason, Rows
from loader.datasets.users import USERS
from loader.sources import FileSource, file_source

BLOCK_SIZES = (1, 2, 3, 7, 64, 2**18)


@frozen
class Reading:
    """All that a source says of itself and of its rows."""

    reader: Reader
    columns: tuple[str, ...]
    size: int
    blocks: list[Block]
    rows: Rows

    @property
    def cells(self) -> list[tuple[object, ...]]:
        return [tuple(row) for row in self.rows.cells]

    @property
    def lines(self) -> list[int]:
        return list(self.rows.lines)

    @property
    def codes(self) -> list[tuple[int, list[str]]]:
        """The codes of each misfit, by line."""
        return [(misfit.line, [reason.code for reason in misfit.reasons]) for misfit in self.rows.misfits]


def read_path(path: Path, dataset: Dataset = USERS, block_size: int = 2**18, ignore_extra: bool = False) -> Reading:
    """Verify a file and read it to its end."""
    source = FileSource(path, file_source(path).format, block_size)
    for _ in source.verify():
        pass
    with source.open(dataset, ignore_extra) as rowset:
        blocks = list(rowset.blocks)
    cells: list[Any] = []
    lines: list[int] = []
    misfits: list[Misfit] = []
    origins: dict[int, Origin] = {}
    for block in blocks:
        rows = rowset.reader.rows(block)
        cells += rows.cells
        lines += rows.lines
        misfits += rows.misfits
        origins |= rows.origins
    return Reading(rowset.reader, rowset.columns, rowset.size, blocks, Rows(cells, lines, misfits, origins))


def read(
    data: bytes | str,
    ending: str = "csv",
    dataset: Dataset = USERS,
    block_size: int = 2**18,
    ignore_extra: bool = False,
) -> Reading:
    """Read a file of these bytes; if its ending is `.gz` they are compressed first."""
    data = data.encode() if isinstance(data, str) else data
    with TemporaryDirectory() as directory:
        path = Path(directory, f"{dataset.name}.{ending}")
        path.write_bytes(gzip.compress(data, 1) if ending.endswith(".gz") else data)
        return read_path(path, dataset, block_size, ignore_extra)


@frozen
class _Again:
    """A reader that gives rows that were read before."""

    again: Rows

    def rows(self, block: Block) -> Rows:
        return self.again

    def values(self, text: bytes) -> Mapping[str, object]:
        raise NotImplementedError


def parsed(reading: Reading, dataset: Dataset = USERS) -> Batch:
    """What the model makes of all rows."""
    return parse(dataset, _Again(reading.rows), Block(b"", 1, 0))


def verdicts(batch: Batch) -> list[object]:
    """What is said of each row, in the order of the file: its record, or the codes and fields of its reasons."""
    told: dict[int, object] = dict(zip(batch.lines, batch.records, strict=True))
    told |= {draft.line: [(reason.code, reason.field) for reason in draft.reasons] for draft in batch.drafts}
    return [told[line] for line in sorted(told)]


def message(reasons: tuple[Reason, ...]) -> str:
    """What a row's only reason says."""
    [reason] = reasons
    return str(reason)
