"""How values are written in a file and kept in a database: the rules of each type."""

import sqlite3
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.core.values import KINDS, Number, email, fold, max_places, measure, not_blank, shown

HUGE = "1" * 5000


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
    assert KINDS[int].read(cell) == value
    assert KINDS[int].read_all([cell]) in (None, [value])


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
        KINDS[int].read(cell)
    assert shown(cell) in str(refused.value)
    assert KINDS[int].read_all([cell]) is None


@pytest.mark.parametrize("cell", ["9223372036854775808", "-9223372036854775809", 2**63, -(2**63) - 1, HUGE])
def test_an_integer_beyond_64_bits_is_refused(cell: object) -> None:
    """An integer that SQLite cannot hold is refused, however long it is."""
    with pytest.raises(ValueError, match="not within 64 bits"):
        KINDS[int].read(cell)
    assert KINDS[int].read_all([cell]) is None


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
    assert KINDS[Decimal].read(cell) == Decimal(value)


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
        KINDS[Decimal].read(cell)
    assert KINDS[Decimal].read_all([cell]) is None


@pytest.mark.parametrize("cell", ["", "a", "a\tb\r\nc", " 7 ", "\u00e9", "[/]", "\U0001f600", "\u202e", "NULL"])
def test_text_stays_as_it_stands(cell: str) -> None:
    """Text is kept as it is, with its spaces, tabs and newlines."""
    assert KINDS[str].read(cell) == cell


@pytest.mark.parametrize("character", [*"\x00\x08\x0b\x0c\x1b\x1f\x7f\x80\x9b\x9f\ud800\udcff\udfff"], ids=ascii)
def test_control_characters_and_surrogates_are_refused(character: str) -> None:
    """A control character, or half of a surrogate pair, is named by its code point and refused."""
    with pytest.raises(ValueError, match=f"control character U\\+{ord(character):04X}"):
        KINDS[str].read(f"a{character}")
    assert KINDS[str].read_all(["b", f"a{character}"]) is None


@pytest.mark.parametrize("cell", [7, 7.5, True, None, ["a"], {"a": "b"}, Number("7.0")], ids=repr)
def test_only_text_is_text(cell: object) -> None:
    """A JSON number, boolean, list or object is not text."""
    with pytest.raises(ValueError, match="not text: "):
        KINDS[str].read(cell)


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


@given(st.sampled_from(list(KINDS.values())), COLUMN)
def test_a_column_is_read_as_its_cells_are(kind: Any, cells: list[object]) -> None:
    """Reading a column at once gives what reading it cell by cell gives, to the last digit, or leaves it undone."""
    at_once = kind.read_all(cells)
    if at_once is not None:
        assert list(map(repr, at_once)) == [repr(kind.read(cell)) for cell in cells]


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (int, ["1", "-20", "0"]),
        (int, [1, -20, 2**63 - 1]),
        (Decimal, ["1", "19.990", "-0.5"]),
        (str, ["a", "b c", "é"]),
    ],
)
def test_a_plain_column_is_read_at_once(kind: type, cells: list[object]) -> None:
    """Columns without a fault take the fast way."""
    assert KINDS[kind].read_all(cells) == [KINDS[kind].read(cell) for cell in cells]


def stored_and_read_back(kind: type, value: Any) -> tuple[object, object]:
    """What the database is given for a value, and what it gives back."""
    known = KINDS[kind]
    given_ = known.store(value) if known.store else value
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
    given_, back = stored_and_read_back(Decimal, value)
    assert back == given_
    assert Decimal(repr(back)) == value


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_is_read_back_as_it_was_written(value: int) -> None:
    """Each integer of 64 bits comes back from its column as an integer."""
    assert [repr(each) for each in stored_and_read_back(int, value)] == [repr(value)] * 2


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_text_is_read_back_as_it_was_written(value: str) -> None:
    """Text comes back from its column unchanged, also if it looks like a number."""
    assert stored_and_read_back(str, value) == (value, value)


@pytest.mark.parametrize("text", ["1234567890123456", "0.1234567890123456", "9007199254740993.5", "1" * 400])
def test_a_decimal_that_a_column_cannot_keep_is_refused(text: str) -> None:
    """More digits than a column gives back unchanged are refused, not rounded."""
    store = KINDS[Decimal].store
    assert store is not None
    with pytest.raises(ValueError, match="at most 15 digits"):
        store(Decimal(text))


@pytest.mark.parametrize(
    ("text", "digits", "places"),
    [
        ("0", 0, 0),
        ("-0.00", 0, 0),
        ("1000.00", 4, 0),
        ("-12.340", 4, 2),
        ("0.05", 2, 2),
        ("1E+3", 4, 0),
        ("1E-3", 3, 3),
    ],
)
def test_measure_counts_the_digits_that_say_something(text: str, digits: int, places: int) -> None:
    """Zeros in front and behind the last digit after the point do not count."""
    assert measure(Decimal(text)) == (digits, places)


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_measure_refuses_what_is_not_finite(text: str) -> None:
    """What has no digits cannot be measured."""
    with pytest.raises(ValueError, match="not a finite number"):
        measure(Decimal(text))


def refused(validate: Callable[[Any, Any, Any], None], value: object) -> bool:
    try:
        validate(None, None, value)
    except ValueError:
        return True
    return False


@given(PRICES, st.integers(0, 6))
def test_max_places_counts_digits_after_the_point(value: Decimal, places: int) -> None:
    """A number is refused if, and only if, it is no multiple of the smallest step allowed."""
    assert refused(max_places(places), value) == (value % Decimal(1).scaleb(-places) != 0)


@pytest.mark.parametrize("value", ["", " ", "\t\r\n", "\u00a0", "\u3000 "])
def test_blank_text_is_refused(value: str) -> None:
    """Text of nothing but white space, of any script, is blank."""
    assert refused(not_blank, value)
    assert not refused(not_blank, f"{value}x")


@pytest.mark.parametrize(
    "address",
    [
        *("a@b", "alice@example.com", "a.b+c@example.co.uk", "o'hara!#$%&*/=?^_`{|}~-@x-y.z", "A@B.C", "1@2.3"),
        f"a@{'b' * 63}.{'c' * 63}",
    ],
)
def test_an_email_address_by_the_html_standard(address: str) -> None:
    """What a browser takes as an e-mail address is one."""
    assert not refused(email, address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "",
            "@",
            "bob@",
            "@b",
            "bob",
            "a b@c",
            "a@b c",
            "a@b@c",
            "a@-b",
            "a@b-",
            "a@b..c",
            "a@.b",
            "a@b.",
            "a@b_c",
            "a@ü.de",
        ),
        *(".a@b", "a.@b", "a..b@c", "a@b\n", " a@b", "ü@b.de", '"a b"@c', "a@[127.0.0.1]", f"a@{'b' * 64}"),
    ],
)
def test_what_is_no_email_address(address: str) -> None:
    """What a browser refuses is refused, and so is a leading, trailing or doubled dot before the @."""
    with pytest.raises(ValueError, match="not an e-mail address") as error:
        email(None, None, address)  # type: ignore[arg-type]
    assert shown(address) in str(error.value)


LETTERS = st.text("abzABZ09@._\xe4\xc4\u0130\u0131\u017f\u212a ", max_size=8)


@given(
    st.lists(
        LETTERS.flatmap(lambda text: st.sampled_from([text, text.upper(), text.lower(), text.swapcase()])), min_size=2
    )
)
def test_fold_compares_as_the_nocase_of_sqlite_does(texts: list[str]) -> None:
    """Two texts fold to the same where SQLite's NOCASE holds them equal, and nowhere else: ASCII letters only."""
    database = sqlite3.connect(":memory:")
    try:
        for one in texts:
            for other in (texts[0], one.upper(), one.lower()):
                [[equal]] = database.execute("SELECT ? = ? COLLATE NOCASE", [one, other]).fetchall()
                assert (fold(one) == fold(other)) == bool(equal)
    finally:
        database.close()


def test_fold_leaves_alone_what_is_not_text() -> None:
    """Numbers and nothing are compared as they are."""
    assert [fold(value) for value in (7, None)] == [7, None]


@pytest.mark.parametrize(("value", "text"), [("a'b", '"a\'b"'), (7, "7"), (Number("1e2"), "1e2"), (None, "None")])
def test_a_value_is_shown_with_quotes_if_it_is_text(value: object, text: str) -> None:
    """A message shows text in quotes, and a number as it stood in the file."""
    assert shown(value) == text


def test_a_long_value_is_shown_in_part() -> None:
    """A message stays short, however long the value."""
    assert len(shown("x" * 10_000)) == 60
