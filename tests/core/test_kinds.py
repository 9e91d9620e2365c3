"""How values are written in a file and kept in a database: the rules of each type."""

import json
import sqlite3
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, Literal, NewType, Optional, Union
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.core.kinds import BOOL, DATE, DATETIME, DECIMAL, FLOAT, INT, STR, TIME, UUID_, Kind, json_text, kind_of
from loader.core.records import Block
from loader.core.values import Number, shown
from loader.sources.ndjson import NdjsonReader

HUGE = "1" * 5000


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Shade(StrEnum):
    DARK = "dark"


def of(hint: Any) -> Kind:
    """The kind of a type that is known."""
    kind, _ = kind_of(hint)
    assert kind
    return kind


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("0", 0),
        ("-0", 0),
        ("7", 7),
        ("-7", -7),
        (7, 7),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
)
def test_an_integer_is_written_in_canonical_digits(cell: object, value: int) -> None:
    """Canonical digits within 64 bits, as text or as a JSON integer, are an integer."""
    assert INT.read(cell) == value
    assert list(INT.read_all([cell]) or [value]) == [value]


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "",
            "-",
            "--1",
            "+5",
            " 7 ",
            "7 ",
            "7\n",
            "1_000",
            "007",
            "-01",
            "1.0",
            "1e3",
            "0x10",
            "1,2",
            "\u0661",
            "\uff11\uff12",
            "²",
        ),
        *(True, False, 1.0, None, [1], {"a": 1}, Number("1e2"), Number("1.0")),
    ],
    ids=repr,
)
def test_what_is_no_integer_is_refused_and_shown(cell: object) -> None:
    """Anything but canonical digits is refused, with words that show what stood there."""
    with pytest.raises(ValueError, match="not an integer: ") as refused:
        INT.read(cell)
    assert shown(cell) in str(refused.value)
    assert INT.read_all([cell]) is None


@pytest.mark.parametrize(
    "cells", [["true"], ["7", "false"], ["1", "null"], ["1e2"], ["[1]"], ["1", 2], [1, True], [1.0]]
)
def test_a_column_that_holds_anything_else_is_looked_at_closely(cells: list[object]) -> None:
    """What JSON takes for a value, or Python for an integer, is none for that; nor are text and numbers mixed."""
    assert INT.read_all(cells) is None


@pytest.mark.parametrize("cell", ["9223372036854775808", "-9223372036854775809", 2**63, -(2**63) - 1, HUGE])
def test_an_integer_beyond_64_bits_is_refused(cell: object) -> None:
    """An integer that SQLite cannot hold is refused, however long it is."""
    with pytest.raises(ValueError, match="not within 64 bits"):
        INT.read(cell)
    assert INT.read_all([cell]) is None


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("0", "0"),
        ("19.990", "19.99"),
        ("-50.00", "-50"),
        ("1.0000000000000000001", "1.0000000000000000001"),
        (Number("19.990"), "19.99"),
        (19.99, "19.99"),
        (5, "5"),
        (0.1, "0.1"),
    ],
)
def test_a_decimal_is_written_in_plain_digits(cell: object, value: str) -> None:
    """Plain digits with an optional point keep their exact value; a JSON float is the number that its text says."""
    assert DECIMAL.read(cell) == Decimal(value)


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "",
            "-",
            ".",
            "1e2",
            "1E-999999999",
            "NaN",
            "sNaN",
            "Infinity",
            "-inf",
            "1_0",
            "+1",
            " 1",
            "1\n",
            "1,5",
            "1.2.3",
        ),
        *("\uff11", "\u0663.\u0665", Number("1e2"), float("nan"), float("inf"), 1e300, True, None, [1]),
    ],
    ids=repr,
)
def test_what_is_no_plain_decimal_is_refused(cell: object) -> None:
    """No exponent, no NaN, no infinity, no digit of another script is a decimal number."""
    with pytest.raises(ValueError, match="not a decimal number"):
        DECIMAL.read(cell)
    assert DECIMAL.read_all([cell]) is None


@pytest.mark.parametrize("cell", ["", "a", "a\tb\r\nc", " 7 ", "\u00e9", "[/]", "\U0001f600", "\u202e", "NULL"])
def test_text_stays_as_it_stands(cell: str) -> None:
    """Text is kept as it is, with its spaces, tabs and newlines."""
    assert STR.read(cell) == cell


@pytest.mark.parametrize("character", [*"\x00\x08\x0b\x0c\x1b\x1f\x7f\x80\x9b\x9f\ud800\udcff\udfff"], ids=ascii)
def test_control_characters_and_surrogates_are_refused(character: str) -> None:
    """A control character, or half of a surrogate pair, is named by its code point and refused."""
    with pytest.raises(ValueError, match=f"control character U\\+{ord(character):04X}"):
        STR.read(f"a{character}")
    assert STR.read_all(["b", f"a{character}"]) is None


@pytest.mark.parametrize("cell", [7, 7.5, True, None, ["a"], {"a": "b"}, Number("7.0")], ids=repr)
def test_only_text_is_text(cell: object) -> None:
    """A JSON number, boolean, list or object is not text."""
    with pytest.raises(ValueError, match="not text: "):
        STR.read(cell)


ODD_TEXT = st.sampled_from(
    ["", "0", "-0", "007", "1,2", "1.50", "1e2", "-", ",", "1\n", "a,b", "9" * 18, "9" * 19, "\x07", "Ä"]
)
CELL = st.one_of(
    ODD_TEXT,
    st.integers(-(2**64), 2**64).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:f}"),
    st.text(max_size=5),
    st.integers(-(2**64), 2**64),
    st.floats(),
    st.booleans(),
    st.none(),
    ODD_TEXT.map(Number),
)
COLUMN = st.lists(CELL, min_size=1, max_size=6) | st.one_of(
    *(
        st.lists(one, min_size=1, max_size=6)
        for one in (st.integers().map(str), st.integers(), st.text(max_size=3), ODD_TEXT)
    )
)


@given(st.sampled_from([INT, DECIMAL, STR, FLOAT, BOOL, DATE, DATETIME, TIME, UUID_]), COLUMN)
def test_a_column_is_read_as_its_cells_are(kind: Kind, cells: list[object]) -> None:
    """Reading a column at once gives what reading it cell by cell gives, to the last digit, or leaves it undone."""
    at_once = kind.read_all(cells)
    if at_once is not None:
        assert list(map(repr, at_once)) == [repr(kind.read(cell)) for cell in cells]


@given(st.sampled_from([INT, DECIMAL, STR, FLOAT]), COLUMN | st.lists(st.just("7") | ODD_TEXT, max_size=30))
def test_no_cell_that_can_be_read_is_told_from_afar_to_be_misread(kind: Kind, cells: list[object]) -> None:
    """Of a cell that is found not to be readable without being read, reading finds the same."""
    for at in kind.misread(cells):
        with pytest.raises(ValueError, match="not a"):
            kind.read(cells[at])


@pytest.mark.parametrize(
    ("kind", "cells", "foreign", "others"),
    [
        (INT, ["x", "1", "", "0", "007", "1,2", "-3", "1.0", "9" * 30, "²"], [0, 5, 9], [2, 4, 7]),
        (DECIMAL, ["x", "1.50", "", "0", "007", "1,2", "-3", "1e3", "0.0", "."], [0, 5, 7], [2, 4, 9]),
    ],
)
def test_faulty_cells_are_found_without_reading_the_others(
    kind: Kind, cells: list[str], foreign: list[int], others: list[int]
) -> None:
    """Each text that does not fit is found, in two rounds; among several lines, or what is no text, none is."""
    mended = cells
    for expected in (foreign, others, []):
        assert kind.misread(mended) == expected
        mended = ["0" if at in expected else cell for at, cell in enumerate(mended)]
    assert kind.misread([*cells, "1\n2"]) == kind.misread([*cells, 3]) == kind.misread([]) == []


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (INT, ["1", "-20", "0"]),
        (INT, [1, -20, 2**63 - 1]),
        (DECIMAL, ["1", "19.990", "-0.5"]),
        (STR, ["a", "b c", "é"]),
    ],
)
def test_a_plain_column_is_read_at_once(kind: Kind, cells: list[object]) -> None:
    """Columns without a fault take the fast way."""
    assert list(kind.read_all(cells) or ()) == [kind.read(cell) for cell in cells]


def stored_and_read_back(known: Kind, value: object) -> tuple[object, object]:
    """What the database is given for a value, and what it gives back."""
    given_ = known.store(value)
    database = sqlite3.connect(":memory:")
    try:
        database.execute(
            f"CREATE TABLE t (v {known.column} CHECK (typeof(v) IN ({','.join(map(repr, known.stored_as))})))"
        )
        database.execute("INSERT INTO t VALUES (?)", [given_])
        [[back]] = database.execute("SELECT v FROM t").fetchall()
    finally:
        database.close()
    return given_, back


PRICES = st.tuples(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 15)).map(
    lambda p: Decimal(p[0]).scaleb(-p[1])
)


@given(PRICES)
def test_a_decimal_is_read_back_as_it_was_written(value: Decimal) -> None:
    """A number of up to 15 digits comes back from the column equal to what stood in the file."""
    given_, back = stored_and_read_back(DECIMAL, value)
    assert back == given_
    assert Decimal(repr(back)) == value


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_is_read_back_as_it_was_written(value: int) -> None:
    """Each integer of 64 bits comes back from its column as an integer."""
    assert [repr(each) for each in stored_and_read_back(INT, value)] == [repr(value)] * 2


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_text_is_read_back_as_it_was_written(value: str) -> None:
    """Text comes back from its column unchanged, also if it looks like a number."""
    assert stored_and_read_back(STR, value) == (value, value)


@pytest.mark.parametrize("text", ["1234567890123456", "0.1234567890123456", "9007199254740993.5", "1" * 400])
def test_a_decimal_that_a_column_cannot_keep_is_refused(text: str) -> None:
    """More digits than a column gives back unchanged are refused, not rounded."""
    with pytest.raises(ValueError, match="at most 15 digits"):
        DECIMAL.store(Decimal(text))


ODD_DECIMALS = st.sampled_from(["NaN", "sNaN", "-Infinity", "1E+20", "1E+3", "1E-9", "-0", "-0.00", "1" * 16, "100"])


@given(st.lists(PRICES | ODD_DECIMALS.map(Decimal), min_size=1))
def test_decimals_are_stored_together_as_one_by_one(values: list[Decimal]) -> None:
    """What is made of a column at once is what is made of each, to the type; it is not sure if one is refused."""
    together = DECIMAL.store_all(values)
    try:
        one_by_one = list(map(DECIMAL.store, values))
    except ValueError:
        assert together is None
    else:
        assert together is None or list(map(repr, together)) == list(map(repr, one_by_one))
        assert together is not None or any("E" in str(value) or len(str(value)) > 15 for value in values)


IDENTITY = "123e4567-e89b-12d3-a456-426614174000"
MAYBE_DATES: Any = list[date | None]
FORMS: list[tuple[Any, object, object, object]] = [
    (float, "1.5", 1.5, 1.5),
    (float, "-0.5e-3", -0.0005, -0.0005),
    (float, "7", 7.0, 7.0),
    (float, 7, 7.0, 7.0),
    (float, Number("1.50"), 1.5, 1.5),
    (bool, "true", True, 1),
    (bool, False, False, 0),
    (date, "2024-02-29", date(2024, 2, 29), "2024-02-29"),
    (datetime, "2026-11-23T06:30:00", datetime(2026, 11, 23, 6, 30), "2026-11-23T06:30:00"),
    (datetime, "2026-11-23T06:30:00Z", datetime(2026, 11, 23, 6, 30, tzinfo=UTC), "2026-11-23T06:30:00+00:00"),
    (
        datetime,
        "2026-11-23T06:30:00.25-02:30",
        datetime(2026, 11, 23, 6, 30, 0, 250_000, timezone(-timedelta(hours=2.5))),
        "2026-11-23T06:30:00.250000-02:30",
    ),
    (time, "23:59:59.000001", time(23, 59, 59, 1), "23:59:59.000001"),
    (UUID, IDENTITY.upper(), UUID(IDENTITY), IDENTITY),
    (Color, "red", Color.RED, "red"),
    (Size, "2", Size.LARGE, 2),
    (Size, 2, Size.LARGE, 2),
    (Shade, "dark", Shade.DARK, "dark"),
    (Literal["a", "b"], "b", "b", "b"),
    (Literal[1, 2], "2", 2, 2),
    (int | str, "7", 7, 7),
    (str | int, "7", 7, 7),
    (str | int, "007", "007", "007"),
    (date | bool, "true", True, 1),
    (date | bool, "2026-11-23", date(2026, 11, 23), "2026-11-23"),
    (float | Literal["n/a"], "n/a", "n/a", "n/a"),
    (list, '[1, "a", null]', [1, "a", None], '[1,"a",null]'),
    (list[int], [1, 2], [1, 2], "[1,2]"),
    (list[float], "[1]", [1.0], "[1.0]"),
    (MAYBE_DATES, '["2026-11-23",null]', [date(2026, 11, 23), None], '["2026-11-23",null]'),
    (list[Color], '["red"]', [Color.RED], '["red"]'),
    (dict, '{"b": {"c": []}, "a": 1.50}', {"b": {"c": []}, "a": "1.50"}, '{"b":{"c":[]},"a":1.5}'),
    (dict[str, Decimal], {"a": Number("1.50")}, {"a": Decimal("1.50")}, '{"a":1.5}'),
]


@pytest.mark.parametrize(("hint", "cell", "value", "kept"), FORMS, ids=str)
def test_each_type_has_a_form(hint: Any, cell: object, value: object, kept: object) -> None:
    """A cell is read as a value of its type, of which the database keeps, and gives back, one form."""
    found = of(hint).read(cell)
    assert (found, type(found)) == (value, type(value))
    assert stored_and_read_back(of(hint), found) == (kept, kept)


REFUSED: list[tuple[Any, Sequence[object], str]] = [
    (
        float,
        ["", "NaN", "inf", "1_0", ".5", "1.", "+1", " 1", "0x1", "1,5", "\u0661", True, [1], Number("NaN")],
        "number",
    ),
    (float, ["1e400", Number("-1e400"), 10**400], "not a finite number"),
    (bool, ["", "True", "1", 1, 0, 1.0, "yes", None, [True]], "not true or false"),
    (
        date,
        ["2026-02-29", "20261123", "2026-W01-1", "2026-11-23T00:00:00", "23.11.2026", 20261123, Number("1.5")],
        "a date",
    ),
    (datetime, ["2026-11-23", "2026-11-23 06:30:00", "2026-11-23T06:30", "2026-11-23T06:30:00z", 0], "a date and time"),
    (datetime, ["2026-11-23T06:30:00+0200", "2026-11-23T06:30:00,5", "2026-11-23T06:30:00.1234567"], "a date and time"),
    (datetime, ["2026-11-23T24:00:00", "2026-11-23T06:60:00", "2026-11-23T06:30:00+24:00"], "a date and time"),
    (time, ["6:30:00", "06:30", "24:00:00", "06:30:60", "06:30:00Z", "T06:30:00", 63000], "a time"),
    (UUID, ["", "x", IDENTITY.replace("-", ""), f"{{{IDENTITY}}}", f"urn:uuid:{IDENTITY}", IDENTITY[:-1], 7], "a UUID"),
    (Color, ["RED", "", "Red", "green"], "not one of 'red', 'blue'"),
    (Color, [7, None, True, ["red"], {"red": 1}], "not text"),
    (Size, ["3", 3], "not one of 1, 2"),
    (Size, ["SMALL", "01", True, 1.0], "not an integer"),
    (Literal[1, 2], ["3", 0], "not one of 1, 2"),
    (int | str, ["\x07", 1.5, None, [1], True, Number("1.5")], r"not of type int \| str"),
    (date | bool, ["x", 1, "True"], r"not of type date \| bool"),
    (list, ["", "x", "7", '{"a":1}', "[1,]", "[1", "null", {"a": 1}, 7, "[" * 100_000], "not an array of JSON"),
    (dict, ["", "x", "[]", "{a:1}", '{"a":1,"a":2}', '{"a":{"b":1,"b":1}}', [1], True], "not an object of JSON"),
    (list[int], ["[1.5]", '["x"]', "[true]", "[null]", "[NaN]", [1, None]], "not an integer"),
    (dict[str, date], ['{"a":"today"}', {"a": 1}], "not a date"),
]


@pytest.mark.parametrize(("hint", "cells", "words"), REFUSED, ids=lambda one: str(one)[:30])
def test_each_type_refuses_all_other_forms(hint: Any, cells: Sequence[object], words: str) -> None:
    """There is one way to write a value, and a ValueError says which, and what stood there."""
    for cell in cells:
        with pytest.raises(ValueError, match=words):
            of(hint).read(cell)


NO_LISTS: list[Any] = [(1,), "[]", {}, [object()], [{1: 2}], [float("nan")], ["\x7f"], ["\ud800"]]
NO_DICTS: list[Any] = [[], {1: 2}, {"a": {1}}, {"a": float("inf")}]


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        *((int, value) for value in (True, 1.0, "1", 2**63, Size.SMALL, None)),
        *((float, value) for value in (1, "1", float("nan"), float("inf"), Decimal(1))),
        *((Decimal, value) for value in (1, 1.5, "1", Decimal("NaN"))),
        *((str, value) for value in (1, b"a", "\x00", "\ud800", None)),
        *((bool, value) for value in (1, 0, "true")),
        *((date, value) for value in (datetime(2026, 11, 23), "2026-11-23")),
        *((datetime, value) for value in (date(2026, 11, 23), "2026-11-23T00:00:00")),
        *((UUID, value) for value in (IDENTITY, 7)),
        *((Color, value) for value in ("red", "RED", Shade.DARK)),
        *((Shade, value) for value in ("dark", "light")),
        *((Size, value) for value in (1, 3, True)),
        *((Literal[1, 2], value) for value in (3, True, 1.0, "1")),
        *((int | str, value) for value in (1.5, None, b"a")),
        *((list, value) for value in NO_LISTS),
        *((dict, value) for value in NO_DICTS),
    ],
    ids=repr,
)
def test_a_value_of_another_type_is_never_stored(hint: Any, value: Any) -> None:
    """What a converter or a model made of a cell is held against the type again, before a database sees it."""
    with pytest.raises(ValueError, match=r".+"):
        of(hint).store(value)


VALUES: list[tuple[Any, st.SearchStrategy[Any], Any]] = [
    (float, st.floats(allow_nan=False, allow_infinity=False), repr),
    (bool, st.booleans(), json.dumps),
    (date, st.dates(), str),
    (datetime, st.datetimes(timezones=st.none() | st.just(UTC)), datetime.isoformat),
    (time, st.times(), str),
    (UUID, st.uuids(), str),
    (Color, st.sampled_from(Color), lambda one: one.value),
    (int | str, st.integers(-(2**63), 2**63 - 1) | st.sampled_from(["a", "1.5"]), str),
    (
        list,
        st.lists(st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none() | st.sampled_from(["a", "é\n"])),
        json.dumps,
    ),
    (dict[str, int], st.dictionaries(st.sampled_from("abc"), st.integers(-(2**63), 2**63 - 1)), json.dumps),
]


@pytest.mark.parametrize(("hint", "values", "text_of"), VALUES, ids=lambda one: str(one)[:20])
@given(data=st.data())
def test_each_value_is_read_back_as_it_was_written(hint: Any, values: Any, text_of: Any, data: st.DataObject) -> None:
    """What a value is written as is read as that value, and what is stored of it comes back, and can be read again."""
    value = data.draw(values)
    assert of(hint).read(text_of(value)) == value
    kept, back = stored_and_read_back(of(hint), value)
    assert (type(kept), kept) == (type(back), back)
    if hint is not bool:
        assert of(hint).read(back) == value


PART = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=2), parts, max_size=3),
    max_leaves=6,
)


def kept_of(kind: Kind, cell: object) -> object:
    try:
        return kind.store(kind.read(cell))
    except ValueError:
        return None


@given(st.lists(PART, max_size=3), st.sampled_from([None, 1]), st.booleans())
def test_a_list_is_kept_alike_from_text_and_from_json(parts: list[Any], indent: int | None, is_ascii: bool) -> None:
    """However JSON text is laid out, in a cell of CSV or as a part of a JSON file, one text is kept of it."""
    text = json.dumps({"x": parts}, indent=indent, ensure_ascii=is_ascii).replace("\n", " ")
    rows = NdjsonReader(("x",), frozenset(), False).rows(Block(text.encode(errors="replace") + b"\n", 1, 0))
    if rows.lines:
        bare = json.dumps(parts, indent=indent, ensure_ascii=is_ascii).encode(errors="replace").decode()
        [[cell]] = rows.columns
        assert kept_of(of(list), cell) == kept_of(of(list), bare)


@pytest.mark.parametrize(
    "number", ["1e2", "1.50", "0.1", "-0", "-0.0", "1" + "0" * 30, "1e400", "1e-400", "12345678901234567890.5", HUGE]
)
def test_a_number_in_a_list_keeps_its_value(number: str) -> None:
    """A number of any size is kept exactly, and in one form, whether it came by CSV or by JSON."""
    rows = NdjsonReader(("x",), frozenset(), False).rows(Block(f'{{"x": [{number}]}}\n'.encode(), 1, 0))
    [[cell]] = rows.columns
    kept = kept_of(of(list), cell)
    assert kept == kept_of(of(list), f"[{number}]")
    assert isinstance(kept, str)
    assert Decimal(kept[1:-1]) == Decimal(number)


Sku = NewType("Sku", str)


def test_a_type_may_go_by_another_name() -> None:
    """A NewType, and what is optional in any spelling, is of the type behind it."""
    assert kind_of(Sku) == (STR, False)
    for hint in (Optional[int], Union[None, int], int | None, None | int):  # noqa: UP007, UP045
        assert kind_of(hint) == (INT, True)
    assert kind_of(Literal["a", None])[1]
    assert [kind_of(hint)[1] for hint in (list[int | None], int | str, str)] == [False, False, False]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 695 came with Python 3.12")
def test_a_type_alias_is_the_type_behind_it() -> None:
    """Of a `type` statement the value counts, also inside a union."""
    found: dict[str, Any] = {}
    exec("type Whole = int\ntype Maybe = Whole | None", found)
    assert kind_of(found["Whole"]) == (INT, False)
    assert kind_of(found["Maybe"]) == (INT, True)
    assert kind_of(found["Whole"] | None) == (INT, True)


@pytest.mark.parametrize(
    "hint",
    [
        *(
            complex,
            bytes,
            object,
            Any,
            None,
            tuple,
            tuple[int, ...],
            set[int],
            list[bytes],
            dict[int, str],
            int | bytes,
        ),
        *(type(None), Literal[None], Literal["a", 1], Enum("Mixed", {"A": 1, "B": "b"}), Enum("Empty", {})),
        *(Enum("Odd", {"A": (1, 2)}), "int", 7, timedelta),
    ],
    ids=str,
)
def test_a_type_that_is_not_known_has_no_kind(hint: Any) -> None:
    """There is no guessing: a type without a form of its own cannot be loaded."""
    assert kind_of(hint)[0] is None


@pytest.mark.parametrize(
    ("hint", "column"),
    [(int | bool, "INTEGER"), (date | time, "TEXT"), (int | str, "BLOB"), (float | Decimal, "BLOB"), (Size, "INTEGER")],
    ids=str,
)
def test_a_column_keeps_every_type_of_a_union(hint: Any, column: str) -> None:
    """Types that share a column type have that; else the column takes each value as it is."""
    assert of(hint).column == column


def test_a_value_without_a_form_in_json_is_told() -> None:
    """What cannot be written as JSON, or is nested without end, is a ValueError."""
    endless: list[Any] = []
    endless.append(endless)
    for value, words in ((endless, "nested too deeply"), ({1: 2}, "no form in JSON"), (object(), "no form in JSON")):
        with pytest.raises(ValueError, match=words):
            json_text(value)
