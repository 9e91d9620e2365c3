"""How the values of a field are written in a file and kept in a database, and the rules on them that attrs lacks."""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from attrs import Attribute, frozen


class Number(str):
    """A JSON number that is not a plain integer, kept as the text that stood in the file."""

    __slots__ = ()


_INT = re.compile(r"-?(?:0|[1-9][0-9]*)")
_INTS = re.compile(r"(?:-?(?:0|[1-9][0-9]{0,17}),)*+")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_DECIMALS = re.compile(r"(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?,)*+")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_WHATWG_EMAIL = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+"
    r"@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_EXACT_DIGITS = 15  # what an IEEE 754 double, and so a NUMERIC column, keeps of any decimal number


@frozen
class Kind:
    """A type of field: its text form, its column, and how a value passes from one to the other.

    `read` takes a cell (text, or a JSON value), returns the field's value, and raises ValueError with what is wrong.
    `read_all` does so for a column of cells, or returns None where a cell needs a closer look.
    `store`, if not None, turns a value into what the database keeps, and raises ValueError if that loses any of it.
    """

    type: type
    column: str
    stored_as: tuple[str, ...]
    read: Callable[[object], object]
    read_all: Callable[[Sequence[object]], Sequence[object] | None]
    store: Callable[[Any], object] | None = None


def shown(value: object) -> str:
    """A value as a message shows it: quoted if it is text, and not too long."""
    try:
        text = str(value) if isinstance(value, Number) else repr(value)
    except RecursionError:
        text = "a value that is nested too deeply"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_int(cell: object) -> int:
    if isinstance(cell, bool) or not isinstance(cell, int | str):
        raise ValueError(f"not an integer: {shown(cell)}")
    if isinstance(cell, str):
        if not _INT.fullmatch(cell):
            raise ValueError(f"not an integer: {shown(cell)}")
        if len(cell) > 20:
            raise ValueError(f"not within 64 bits: {shown(cell)}")
        cell = int(cell)
    if not -(2**63) <= cell < 2**63:
        raise ValueError(f"not within 64 bits: {shown(cell)}")
    return cell


def _read_ints(cells: Sequence[object]) -> Sequence[object] | None:
    kinds = set(map(type, cells))
    if kinds == {str} and _INTS.fullmatch(",".join(cells) + ","):  # type: ignore[arg-type]
        try:
            return list(map(int, cells))  # type: ignore[arg-type]
        except ValueError:  # a cell held the comma itself
            return None
    if kinds == {int} and min(cells) >= -(2**63) and max(cells) < 2**63:  # type: ignore[type-var, operator]
        return cells
    return None


def _read_decimal(cell: object) -> Decimal:
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        raise ValueError(f"not a decimal number: {shown(cell)}")
    text = cell if isinstance(cell, str) else repr(cell)
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"not a decimal number in plain digits: {shown(cell)}")
    return Decimal(text)


def _read_decimals(cells: Sequence[object]) -> Sequence[object] | None:
    if set(map(type, cells)) == {str} and _DECIMALS.fullmatch(",".join(cells) + ","):  # type: ignore[arg-type]
        try:
            return list(map(Decimal, cells))  # type: ignore[arg-type]
        except ArithmeticError:  # a cell held the comma itself
            return None
    return None


def _store_decimal(value: Decimal) -> int | float:
    """A number that a NUMERIC column gives back as it was written."""
    digits, places = measure(value)
    if digits > _EXACT_DIGITS:
        raise ValueError(f"must have at most {_EXACT_DIGITS} digits: {value}")
    return int(value) if not places else float(value)


def _read_str(cell: object) -> str:
    if not isinstance(cell, str) or isinstance(cell, Number):
        raise ValueError(f"not text: {shown(cell)}")
    if found := _CONTROL.search(cell):
        raise ValueError(f"holds the control character U+{ord(found[0]):04X}: {shown(cell)}")
    return cell


def _read_strs(cells: Sequence[object]) -> Sequence[object] | None:
    if set(map(type, cells)) == {str} and "" not in cells and not _CONTROL.search("".join(cells)):  # type: ignore[arg-type]
        return cells
    return None


KINDS = {
    kind.type: kind
    for kind in (
        Kind(int, "INTEGER", ("integer",), _read_int, _read_ints),
        Kind(Decimal, "NUMERIC", ("integer", "real"), _read_decimal, _read_decimals, _store_decimal),
        Kind(str, "TEXT", ("text",), _read_str, _read_strs),
    )
}


def measure(value: Decimal) -> tuple[int, int]:
    """How many digits a number has in all, and how many after the point; zeros that say nothing do not count."""
    if not value.is_finite():
        raise ValueError(f"not a finite number: {value}")
    whole, _, fraction = f"{value:f}".lstrip("-0").partition(".")
    fraction = fraction.rstrip("0")
    return len(whole) + len(fraction), len(fraction)


def fold(value: object) -> object:
    """Text without regard to the case of ASCII letters, as SQLite's NOCASE compares it."""
    if not isinstance(value, str):
        return value
    return value.lower() if value.isascii() else value.translate(_ASCII_LOWER)


_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


# Validators for attrs fields.


def not_blank(_instance: object, _attribute: "Attribute[str]", value: str) -> None:
    """Refuse text with nothing in it but white space."""
    if not value or value.isspace():
        raise ValueError("must not be blank")


def email(_instance: object, _attribute: "Attribute[str]", value: str) -> None:
    """Refuse what is not an e-mail address.

    The rule is that of the WHATWG HTML standard for `input type=email`; besides, the part before the `@` may not begin
    or end with a dot, or hold two in a row.
    """
    local = value.partition("@")[0]
    if not _WHATWG_EMAIL.fullmatch(value) or local[0] == "." or local[-1] == "." or ".." in local:
        raise ValueError(f"not an e-mail address: {shown(value)}")


def max_places(places: int) -> Callable[[Any, "Attribute[Any]", Any], None]:
    """A validator that refuses a number with more than so many digits after the point."""

    def validate(_instance: object, _attribute: "Attribute[Any]", value: Decimal) -> None:
        if measure(value)[1] > places:
            raise ValueError(f"must have at most {places} digits after the point: {value}")

    return validate
