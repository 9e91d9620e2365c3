"""Parquet: columns of typed values, each of which becomes what JSON has for it.

What JSON has nothing for becomes an object, as {"float": "nan"}, and so is refused wherever it stands.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, time
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID

from attrs import frozen

from loader.core.dataset import Dataset
from loader.core.errors import SourceError
from loader.core.records import MAX_ROW, Block, Misfit, Reason, Rows, Span
from loader.core.values import Number
from loader.sources.columns import check_columns
from loader.sources.files import Stream

_ROWS_A_BLOCK = 10_000
_BUFFER = 2**18


@frozen
class ParquetReader:
    """Turns record batches, in the form of an Arrow IPC stream, into rows of these fields; their lines count rows."""

    fields: tuple[str, ...]

    def rows(self, block: Block) -> Rows:
        batch = _batch(block)
        nothing = [None] * batch.num_rows
        there = {name: _cells(batch.column(name)) for name in self.fields if name in batch.schema.names}
        columns = [there.get(name, nothing) for name in self.fields]
        lines = range(block.line, block.line + batch.num_rows)
        if len(block.data) <= MAX_ROW:
            return Rows(columns, lines)
        cells = list(zip(*columns, strict=True))
        too_long = {line for line, row in zip(lines, cells, strict=True) if _is_too_long(row)}
        return Rows.of(
            [row for line, row in zip(lines, cells, strict=True) if line not in too_long],
            [line for line in lines if line not in too_long],
            [Misfit(line, {}, (Reason("row-error", None, "is longer than 1 MiB"),)) for line in sorted(too_long)],
        )

    def values(self, block: Block, spans: Iterable[Span]) -> Iterator[Mapping[str, object]]:
        batch = _batch(block)
        for line, _ in spans:
            [row] = zip(*map(_cells, batch.slice(line - block.line, 1).columns), strict=True)
            members = dict(zip(batch.schema.names, row, strict=True))
            yield {"_raw": json.dumps(members, ensure_ascii=False)[: MAX_ROW + 1]} if _is_too_long(row) else members


def read_parquet_through(stream: Stream) -> Iterator[None]:
    """Read a file to its end, a step at a time; raise SourceError for damage, wherever it is."""
    for _ in _batches(_opened(stream, stream.name), stream.name, _ROWS_A_BLOCK):
        yield


def open_parquet(
    stream: Stream, name: str, dataset: Dataset, ignore_extra: bool, block_size: int
) -> tuple[ParquetReader, tuple[str, ...], Iterator[Block]]:
    """What turns the blocks of a Parquet file into rows, the columns of its schema, and the blocks."""
    file = _opened(stream, name)
    there = file.schema_arrow.names
    check_columns(there, dataset, ignore_extra, f"{name}: the schema")
    columns = tuple(column for column in there if not column.startswith("_"))
    return ParquetReader(dataset.header), columns, _blocks(file, stream, columns, block_size)


def _opened(stream: Stream, name: str) -> Any:
    import pyarrow.parquet  # only now: it takes as long as half of the start

    with _own_faults(name):
        return pyarrow.parquet.ParquetFile(
            stream.file, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True
        )


def _blocks(file: Any, source: Stream, columns: tuple[str, ...], block_size: int) -> Iterator[Block]:
    import pyarrow as pa

    groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
    share = block_size / max(sum(group.total_byte_size for group in groups), 1)
    total = file.metadata.num_rows
    line = 1
    for batch in _batches(file, source.name, min(max(int(total * share), 1), _ROWS_A_BLOCK)):
        source.refuse_changes()
        plain = pa.RecordBatch.from_arrays([_decoded(batch.column(each)) for each in columns], columns)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, plain.schema) as stream:
            stream.write_batch(plain)
        read = line - 1 + batch.num_rows
        yield Block(sink.getvalue().to_pybytes(), line, source.size * read // total)
        line += batch.num_rows


def _batches(file: Any, name: str, rows: int) -> Iterator[Any]:
    """The rows of a file, at most so many at a time."""
    with _own_faults(name):
        yield from file.iter_batches(rows, use_threads=False)


@contextmanager
def _own_faults(name: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{name} is not an undamaged Parquet file: {str(error).partition(chr(10))[0]}") from error


def _batch(block: Block) -> Any:
    import pyarrow as pa

    return pa.ipc.open_stream(block.data).read_next_batch()


def _decoded(column: Any) -> Any:
    return column.dictionary_decode() if hasattr(column, "dictionary_decode") else column


def _cells(column: Any) -> list[Any]:
    """The values of a column as they are in JSON."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind):
        in_utc = column.cast(pa.timestamp(kind.unit)).cast(pa.string())
        return [_iso(each, "+00:00" if kind.tz else "") for each in in_utc.to_pylist()]
    if pa.types.is_date(kind) or pa.types.is_time(kind):
        return [_iso(each) for each in column.cast(pa.string()).to_pylist()]
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.to_pylist()  # type: ignore[no-any-return]
    try:
        return [_form(each) for each in column.to_pylist()]
    except (ValueError, OverflowError):
        return [_cell(each) for each in column]


def _iso(text: str | None, offset: str = "") -> object:
    """A date or time as Python writes it, but with nine digits after the point where six do not do."""
    if text is None or text.startswith("<"):
        return text and {"date": text.strip("<>")}
    whole, _, fraction = text.replace(" ", "T").partition(".")
    digits = fraction.rstrip("0")
    places = 9 if len(digits) > 6 else 6
    return f"{whole}{'.' if digits else ''}{digits and digits.ljust(places, '0')}{offset}"


def _cell(scalar: Any) -> object:
    try:
        return _form(scalar.as_py())
    except (ValueError, OverflowError):  # text that is no UTF-8, or an instant in a list that Python has no value for
        is_text = hasattr(scalar, "as_buffer")
        return _form(scalar.as_buffer().to_pybytes()) if is_text else {str(scalar.type): "cannot be read"}


def _form(value: object) -> object:
    match value:
        case str() | int() | None:
            return value
        case float() if isfinite(value):
            return value
        case Decimal():
            return Number(f"{value:f}")
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return {"bytes": value.hex()}
        case list() | tuple():
            return [_form(each) for each in value]
        case dict():
            return {name: _form(each) for name, each in value.items()}
        case _:
            return {type(value).__name__: str(value)}


def _is_too_long(row: Iterable[object]) -> bool:
    return sum(len(cell) for cell in row if isinstance(cell, str)) > MAX_ROW
