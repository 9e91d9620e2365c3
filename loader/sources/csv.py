"""CSV, as RFC 4180 has it: UTF-8, a header, commas, cells in double quotes where they need it.

The one liberty is that lines may end in LF as well as CRLF. A record that breaks the rules, or that spans several lines
and has not as many cells as the header, costs its first line only: reading resumes at the next.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property, partial
from typing import Literal

from attrs import Factory, define, frozen

from loader.core.dataset import Dataset
from loader.core.errors import SourceError
from loader.core.records import MAX_REJECT, MAX_ROW, Block, Misfit, Origin, Reason, Rows
from loader.sources.files import Stream, cut

_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'
_BARE = rb'[^",\r\n]*+'
_CELL = rb"(?:" + _QUOTED + rb"|" + _BARE + rb")"
_FLAT_CELL = rb"(?:" + _QUOTED.replace(rb'[^"]', rb'[^"\n]') + rb"|" + _BARE + rb")"
_FLAT_RECORDS = re.compile(rb"(?:" + _FLAT_CELL + rb"(?:," + _FLAT_CELL + rb")*+\r?\n)*+")
_BEGUN = re.compile(rb"(?:" + _CELL + rb',)*+(?:"[^"]*+(?:""[^"]*+)*+"?|' + _BARE + rb")\r?\Z")
_HEADER = re.compile(rb"(?:\r?\n)*+(" + _CELL + rb"(?:," + _CELL + rb")*+)\r?\n")
_LINE_ENDS = re.compile(rb"(?:\r?\n)*+\r?\Z")
_UNDECODED = re.compile("[\udc80-\udcff]")

_Stretch = Literal["records of a line each", "record of several lines", "malformed line"]


@cache
def _record(width: int) -> "re.Pattern[bytes]":
    return re.compile(_CELL + rb"(?:," + _CELL + rb"){%d}\r?\n" % (width - 1))


def _stretches(data: bytes, width: int, more: bool = False) -> Iterator[tuple[int, int, _Stretch]]:
    """How data that begins with a row is to be split, by start and end.

    If there is more to come, what may yet become a record is left out.
    """
    if b'"' not in data and b"\r" not in data:
        if end := data.rfind(b"\n") + 1:
            yield 0, end, "records of a line each"
        return
    at = 0
    while at < len(data):
        run = _FLAT_RECORDS.match(data, at)
        if run and run.end() > at:
            yield at, run.end(), "records of a line each"
            at = run.end()
        elif (record := _record(width).match(data, at)) and record.end() - at <= MAX_ROW:
            yield at, record.end(), "record of several lines"
            at = record.end()
        elif more and len(data) - at <= MAX_ROW and _BEGUN.match(data, at):
            return
        elif end := data.find(b"\n", at) + 1:
            yield at, end, "malformed line"
            at = end
        else:
            return


def _whole_records(data: bytes, width: int) -> int:
    return max((end for _, end, _ in _stretches(data, width, more=True)), default=0)


@frozen
class CsvReader:
    """Splits CSV that has these columns into rows of these fields.

    If it is a rejects file, with columns of loader's own, a row is what stands in the others, or else in `_raw`.
    """

    header: tuple[str, ...]
    fields: tuple[str, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for name in self.header if not name.startswith("_"))

    @cached_property
    def _positions(self) -> tuple[int | None, ...]:
        return tuple(self.columns.index(name) if name in self.columns else None for name in self.fields)

    def rows(self, block: Block) -> Rows:
        found = _Found()
        line = block.line
        for start, end, stretch in _stretches(block.data, len(self.header)):
            data = block.data[start:end]
            if stretch == "records of a line each":
                self._take_run(found, data, line)
            else:
                self._take(found, data.removesuffix(b"\n").removesuffix(b"\r"), line)
            line += data.count(b"\n")
        return Rows(self._in_field_order(found.cells), found.lines, found.misfits, found.origins)

    def values(self, text: bytes) -> Mapping[str, object]:
        row = self._unpack(_LINE_ENDS.sub(b"", text, count=1))
        return row.named | {"_raw": row.text} if row.faults() else row.named

    def _in_field_order(self, rows: Sequence[Sequence[str]]) -> Sequence[Sequence[object]]:
        if self.columns == self.fields:
            return rows
        return [[None if at is None else row[at] for at in self._positions] for row in rows]

    def _take_run(self, found: "_Found", data: bytes, line: int) -> None:
        """Read records of a line each: together, but for those that do not fit."""
        if len(data) > MAX_ROW or self.columns != self.header:
            for at, raw in enumerate(data.split(b"\n")[:-1], line):
                if raw := raw.removesuffix(b"\r"):
                    self._take(found, raw, at)
            return
        text = data.decode(errors="surrogateescape")
        lines = text.split("\n")[:-1]
        rows, width = _split(lines), len(self.columns)
        undecoded = not data.isascii() and _UNDECODED.search(text)
        if not undecoded and set(map(len, rows)) == {width}:
            found.cells += rows
            found.lines += range(line, line + len(rows))
            return
        for at, (record, cells) in enumerate(zip(lines, rows, strict=True), line):
            if len(cells) == width and not (undecoded and _UNDECODED.search(record)):
                found.cells.append(cells)
                found.lines.append(at)
            elif cells:
                self._take(found, record.removesuffix("\r").encode(errors="surrogateescape"), at)

    def _take(self, found: "_Found", data: bytes, line: int) -> None:
        row = self._unpack(data)
        if row.origin:
            found.origins[line] = row.origin
        if faults := row.faults():
            found.misfits.append(
                Misfit(line, {name: row.named[name] for name in self.fields if name in row.named}, faults)
            )
        else:
            found.cells.append(row.cells or [])
            found.lines.append(line)

    def _unpack(self, data: bytes) -> "_Row":
        """The row that one record is or, in a rejects file, holds."""
        longest = MAX_ROW if self.columns == self.header else MAX_REJECT
        row = _Row.of(data, self.header, longest)
        if self.columns == self.header or row.cells is None or len(row.cells) != len(self.header):
            return row
        members = dict(zip(self.header, row.cells, strict=True))
        cells = [members[name] for name in self.columns]
        if (raw := members.get("_raw")) and not any(cells):
            row = _Row.of(raw.encode(errors="surrogateescape"), self.columns)
        else:
            row = _Row(row.text, cells, self.columns)
        if members.get("_source"):
            row.origin = (members["_source"], _number(members.get("_line")), _number(members.get("_row")))
        return row


@define
class _Found:
    """The rows of a block, while they are gathered."""

    cells: list[list[str]] = Factory(list)
    lines: list[int] = Factory(list)
    misfits: list[Misfit] = Factory(list)
    origins: dict[int, Origin] = Factory(dict)


@define
class _Row:
    """The text of a record, its cells (None if it cannot be split), and the columns that these should fill."""

    text: str
    cells: list[str] | None
    columns: tuple[str, ...]
    origin: Origin | None = None

    @classmethod
    def of(cls, data: bytes, columns: tuple[str, ...], longest: int = MAX_ROW) -> "_Row":
        text = data[: longest + 1].decode(errors="surrogateescape")
        if len(data) > longest:
            return cls(text[: MAX_ROW + 1], None, columns)
        whole = data + b"\n"
        stretch = next(_stretches(whole, len(columns)), (0, 0, "malformed line"))
        readable = stretch[1] == len(whole) and stretch[2] != "malformed line" and not data.endswith(b"\r")
        return cls(text, _split([text])[0] if readable else None, columns)

    @property
    def named(self) -> dict[str, object]:
        """The cells by column, without loader's own."""
        cells = zip(self.columns, self.cells or (), strict=False)
        return {name: cell for name, cell in cells if not name.startswith("_")}

    def faults(self) -> tuple[Reason, ...]:
        """Why the record cannot be read, or what it lacks or has too many of; nothing if it fits its columns."""
        if self.cells is None:
            if len(self.text.encode(errors="surrogateescape")) > MAX_ROW:
                return (Reason("row-error", None, "is longer than 1 MiB"),)
            stray = "double quote" if '"' in self.text else "carriage return"
            return (Reason("row-error", None, f"cannot be split into cells: a {stray} stands where none may"),)
        if undecoded := _UNDECODED.search("".join(self.cells)):
            return (Reason("row-error", None, f"is not UTF-8: it holds the byte 0x{ord(undecoded[0]) - 0xDC00:02X}"),)
        there, wanted = len(self.cells), len(self.columns)
        if there > wanted:
            return (Reason("extra-cell", None, f"has {there} cells, the header {wanted}"),)
        return tuple(
            Reason("missing-cell", name, f"is missing: the row has {there} cells, the header {wanted}")
            for name in self.columns[there:]
        )


def _split(lines: list[str]) -> list[list[str]]:
    """The cells of records that are sound."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_REJECT))
    return list(csv.reader(lines, strict=True))


def _number(cell: str | None) -> int | None:
    return int(cell) if cell and cell.isascii() and cell.isdecimal() and len(cell) < 20 else None


def open_csv(
    stream: Stream, name: str, dataset: Dataset, ignore_extra: bool, block_size: int
) -> tuple[CsvReader, tuple[str, ...], Iterator[Block]]:
    """What splits the blocks of a CSV file, the columns of its header, and the blocks."""
    header, lines, head = _header(stream, name, block_size)
    if repeated := sorted({column for column in header if header.count(column) > 1}):
        raise SourceError(f"{name}: the header names {_list(repeated)} more than once")
    known = {each.name: each for each in dataset.fields}
    if missing := [column for column, each in known.items() if column not in header and not each.optional]:
        raise SourceError(f"{name}: the header lacks {_list(missing)} of {dataset.name}")
    unknown = [column for column in header if column not in known and not column.startswith("_")]
    if unknown and not ignore_extra:
        raise SourceError(
            f"{name}: the header names {_list(unknown)}, which {dataset.name} do not have; --ignore-extra leaves it out"
        )
    blocks = cut(stream, block_size, partial(_whole_records, width=len(header)), head, lines + 1)
    reader = CsvReader(header, dataset.names)
    return reader, reader.columns, blocks


def _header(stream: Stream, name: str, size: int) -> tuple[tuple[str, ...], int, bytes]:
    """The columns, how many lines they take, and what was read beyond."""
    data = b""
    while True:
        piece = stream.read(size)
        data += piece or b"\n"
        if record := _HEADER.match(data):
            break
        if not piece or len(data) > MAX_ROW:
            stray = "quote" if b'"' in data else "carriage return (are there no line feeds?)"
            raise SourceError(f"{name}: the first line is not a header: a {stray} stands where none may")
    try:
        columns = tuple(_split([record[1].decode()])[0])
    except UnicodeDecodeError:
        raise SourceError(f"{name}: the header is not UTF-8") from None
    return columns, data.count(b"\n", 0, record.end()), data[record.end() :]


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
