"""Rows that a program has at hand: mappings or instances of the model, read as if they were lines of NDJSON."""

import asyncio
import reprlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import date, time
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any

import orjson
from attrs import field, frozen

from loader.core.dataset import Dataset
from loader.core.errors import SourceError, UsageError
from loader.core.records import MAX_ROW, Block, Rows, Span
from loader.core.values import Number
from loader.sources import BLOCK_SIZE, Rowset
from loader.sources.ndjson import NdjsonReader

_ROWS_A_BLOCK = 1_000
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_LONGEST_PLAIN = 1_000  # digits; a number that has more with an exponent than without is refused anyway


def rows(items: Iterable[object] | AsyncIterable[object], name: str = "rows") -> "RowsSource":
    """The source that items are: mappings by column, or instances of the dataset's model; messages call it `name`.

    They are taken as they come, a block at a time, by the thread that loads. What they raise ends the dataset.
    Raises UsageError if there is nothing to take one by one.
    """
    if isinstance(items, Mapping | str | bytes) or not isinstance(items, Iterable | AsyncIterable):
        raise UsageError(f"{name}: rows come from an iterable of mappings or records, not from a {_type(items)}")
    return RowsSource(items, name)


@frozen(eq=False)
class RowsSource:
    """Items of a program; how many bytes they come to is not known beforehand."""

    items: Iterable[object] | AsyncIterable[object] = field(repr=False)
    name: str
    block_size: int = BLOCK_SIZE

    format = "ndjson"
    numbered = False

    @property
    def rereadable(self) -> bool:
        return not isinstance(self.items, Iterator | AsyncIterator)

    async def verify(self) -> None:
        """There is nothing to read before the rows are wanted."""

    @asynccontextmanager
    async def open(self, dataset: Dataset, ignore_extra: bool) -> AsyncIterator[Rowset]:
        async with aclosing(self._blocks(dataset)) as blocks:
            reader = RowsReader(NdjsonReader.of(dataset, ignore_extra), NdjsonReader.of(dataset.held, False))
            yield Rowset(reader, dataset.header, 0, blocks)

    async def _blocks(self, dataset: Dataset) -> AsyncGenerator[Block, None]:
        """The items as lines; those that come before one that cannot be had are passed on before the error is."""
        lines: list[bytes] = []
        first, size, made = 1, 0, False
        fault: SourceError | None = None
        try:
            async with aclosing(self._items()) as items:
                async for item in items:
                    if lines and made != isinstance(item, dataset.model):
                        yield _block(lines, first, made)
                        first, size, lines = first + len(lines), 0, []
                    made = isinstance(item, dataset.model)
                    lines.append(_line(item, dataset))
                    size += len(lines[-1])
                    if size >= self.block_size or len(lines) == _ROWS_A_BLOCK:
                        yield _block(lines, first, made)
                        first, size, lines = first + len(lines), 0, []
                        await asyncio.sleep(0)
        except SourceError as error:
            fault = error
        if lines:
            yield _block(lines, first, made)
        if fault:
            raise fault

    async def _items(self) -> AsyncGenerator[object, None]:
        try:
            if isinstance(self.items, AsyncIterable):
                async for item in self.items:
                    yield item
            else:
                for item in self.items:
                    yield item
        except Exception as error:
            raise SourceError(f"{self.name} cannot be read to the end: {_type(error)}: {error}") from error


@frozen
class RowsReader:
    """Splits blocks of mappings by the columns of a dataset, and blocks of instances by what these hold."""

    mappings: NdjsonReader
    instances: NdjsonReader

    def rows(self, block: Block) -> Rows:
        return self._of(block).rows(block)

    def values(self, block: Block, spans: Iterable[Span]) -> Iterator[Mapping[str, object]]:
        return self._of(block).values(block, spans)

    def _of(self, block: Block) -> NdjsonReader:
        return self.instances if block.made else self.mappings


def _block(lines: list[bytes], first: int, made: bool) -> Block:
    return Block(b"\n".join(lines) + b"\n", first, 0, made)


def _line(item: object, dataset: Dataset) -> bytes:
    """An item as a JSON object; if it has no such form, a JSON text that says why, and so is a row that is refused."""
    try:
        members = _members(item, dataset)
        text = _dumps(members)
        if text is None or b"null" in text:  # which may stand for NaN
            text = orjson.dumps(_closely(members), _form, _OPTIONS)
    except Exception as error:  # whatever an item raises is its own fault
        why = f"{_type(item)}: {error.__cause__ or error}: {reprlib.repr(item)}"
        text = orjson.dumps(why.encode(errors="backslashreplace").decode())
    return text[: MAX_ROW + 1]


def _members(item: Any, dataset: Dataset) -> dict[str, object]:
    if isinstance(item, dataset.model):
        return {each.column: getattr(item, each.attribute.name) for each in dataset.fields}
    if not hasattr(item, "keys"):  # by which dict() knows a mapping, as sqlite3.Row is one
        raise TypeError(f"neither a mapping nor {dataset.model.__name__}")
    return dict(item)


def _dumps(members: dict[str, object]) -> bytes | None:
    try:
        return orjson.dumps(members, _form, _OPTIONS)
    except TypeError:
        return None


def _form(value: Any) -> object:
    """What stands for a value of a type that orjson does not know; TypeError if nothing in JSON does."""
    match value:
        case Number():
            return orjson.Fragment(str(value))
        case Decimal() if value.is_finite():
            return orjson.Fragment(f"{value:f}" if abs(value.adjusted()) < _LONGEST_PLAIN else str(value))
        case Decimal():
            raise TypeError(f"holds {value}")
        case date() | time():
            return value.isoformat()
        case str():
            return str.__str__(value)
        case int():
            return int(value)
        case float():
            return float(value)
        case Mapping():
            return dict(value)
        case list() | tuple():
            return list(value)
        case _:
            raise TypeError(f"holds a value of type {_type(value)}")


def _closely(value: Any) -> object:
    """The same, with integers of any length; TypeError or ValueError for what orjson refuses, or takes for null."""
    match value:
        case Enum():
            return _closely(value.value)
        case float() if not isfinite(value):
            raise TypeError(f"holds {value}")
        case str():
            value.encode()
            return value
        case int() if not isinstance(value, bool):
            return orjson.Fragment(f"{Decimal(value):f}")
        case Mapping():
            return {_key(key): _closely(one) for key, one in value.items()}
        case list() | tuple():
            return [_closely(one) for one in value]
        case _:
            return value


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"has a key of type {_type(key)}")
    return str.__str__(key)


def _type(value: object) -> str:
    return type(value).__name__
