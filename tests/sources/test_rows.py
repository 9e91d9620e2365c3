"""Rows of a program: what may be one, what its values become, and how they are taken."""

import asyncio
import datetime as dt
import json
import sqlite3
import threading
from collections import ChainMap, OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from loader import rows
from loader.core.dataset import Dataset
from loader.core.errors import SourceError, UsageError
from loader.core.records import MAX_ROW, Block
from loader.core.values import Number
from loader.datasets.users import USERS, User
from loader.sources import file_source
from loader.sources.rows import RowsSource
from tests.sources import Reading, message, parsed, read, read_source, verdicts
from tests.sources.test_ndjson import MEASURES, VALUES, Measure, as_json

GOOD = {"id": 1, "name": "a", "email": "b"}


def read_rows(items: Any, dataset: Dataset = USERS, block_size: int = 2**17, ignore_extra: bool = False) -> Reading:
    return read_source(RowsSource(items, "rows", block_size), dataset, ignore_extra)


def cell(value: object) -> object:
    """What a value becomes that stands in a row."""
    [[found]] = read_rows([{"id": value}], ONES).cells
    return found


def refusal(item: object, dataset: Dataset = USERS) -> str:
    """Why an item is refused, that stands between two that are not."""
    reading = read_rows([GOOD, item, GOOD], dataset)
    assert (reading.lines, [line for line, _ in reading.codes]) == ([1, 3], [2])
    return message(reading.rows.misfits[0].reasons)


@define
class One:
    id: int


ONES = Dataset("ones", One, "id")


def queried() -> Iterator[sqlite3.Row]:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    yield from connection.execute("SELECT 1 AS id, 'a' AS name, 'b' AS email")
    connection.close()


async def later(items: Iterable[object]) -> AsyncIterator[object]:
    for item in items:
        await asyncio.sleep(0)
        yield item


@pytest.mark.parametrize(
    "items",
    [
        [GOOD],
        (GOOD,),
        iter([GOOD]),
        (GOOD for _ in range(1)),
        {"x": GOOD}.values(),
        [User(1, "a", "b@c")],
        [OrderedDict(GOOD)],
        [ChainMap({"id": 1}, GOOD)],
        queried(),
        later([GOOD]),
    ],
    ids=lambda items: type(items).__name__,
)
def test_anything_that_gives_mappings_or_records(items: Any) -> None:
    """Collections, generators and cursors, of mappings or of instances of the model, are rows."""
    reading = read_rows(items)
    assert (reading.lines, reading.columns, reading.size) == ([1], ("id", "name", "email"), 0)
    [(id_, name, email)] = reading.cells
    assert (id_, name, str(email)[0]) == (1, "a", "b")


@pytest.mark.parametrize("items", [GOOD, "users.csv", b"x", 7, None])
def test_what_gives_no_rows_is_wrong_use(items: Any) -> None:
    """A single mapping, a path, and what cannot be iterated over are refused at once."""
    with pytest.raises(UsageError, match="rows come from an iterable of mappings or records, not from a"):
        rows(items)


class Colour(Enum):
    RED = "red"
    SEVEN = 7
    NONE = float("nan")


class Size(IntEnum):
    BIG = 3


class Name(StrEnum):
    BOB = "bob"


class Cents(int):
    pass


class Metres(float):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (2**64, Number(2**64)),
        (-(2**63) - 1, Number(-(2**63) - 1)),
        (0.1, 0.1),
        (0.1 + 0.2, Number("0.30000000000000004")),
        (Decimal("19.99"), 19.99),
        (Decimal("0.1000000000000000000001"), Number("0.1000000000000000000001")),
        (Decimal("1E+3"), 1000),
        (Decimal("1E-7"), Number("0.0000001")),
        (Decimal("1E+1000000000"), Number("1E+1000000000")),
        (Number("1.0000000000000000000001"), Number("1.0000000000000000000001")),
        (UUID(int=7), str(UUID(int=7))),
        (dt.date(2020, 1, 31), "2020-01-31"),
        (dt.datetime(2020, 1, 31, 1, 2, 3), "2020-01-31T01:02:03"),
        (dt.datetime(2020, 1, 31, tzinfo=dt.UTC), "2020-01-31T00:00:00+00:00"),
        (
            dt.datetime(1880, 1, 1, tzinfo=dt.timezone(dt.timedelta(minutes=57, seconds=44))),
            "1880-01-01T00:00:00+00:57:44",
        ),
        (dt.time(1, 2, 3, 4000), "01:02:03.004000"),
        (dt.time(1, 2, tzinfo=dt.UTC), "01:02:00+00:00"),
        (Colour.RED, "red"),
        (Colour.SEVEN, 7),
        (Size.BIG, 3),
        (Name.BOB, "bob"),
        (Cents(7), 7),
        (Metres(1.5), 1.5),
        ([1, (None, 2)], [1, [None, 2]]),
        ({"a": ChainMap({"b": 1})}, {"a": {"b": 1}}),
        ([2**64, Decimal("0.5"), None, Colour.SEVEN], [Number(2**64), Number("0.5"), None, 7]),
        ({Name.BOB: None}, {"bob": None}),
    ],
    ids=repr,
)
def test_a_value_becomes_what_json_has_for_it(value: object, expected: object) -> None:
    """Numbers are exact, dates and the like are ISO 8601, members of an enumeration their values."""
    assert (cell(value), type(cell(value))) == (expected, type(expected))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (None, "NoneType: neither a mapping nor User"),
        ((1, "a", "b"), "tuple: neither a mapping nor User"),
        ("text", "str: neither a mapping nor User"),
        ([GOOD], "list: neither a mapping nor User"),
        (One(1), "One: neither a mapping nor User"),
        (dict, "type: "),
        ({1: 2}, "dict: has a key of type int"),
        (GOOD | {"name": {None: 1}}, "dict: has a key of type NoneType"),
        (GOOD | {"name": {1}}, "dict: holds a value of type set"),
        (GOOD | {"name": [b"x"]}, "dict: holds a value of type bytes"),
        (GOOD | {"name": dt.timedelta(1)}, "dict: holds a value of type timedelta"),
        (GOOD | {"name": float("nan")}, "dict: holds nan"),
        (GOOD | {"name": None, "id": float("inf")}, "dict: holds inf"),
        (GOOD | {"name": Metres("-inf")}, "dict: holds -inf"),
        (GOOD | {"name": [{"a": (float("nan"),)}]}, "dict: holds nan"),
        (GOOD | {"name": Colour.NONE}, "dict: holds nan"),
        (GOOD | {"name": Decimal("NaN")}, "dict: holds NaN"),
        (GOOD | {"name": Decimal("sNaN")}, "dict: holds sNaN"),
        (GOOD | {"name": Decimal("Infinity")}, "dict: holds Infinity"),
        (GOOD | {"name": "\ud800"}, "dict: 'utf-8' codec can't encode"),
        (GOOD | {"\ud800": 1}, "dict: str is not valid UTF-8"),
    ],
    ids=lambda item: ascii(item)[:40],
)
def test_an_item_without_a_form_in_json_costs_itself_only(item: object, words: str) -> None:
    """What is no mapping, or holds what JSON has nothing for, is a row-error that names the type; NaN is not None."""
    assert words in refusal(item)
    assert refusal(item).startswith("row-error: is not a JSON object: ")


def test_what_is_nested_too_deeply_costs_itself_only() -> None:
    """A list in lists without end, or one that holds itself, is no crash."""
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    circle: dict[str, Any] = dict(GOOD)
    circle["name"] = circle
    assert refusal(GOOD | {"name": deep}).startswith("row-error")
    assert refusal(circle).startswith("row-error")


def test_an_item_that_raises_costs_itself_only() -> None:
    """A mapping that cannot be read is told with its error."""

    class Gone(dict[str, object]):
        def __iter__(self) -> Iterator[str]:
            raise LookupError("gone")

        def keys(self) -> Any:
            raise LookupError("gone")

    assert "Gone: gone" in refusal(Gone(GOOD))


def test_an_item_over_a_mebibyte_is_one_rejection() -> None:
    """A row longer than 1 MiB is refused, as in a file."""
    assert refusal(GOOD | {"name": "x" * MAX_ROW}) == "row-error: is longer than 1 MiB"


def test_integers_of_any_length_are_judged_as_in_a_file() -> None:
    """An integer beyond 64 bits, or of thousands of digits, is the same type-error as in NDJSON."""
    for number in (2**63, 2**64, -(2**63) - 1, 10**5_000):
        item = {"id": number}
        text = json.dumps({"id": "N"}).replace('"N"', f"{Decimal(number):f}")
        drafts = [parsed(reading, ONES).drafts for reading in (read_rows([item], ONES), read(text, "ndjson", ONES))]
        assert drafts[0] == drafts[1]
        assert "not within 64 bits" in str(drafts[0][0].reasons[0])


def test_only_the_members_of_a_record_are_taken() -> None:
    """An instance gives its fields by column, and what they hold is not taken apart."""
    items: Any = [Measure(1, Decimal("1.50"), "n"), Measure(2, None), Measure(3, One(3), [1])]  # type: ignore[arg-type]
    reading = read_rows(items, MEASURES)
    assert reading.cells == [(1, "1.50", "n"), (2, None, "none")]
    assert reading.codes == [(3, ["row-error"])]


def test_members_are_judged_as_in_a_file() -> None:
    """Names that are missing or unknown are reasons; optional ones may be left out, and extra ones, if told so."""
    items = [{"id": 1}, {"id": 2, "value": 1, "x": 1}, {"value": 1}, {"id": 4, "_x": 1, "value": 2}]
    assert verdicts(parsed(read_rows(items, MEASURES), MEASURES)) == [
        (1, None, "none"),
        [("extra-cell", "x")],
        [("missing-cell", "id")],
        (4, 2, "none"),
    ]
    assert len(read_rows(items, MEASURES, ignore_extra=True).cells) == 3


@pytest.mark.parametrize("of", [list, iter, later])
def test_a_block_is_cut_by_size_or_number(of: Any) -> None:
    """A block has about so many bytes, and at most a thousand rows; its lines count rows from 1."""
    items = [GOOD | {"id": at} for at in range(1, 2_501)]
    blocks = read_rows(of(items)).blocks
    assert [(block.line, block.data.count(b"\n")) for block in blocks] == [(1, 1000), (1001, 1000), (2001, 500)]
    assert [block.data.count(b"\n") for block in read_rows(of(items[:3]), block_size=1).blocks] == [1, 1, 1]
    assert read_rows(of([])).blocks == []


def test_items_are_taken_by_the_thread_that_loads_a_block_at_a_time() -> None:
    """A generator may use what is bound to its thread, is not run ahead of, and lets others run between blocks."""
    taken: list[threading.Thread] = []

    def generated() -> Iterator[object]:
        for _ in range(3_000):
            taken.append(threading.current_thread())
            yield GOOD

    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        async with rows(generated()).open(USERS, False) as rowset:
            assert not taken
            await anext(rowset.blocks)
            assert len(taken) == 1_000
            await anext(rowset.blocks)
            assert ticks
        ticking.cancel()

    asyncio.run(main())
    assert set(taken) == {threading.current_thread()}
    assert len(taken) == 2_000


def test_a_generator_is_closed_when_it_is_not_read_to_the_end() -> None:
    """What it holds open is let go when the source is closed."""
    closed = []

    def generated() -> Iterator[object]:
        try:
            while True:
                yield GOOD
        finally:
            closed.append(True)

    async def main() -> None:
        async with rows(generated()).open(USERS, False) as rowset:
            await anext(rowset.blocks)
        assert closed

    asyncio.run(main())


async def failing_later() -> AsyncIterator[object]:
    yield GOOD
    raise ConnectionError("gone")


def failing() -> Iterator[object]:
    yield GOOD
    raise ConnectionError("gone")


@pytest.mark.parametrize("items", [failing, failing_later])
def test_what_an_iterable_raises_is_a_source_error(items: Any) -> None:
    """It names the source and the error; what came before is passed on."""

    async def main() -> None:
        async with rows(items(), "feed").open(USERS, False) as rowset:
            assert (await anext(rowset.blocks)).data.count(b"\n") == 1
            with pytest.raises(SourceError, match="feed cannot be read to the end: ConnectionError: gone") as error:
                await anext(rowset.blocks)
            assert isinstance(error.value.__cause__, ConnectionError)

    asyncio.run(main())


def test_a_source_knows_whether_it_can_be_read_again() -> None:
    """A collection can, and a file; what is used up by reading cannot."""

    class Again:
        async def __aiter__(self) -> AsyncIterator[object]:
            yield GOOD

    for items in ([GOOD], (GOOD,), {"x": GOOD}.values(), Again()):
        assert rows(items).rereadable
    for once in (iter([GOOD]), (GOOD for _ in range(1)), map(dict, [GOOD]), later([GOOD])):
        assert not rows(once).rereadable
    assert file_source("users.csv").rereadable
    source = rows([GOOD], "mine")
    assert (source.name, source.format, source.numbered) == ("mine", "ndjson", False)
    assert "GOOD" not in repr(source)
    assert read_source(source).rows == read_source(source).rows


@given(
    st.lists(st.fixed_dictionaries({"id": VALUES, "name": VALUES, "email": VALUES}), min_size=1, max_size=4),
    st.integers(1, 90),
)
def test_rows_are_read_as_from_a_file(items: list[dict[str, Any]], size: int) -> None:
    """Whatever JSON has a form for has the same values and verdicts as in NDJSON, however the rows are cut."""
    here = read_rows(items, block_size=size)
    there = read("".join(json.dumps(item) + "\n" for item in items), "ndjson")
    assert [tuple(map(as_json, row)) for row in here.cells] == [
        (each["id"], each["name"], each["email"]) for each in items
    ]
    assert (here.lines, verdicts(parsed(here))) == (there.lines, verdicts(parsed(there)))
    found = [here.reader.values(block, [(line, line + 1)]) for block in here.blocks for line in _lines(block)]
    assert [as_json(dict(one)) for [one] in found] == items


def _lines(block: Block) -> Iterable[int]:
    return range(block.line, block.line + block.data.count(b"\n"))


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_exact(number: Decimal | float) -> None:
    """Whatever number is given, what is read is equal to it, to the last digit."""
    text = str(cell(number))
    assert (Decimal(text) if isinstance(number, Decimal) else float(text)) == number
