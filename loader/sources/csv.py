"""CSV, as RFC 4180 has it: UTF-8, a header, commas, cells in double quotes where they need it.

The liberties are that lines may end in LF as well as CRLF, and that cells may be divided by another character. A record
that breaks the rules, or that spans several lines and has not as many cells as the header, costs its first line only:
reading resumes at the next.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property, partial
from typing import Literal

from attrs import Factory, define, frozen

from loader.core.dataset import Dataset
from loader.core.errors import SourceError
from loader.core.kinds import integers
from loader.core.records import MAX_REJECT, MAX_ROW, Block, Misfit, Place, PlainLine, Reason, Rows, Span, without
from loader.sources.columns import check_columns
from loader.sources.files import UNDECODED, Stream, cut, texts, undecoded

_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'
_OPEN_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"?'
_FLAT_QUOTED = _QUOTED.replace(rb'[^"]', rb'[^"\n]')

_Stretch = Literal["records of a line each", "record of several lines", "malformed line"]


@frozen
class _Grammar:
    """What a run of one-line records, the beginning of a record, a header, and a record of any width look like."""

    flat_records: "re.Pattern[bytes]"
    begun: "re.Pattern[bytes]"
    header: "re.Pattern[bytes]"
    record: Callable[[int], "re.Pattern[bytes]"]


@cache
def _grammar(delimiter: str) -> _Grammar:
    between = re.escape(delimiter.encode())
    bare = rb'[^"\r\n' + between + rb"]*+"
    cell = rb"(?:" + _QUOTED + rb"|" + bare + rb")"
    flat_cell = rb"(?:" + _FLAT_QUOTED + rb"|" + bare + rb")"

    @cache
    def record(width: int) -> "re.Pattern[bytes]":
        return re.compile(cell + rb"(?:" + between + cell + rb"){%d}\r?\n" % (width - 1))

    return _Grammar(
        re.compile(rb"(?:" + flat_cell + rb"(?:" + between + flat_cell + rb")*+\r?\n)*+"),
        re.compile(rb"(?:" + cell + between + rb")*+(?:" + _OPEN_QUOTED + rb"|" + bare + rb")\r?\Z"),
        re.compile(rb"(?:\r?\n)*+(" + cell + rb"(?:" + between + cell + rb")*+)\r?\n"),
        record,
    )


@cache
def _odd_marked(delimiter: bytes) -> bytes:
    """A table for bytes.translate that makes an x of whatever stands in no row of integers."""
    return bytes(at if at in b"-0123456789\n" + delimiter else ord("x") for at in range(256))


def _stretches(data: bytes, grammar: _Grammar, width: int, more: bool = False) -> Iterator[tuple[int, int, _Stretch]]:
    """How data that begins with a row is to be split, by start and end.

    If there is more to come, what may yet become a record is left out.
    """
    if b'"' not in data and b"\r" not in data:
        if end := data.rfind(b"\n") + 1:
            yield 0, end, "records of a line each"
        return
    at = 0
    while at < len(data):
        run = grammar.flat_records.match(data, at)
        if run and run.end() > at:
            yield at, run.end(), "records of a line each"
            at = run.end()
        elif (record := grammar.record(width).match(data, at)) and record.end() - at <= MAX_ROW:
            yield at, record.end(), "record of several lines"
            at = record.end()
        elif more and len(data) - at <= MAX_ROW and grammar.begun.match(data, at):
            return
        elif end := data.find(b"\n", at) + 1:
            yield at, end, "malformed line"
            at = end
        else:
            return


def _whole_records(data: bytes, grammar: _Grammar, width: int) -> int:
    return max((end for _, end, _ in _stretches(data, grammar, width, more=True)), default=0)


@frozen
class CsvReader:
    """Splits CSV that has these columns into rows of these fields.

    If it is a rejects file, with columns of loader's own, a row is what stands in the others, or else in `_raw`.
    `numeric` says that all columns are fields of integers, which can be read without being split.
    """

    header: tuple[str, ...]
    fields: tuple[str, ...]
    delimiter: str = ","
    numeric: bool = False

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for name in self.header if not name.startswith("_"))

    @cached_property
    def _positions(self) -> tuple[int | None, ...]:
        return tuple(self.columns.index(name) if name in self.columns else None for name in self.fields)

    def rows(self, block: Block) -> Rows:
        is_plain = b'"' not in block.data and b"\r" not in block.data and self.columns == self.header
        if not is_plain or len(block.data) > MAX_ROW:
            return self._any_rows(block)
        return (self.numeric and self._integer_rows(block)) or self._plain_rows(block) or self._any_rows(block)

    def _plain_rows(self, block: Block) -> Rows | None:
        """The rows of lines none of whose cells is quoted; None if not all have as many cells as the header."""
        try:
            text = block.data[:-1].decode()
        except UnicodeDecodeError:
            return None
        count = block.data.count(b"\n")
        cells = text.replace("\n", f"{self.delimiter}\n{self.delimiter}").split(self.delimiter)
        width, step = len(self.header), len(self.header) + 1
        if width < 2 or len(cells) != count * step - 1 or cells[width::step].count("\n") != count - 1:
            return None
        fields = [[None] * count if at is None else cells[at::step] for at in self._positions]
        return Rows(fields, range(block.line, block.line + count))

    def _integer_rows(self, block: Block) -> Rows | None:
        """The same, where the cells are integers: their text is that of an array of JSON.

        A line with any other character is no such row, and is looked at by itself.
        """
        plain, lines, misfits = [], range(block.line, block.line + block.data.count(b"\n")), []
        start, line, delimiter = 0, block.line, self.delimiter.encode()
        marked = block.data.translate(_odd_marked(delimiter))
        while (odd := marked.find(b"x", start)) >= 0:
            at, end = max(marked.rfind(b"\n", start, odd) + 1, start), marked.find(b"\n", odd)
            plain.append(block.data[start:at])
            line += plain[-1].count(b"\n")
            misfits.append(self._odd_row(block.data[at:end], line))
            start, line = end + 1, line + 1
        text = b"".join([*plain, block.data[start:]])[:-1]
        width, count = len(self.header), len(lines) - len(misfits)
        shape = b"\n".join([delimiter * (width - 1)] * count)
        if width < 2 or text.translate(None, b"-0123456789") != shape:
            return None
        cells = integers(text.replace(delimiter, b",").replace(b"\n", b","))
        if cells is None:
            return None
        fields = [cells[at::width] for at in self._positions if at is not None]
        return Rows(fields, without(lines, [misfit.line - block.line for misfit in misfits]), misfits)

    def _odd_row(self, data: bytes, line: int) -> Misfit:
        """A line, without quotes and of a file without columns of loader's own, that is no row of integers."""
        cells = data.split(self.delimiter.encode())
        if len(cells) == len(self.header) and data.isascii():
            return Misfit(line, dict(zip(self.header, map(bytes.decode, cells), strict=True)), ())
        return self._misfit(self._unpack(data), line)

    def _any_rows(self, block: Block) -> Rows:
        found = _Found()
        line = block.line
        for start, end, stretch in _stretches(block.data, _grammar(self.delimiter), len(self.header)):
            data = block.data[start:end]
            if stretch == "records of a line each":
                self._take_run(found, data, line)
            else:
                self._take(found, data.removesuffix(b"\n").removesuffix(b"\r"), line)
            line += data.count(b"\n")
        return Rows.of(self._in_field_order(found.cells), found.lines, found.misfits, found.origins)

    def values(self, block: Block, spans: Iterable[Span]) -> Iterator[Mapping[str, object]]:
        header, delimiter, width = self.header, self.delimiter, len(self.header)
        is_ours = self.columns == header and width > 1
        is_plain = _is_plain(block.data)
        for text in texts(block, spans):
            if is_ours and (is_plain or _is_plain(text)):
                line = text.rstrip(b"\n").decode()
                if line.count(delimiter) == width - 1:
                    yield PlainLine(header, delimiter, line)
                    continue
            row = self._unpack(_without_line_ends(text))
            yield row.named | {"_raw": row.text} if row.faults() else row.named

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
        rows, width = _split(lines, self.delimiter), len(self.columns)
        undecoded = not data.isascii() and UNDECODED.search(text)
        if not undecoded and set(map(len, rows)) == {width}:
            found.cells += rows
            found.lines += range(line, line + len(rows))
            return
        for at, (record, cells) in enumerate(zip(lines, rows, strict=True), line):
            if len(cells) == width and not (undecoded and UNDECODED.search(record)):
                found.cells.append(cells)
                found.lines.append(at)
            elif cells:
                self._take(found, record.removesuffix("\r").encode(errors="surrogateescape"), at)

    def _take(self, found: "_Found", data: bytes, line: int) -> None:
        row = self._unpack(data)
        if row.origin:
            found.origins[line] = row.origin
        if row.faults():
            found.misfits.append(self._misfit(row, line))
        else:
            found.cells.append(row.cells or [])
            found.lines.append(line)

    def _misfit(self, row: "_Row", line: int) -> Misfit:
        cells = {name: cell for name, cell in row.named.items() if name in self.fields and not undecoded(str(cell))}
        return Misfit(line, cells, row.faults())

    def _unpack(self, data: bytes) -> "_Row":
        """The row that one record is or, in a rejects file, holds."""
        longest = MAX_ROW if self.columns == self.header else MAX_REJECT
        row = _Row.of(data, self.header, self.delimiter, longest)
        if self.columns == self.header or row.cells is None or len(row.cells) != len(self.header):
            return row
        members = dict(zip(self.header, row.cells, strict=True))
        cells = [members[name] for name in self.columns]
        if (raw := members.get("_raw")) and not any(cells):
            row = _Row.of(raw.encode(errors="surrogateescape"), self.columns, self.delimiter)
        else:
            row = _Row(row.text, cells, self.columns)
        if members.get("_source"):
            row.origin = Place(members["_source"], _number(members.get("_line")), _number(members.get("_row")))
        return row


@define
class _Found:
    """The rows of a block, while they are gathered."""

    cells: list[list[str]] = Factory(list)
    lines: list[int] = Factory(list)
    misfits: list[Misfit] = Factory(list)
    origins: dict[int, Place] = Factory(dict)


@define
class _Row:
    """The text of a record, its cells (None if it cannot be split), and the columns that these should fill."""

    text: str
    cells: list[str] | None
    columns: tuple[str, ...]
    origin: Place | None = None

    @classmethod
    def of(cls, data: bytes, columns: tuple[str, ...], delimiter: str, longest: int = MAX_ROW) -> "_Row":
        text = data[: longest + 1].decode(errors="surrogateescape")
        if len(data) > longest:
            return cls(text[: MAX_ROW + 1], None, columns)
        whole = data + b"\n"
        stretch = next(_stretches(whole, _grammar(delimiter), len(columns)), (0, 0, "malformed line"))
        readable = stretch[1] == len(whole) and stretch[2] != "malformed line" and not data.endswith(b"\r")
        return cls(text, _split([text], delimiter)[0] if readable else None, columns)

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
        if fault := undecoded("".join(self.cells)):
            return (Reason("row-error", None, fault),)
        there, wanted = len(self.cells), len(self.columns)
        if there > wanted:
            return (Reason("extra-cell", None, f"has {there} cells, the header {wanted}"),)
        return tuple(
            Reason("missing-cell", name, f"is missing: the row has {there} cells, the header {wanted}")
            for name in self.columns[there:]
        )


def _without_line_ends(text: bytes) -> bytes:
    """A row without its line end, and without the blank lines behind it."""
    lines = text.split(b"\n")
    while len(lines) > 1 and lines[-1] in (b"", b"\r"):
        lines.pop()
    return b"\n".join(lines).removesuffix(b"\r")


def _is_plain(data: bytes) -> bool:
    """Whether cells can be told by their delimiters alone."""
    return len(data) <= MAX_ROW and data.isascii() and b'"' not in data and b"\r" not in data


def _split(lines: list[str], delimiter: str) -> list[list[str]]:
    """The cells of records that are sound."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_REJECT))
    return list(csv.reader(lines, delimiter=delimiter, strict=True))


def _number(cell: str | None) -> int | None:
    return int(cell) if cell and cell.isascii() and cell.isdecimal() and len(cell) < 20 else None


def open_csv(
    stream: Stream, name: str, dataset: Dataset, ignore_extra: bool, block_size: int, delimiter: str
) -> tuple[CsvReader, tuple[str, ...], Iterator[Block]]:
    """What splits the blocks of a CSV file, the columns of its header, and the blocks."""
    header, lines, head = _header(stream, name, block_size, delimiter)
    hint = "; if another character divides its cells, say --delimiter" if len(header) == 1 else ""
    check_columns(header, dataset, ignore_extra, f"{name}: the header", hint)
    whole_records = partial(_whole_records, grammar=_grammar(delimiter), width=len(header))
    blocks = cut(stream, block_size, whole_records, head, lines + 1)
    numeric = dataset.numeric and set(header) == set(dataset.header)
    reader = CsvReader(header, dataset.header, delimiter, numeric)
    return reader, reader.columns, blocks


def _header(stream: Stream, name: str, size: int, delimiter: str) -> tuple[tuple[str, ...], int, bytes]:
    """The columns, how many lines they take, and what was read beyond."""
    data = b""
    while True:
        piece = stream.read(size)
        data += piece or b"\n"
        if record := _grammar(delimiter).header.match(data):
            break
        if not piece and not data.strip(b"\r\n"):
            raise SourceError(f"{name} holds nothing but blank lines")
        if not piece or len(data) > MAX_ROW:
            if b'"' not in data and b"\r" not in data:
                raise SourceError(f"{name}: the first line is not a header: it is longer than 1 MiB")
            stray = "quote" if b'"' in data else "carriage return (are there no line feeds?)"
            raise SourceError(f"{name}: the first line is not a header: a {stray} stands where none may")
    text = record[1].decode(errors="surrogateescape")
    if fault := undecoded(text):
        raise SourceError(f"{name}: the header {fault}")
    return tuple(_split([text], delimiter)[0]), data.count(b"\n", 0, record.end()), data[record.end() :]
