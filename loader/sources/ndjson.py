"""NDJSON: one JSON object a line, in UTF-8 (RFC 8259), as ndjson.org and jsonlines.org describe it.

A number keeps the text that stood in the file wherever a binary float might differ from it.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, Self

import orjson
from attrs import define, frozen

from loader.core.dataset import Dataset
from loader.core.records import MAX_ROW, Block, Misfit, Place, Reason, Rows, Span
from loader.core.values import Number, shortened, shown
from loader.sources import uniform
from loader.sources.files import Readable, cut, texts, undecoded

_INEXACT = re.compile(rb"[0-9][eE][-+0-9]|[0-9.]{16}|0\.0000|\.[0-9]*+(?<=0)")
"""What stands in a line with a number that a float may change, or that Python writes in another way."""

_MOST_UNKNOWN = 100  # names of an object that are told one by one

_EXACT = {str, int, bool, type(None)}
_NAME = re.compile(rb'"\s*:')


class _UnreadableError(ValueError):
    """A text is no JSON object that can be loaded."""


@frozen
class NdjsonReader:
    """Splits lines of JSON objects into rows of these fields; `optional` are those that an object may leave out.

    An object that holds `_raw`, as in a rejects file, stands for that text. `numeric` says that all are fields of
    integers.
    """

    fields: tuple[str, ...]
    optional: frozenset[str]
    ignore_extra: bool
    numeric: bool = False

    @classmethod
    def of(cls, dataset: Dataset, ignore_extra: bool) -> Self:
        optional = frozenset(each.column for each in dataset.loaded if each.optional)
        return cls(dataset.header, optional, ignore_extra, dataset.numeric)

    def rows(self, block: Block) -> Rows:
        if _has_no_long_line(block.data) and (columns := uniform.columns(block.data, self.fields, self.numeric)):
            lines = range(block.line, block.line + block.data.count(b"\n"))
            return Rows([columns[name] for name in self.fields], lines)
        return self._any_rows(block)

    def _any_rows(self, block: Block) -> Rows:
        cells: list[Sequence[object]] = []
        lines: list[int] = []
        misfits: list[Misfit] = []
        origins: dict[int, Place] = {}
        pick = self._pick()
        width = len(self.fields)
        for line, text in enumerate(block.data.split(b"\n"), block.line):
            if not text or text.isspace():
                continue
            try:
                members = _loads(text)
                if len(members) == width:
                    cells.append(pick(members))
                    lines.append(line)
                    continue
            except (_UnreadableError, KeyError):
                pass
            row = self._unpack(text)
            if row.origin:
                origins[line] = row.origin
            if faults := self._faults(row):
                misfits.append(
                    Misfit(line, {name: row.members[name] for name in self.fields if name in row.members}, faults)
                )
            else:
                cells.append([row.members.get(name) for name in self.fields])
                lines.append(line)
        return Rows.of(cells, lines, misfits, origins)

    def values(self, block: Block, spans: Iterable[Span]) -> Iterator[Mapping[str, object]]:
        for text in texts(block, spans):
            row = self._unpack(text.strip())
            yield {"_raw": row.text} if row.fault else row.members

    def _pick(self) -> Callable[[Mapping[str, object]], Sequence[object]]:
        if len(self.fields) > 1:
            return itemgetter(*self.fields)
        name = self.fields[0]
        return lambda members: (members[name],)

    def _unpack(self, text: bytes) -> "_Row":
        """The row that a line is or, in a rejects file, holds."""
        try:
            members = _loads(text)
        except _UnreadableError as error:
            members = _own_members(text)
            if "_raw" not in members:
                return _Row(text[: MAX_ROW + 1].decode(errors="surrogateescape"), {}, str(error))
        row = _Row("", {name: value for name, value in members.items() if not name.startswith("_")})
        if isinstance(raw := members.get("_raw"), str) and not row.members:
            row = self._unpack(raw.encode(errors="surrogateescape"))
        if isinstance(source := members.get("_source"), str):
            line, number = members.get("_line"), members.get("_row")
            row.origin = Place(
                source, line if isinstance(line, int) else None, number if isinstance(number, int) else None
            )
        return row

    def _faults(self, row: "_Row") -> tuple[Reason, ...]:
        """Why a row cannot be read, or what it lacks or has too many of; nothing if it fits the fields."""
        if row.fault:
            return (Reason("row-error", None, row.fault),)
        missing = [name for name in self.fields if name not in row.members and name not in self.optional]
        unknown = [] if self.ignore_extra else [name for name in row.members if name not in self.fields]
        told = unknown[:_MOST_UNKNOWN]
        reasons = [
            *(Reason("missing-cell", name, "is missing") for name in missing),
            *(Reason("extra-cell", shortened(name), "is not a field", row.members[name]) for name in told),
        ]
        if (more := len(unknown) - _MOST_UNKNOWN) > 0:
            reasons.append(Reason("extra-cell", None, f"has {more:,} more names that are no fields"))
        return tuple(reasons)


def _has_no_long_line(data: bytes) -> bool:
    """Whether no line is longer than a row may be."""
    at = 0
    while len(data) - at > MAX_ROW:
        at = data.rfind(b"\n", at, at + MAX_ROW + 1) + 1
        if not at:
            return False
    return True


@define
class _Row:
    """A line as its members or, if it has a fault, as its text."""

    text: str
    members: dict[str, Any]
    fault: str = ""
    origin: Place | None = None


def _loads(text: bytes) -> dict[str, Any]:
    """The members of a JSON object; _UnreadableError if it is none, or one that readers do not agree on."""
    if len(text) > MAX_ROW:
        raise _UnreadableError("is longer than 1 MiB")
    try:
        members = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if _INEXACT.search(text):  # it refuses numbers that are too big for it
            with suppress(ValueError):
                return _loads_exactly(text)
        fault = undecoded(text.decode(errors="surrogateescape"))
        raise _UnreadableError(fault or f"is not JSON: {error.msg}, at character {error.colno}") from None
    if type(members) is not dict:
        raise _UnreadableError(f"is not a JSON object: {shown(members)}")
    inexact = not _EXACT.issuperset(map(type, members.values())) and _INEXACT.search(text)
    if inexact or (text.count(b":") != len(members) and len(_NAME.findall(text)) != len(members)):
        return _loads_exactly(text)
    return members


def _loads_exactly(text: bytes) -> dict[str, Any]:
    try:
        members = json.loads(
            text.decode(), parse_float=Number, parse_int=_integer, parse_constant=_refuse, object_pairs_hook=_distinct
        )
    except RecursionError:
        raise _UnreadableError("is nested too deeply") from None
    if type(members) is not dict:
        raise _UnreadableError(f"is not a JSON object: {shown(members)}")
    return members


def _refuse(constant: str) -> None:
    raise _UnreadableError(f"is not JSON: {constant}")


def _integer(text: str) -> int | Number:
    if len(text) <= 20 and -(2**63) <= (value := int(text)) < 2**63:
        return value
    return Number(text)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise _UnreadableError(f"names {shown(twice)} more than once")
    return members


def _own_members(text: bytes) -> dict[str, Any]:
    """The members of a row that only a rejects file has: its `_raw` may hold what strict JSON does not allow."""
    if b'"_raw"' not in text:
        return {}
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}


def open_ndjson(
    stream: Readable, name: str, dataset: Dataset, ignore_extra: bool, block_size: int
) -> tuple[NdjsonReader, tuple[str, ...], Iterator[Block]]:
    """What splits the blocks of an NDJSON file, its columns, and the blocks: twice the size, half of which is names."""
    return NdjsonReader.of(dataset, ignore_extra), dataset.header, cut(stream, 2 * block_size)
