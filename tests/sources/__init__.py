"""How the tests of sources read a file: whole, in blocks of any size."""

import asyncio
import gzip
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve, frozen

from loader.core.dataset import Dataset
from loader.core.parsing import parse
from loader.core.records import Batch, Block, Misfit, Place, Reader, Reason, Rows, Span
from loader.datasets.users import USERS
from loader.sources import Rowset, Source, file_source
from loader.sources.packings import zstd

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
        return list(zip(*self.rows.columns, strict=True))

    @property
    def lines(self) -> list[int]:
        return list(self.rows.lines)

    @property
    def codes(self) -> list[tuple[int, list[str]]]:
        """The codes of each misfit, by line."""
        return [(misfit.line, [reason.code for reason in misfit.reasons]) for misfit in self.rows.misfits]


def packed(text: bytes, ending: str) -> bytes:
    """What stands in a file of this ending that holds the text."""
    if ending.endswith(".zst"):
        return bytes(zstd().compress(text, options={zstd().CompressionParameter.checksum_flag: 1}))
    return gzip.compress(text, 1) if ending.endswith(".gz") else text


def read_path(
    path: Path,
    dataset: Dataset = USERS,
    block_size: int = 2**18,
    ignore_extra: bool = False,
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> Reading:
    """Verify a file and read it to its end."""
    return read_source(
        evolve(file_source(path, delimiter=delimiter, encoding=encoding), block_size=block_size), dataset, ignore_extra
    )


def read_source(source: Source, dataset: Dataset = USERS, ignore_extra: bool = False) -> Reading:
    """Verify a source and read it to its end."""
    rowset, blocks = asyncio.run(_read_source(source, dataset, ignore_extra))
    cells: list[Any] = []
    lines: list[int] = []
    misfits: list[Misfit] = []
    origins: dict[int, Place] = {}
    for block in blocks:
        rows = rowset.reader.rows(block)
        cells += zip(*rows.columns, strict=True)
        lines += rows.lines
        misfits += rows.misfits
        origins |= rows.origins
    return Reading(rowset.reader, rowset.columns, rowset.size, blocks, Rows.of(cells, lines, misfits, origins))


async def _read_source(source: Source, dataset: Dataset, ignore_extra: bool) -> tuple[Rowset, list[Block]]:
    await source.verify()
    async with source.open(dataset, ignore_extra) as rowset:
        return rowset, [block async for block in rowset.blocks]


def values(reader: Reader, text: bytes) -> Mapping[str, object]:
    """The cells that a reader finds in the text of one row."""
    [found] = reader.values(Block(text, 1, len(text)), [(1, None)])
    return found


def read(
    data: bytes | str,
    ending: str = "csv",
    dataset: Dataset = USERS,
    block_size: int = 2**18,
    ignore_extra: bool = False,
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> Reading:
    """Read a file of these bytes; if its ending is `.gz` or `.zst` they are compressed first."""
    data = data.encode() if isinstance(data, str) else data
    with TemporaryDirectory() as directory:
        path = Path(directory, f"{dataset.name}.{ending}")
        path.write_bytes(packed(data, ending))
        return read_path(path, dataset, block_size, ignore_extra, delimiter, encoding)


@frozen
class _Again:
    """A reader that gives rows that were read before."""

    again: Rows

    def rows(self, block: Block) -> Rows:
        return self.again

    def values(self, block: Block, spans: Iterable[Span]) -> Iterator[Mapping[str, object]]:
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
