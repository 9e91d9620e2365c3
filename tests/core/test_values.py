"""What is said of values: how messages show them, when they are equal, and the rules that attrs lacks."""

import sqlite3
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.core.values import Number, email, fold, max_places, measure, not_blank, shown

PRICES = st.tuples(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 15)).map(
    lambda p: Decimal(p[0]).scaleb(-p[1])
)


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
