"""The types that a field may have: how each is written in a source, and what a database keeps of it."""

import json
import re
import struct
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import partial
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, NewType, TypeVar, Union, get_args, get_origin
from uuid import UUID

import orjson
from attrs import Factory, evolve, field, frozen

from loader.core.values import Number, measure, shown

T = TypeVar("T")
Cells = Sequence[Any]

# Patterns that are not compiled before they are needed: that would take a tenth of the start.
_INT = r"-?(?:0|[1-9][0-9]*+)"
_DECIMAL = _INT + r"(?:\.[0-9]++)?"
_DECIMALS = rf"(?:{_DECIMAL},)*+"
_FLOAT = _DECIMAL + r"(?:[eE][-+]?[0-9]+)?"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
_DATETIME = _DATE + "T" + _TIME + r"(?:Z|[-+][0-9]{2}:[0-9]{2})?"
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_MARKED = bytes(at if at in b"-.0123456789\n" else ord("x") for at in range(256))
"""An x for what stands in no number in plain digits."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_EXACT_DIGITS = 15  # what an IEEE 754 double, and so a NUMERIC column, keeps of any decimal number
_ANY_AFFINITY = "BLOB"  # a column of this type keeps each value as it is


@frozen
class Kind:
    """A type of field.

    `form` says how it is written as text, `column` and `stored_as` are its column in SQL and what may stand there.
    `read` takes a cell (text, or a JSON value), returns the field's value, and raises ValueError with what is wrong.
    `store` turns a value into what the database keeps, and raises ValueError if it is of another type or would lose
    any of it; `as_is` says that it returns whatever `read` returned. `in_bulk` and `in_bulk_stored` do the same for a
    column at once, where that is quicker, or return None where it needs a closer look, as where a cell is empty.
    `pattern`, where there is one, is that of the only texts that `read` takes, which are numbers in plain digits.
    `restore` undoes `store`, and raises ValueError for what cannot be undone.
    """

    name: str
    form: str
    column: str
    stored_as: tuple[str, ...]
    read: Callable[[Any], Any]
    store: Callable[[Any], object]
    in_bulk: Callable[[Cells], Cells | None] | None = None
    as_is: bool = False
    in_bulk_stored: Callable[[Cells], Cells | None] | None = None
    pattern: str | None = None
    restore: Callable[[Any], Any] = field(default=Factory(lambda self: self.store, takes_self=True))

    def read_all(self, cells: Cells) -> Cells | None:
        """The values of a column of cells, or None if any of them needs a closer look."""
        return self.in_bulk(cells) if self.in_bulk else _each(self.read, cells)

    def misread(self, cells: Cells) -> list[int]:
        """The positions of texts that cannot be read, as far as these are soon found: some, if there are any."""
        return _misfits(self.pattern, cells) if self.pattern else []

    def store_all(self, values: Cells) -> Cells | None:
        """What the database keeps of a column of values, or None if any of them needs a closer look."""
        if self.as_is:
            return values
        return self.in_bulk_stored(values) if self.in_bulk_stored else _each(self.store, values)

    def restored(self, stored: Any) -> Any:
        """The value that the database keeps as this; ValueError with what is wrong if it would keep none like that."""
        value = self.restore(stored)
        kept = self.store(value)
        if type(kept) is not type(stored) or kept != stored:
            raise ValueError(f"must be kept as {shown(kept)}, not as {shown(stored)}")
        return value

    def restore_all(self, stored: Cells) -> Cells | None:
        """The values that the database keeps as a column, or None if any of them needs a closer look."""
        if self.as_is and self.in_bulk:
            read = self.in_bulk(stored)
            return stored if read is not None and list(read) == list(stored) else None
        return _each(self.restored, stored)


def _each(call: Callable[[Any], Any], column: Cells) -> Cells | None:
    try:
        return list(map(call, column))
    except ValueError:
        return None


def _misfits(pattern: str, cells: Cells) -> list[int]:
    """The positions of texts that do not fit the pattern of a number; first only of those with a foreign character.

    None are found where other things, or several lines, stand.
    """
    try:
        text = "\n".join([*cells, ""])
    except TypeError:
        return []
    if text.count("\n") > len(cells):
        return []
    marked = text.encode(errors="replace").translate(_MARKED).decode()
    fitting = re.compile(rf"(?:{pattern}\n)*+")
    return _lines_at(marked, lambda start: marked.find("x", start)) or _lines_at(
        text,
        lambda start: fitting.match(text, start).end(),  # type: ignore[union-attr]
    )


def _lines_at(text: str, next_fault: Callable[[int], int]) -> list[int]:
    """Which lines of a text have a fault; `next_fault` finds the first from a place on: -1 or the end, if none is."""
    found: list[int] = []
    at = start = 0
    while 0 <= (fault := next_fault(start)) < len(text):
        at += text.count("\n", start, fault)
        found.append(at)
        at, start = at + 1, text.index("\n", fault) + 1
    return found


def _of(kind: type[T], value: object) -> T:
    """The value, which must be of this very type; a bool is no int, a datetime no date."""
    if type(value) is not kind:
        raise ValueError(f"not of type {kind.__name__}: {shown(value)}")
    return value


def _read_int(cell: object) -> int:
    if isinstance(cell, bool) or not isinstance(cell, int | str):
        raise ValueError(f"not an integer: {shown(cell)}")
    if isinstance(cell, str):
        if not re.fullmatch(_INT, cell):
            raise ValueError(f"not an integer: {shown(cell)}")
        if len(cell) > 20:
            raise ValueError(f"not within 64 bits: {shown(cell)}")
        cell = int(cell)
    return _store_int(cell)


def _read_ints(cells: Cells) -> Cells | None:
    """The integers that the cells are; a column that was read as such already, as a reader may, is an array of them."""
    if isinstance(cells, array):
        return cells
    try:
        text = ",".join(cells).encode(errors="replace")
    except TypeError:  # not all are texts
        return _in_64_bits(cells) if set(map(type, cells)) == {int} else None
    found = integers(text) if text.translate(None, b"-0123456789") == b"," * (len(cells) - 1) else None
    return found if found is not None and len(found) == len(cells) else None  # a single cell may be empty


def integers(text: bytes) -> "array[int] | None":
    """Integers from a text of digits, signs and the commas between them; None if not all are canonical, or of 64 bits.

    They are what JSON allows of such a text, but for a nought with a sign.
    """
    if b"-" in text and b"-0" in text:
        return None
    try:
        found = orjson.loads(b"[%b]" % text)
        return array("q", struct.pack(f"{len(found)}q", *found))  # an array takes a list in twice the time
    except (ValueError, struct.error):
        return None


def _in_64_bits(numbers: Cells) -> Cells | None:
    try:
        return array("q", numbers)
    except OverflowError:
        return None


def _store_int(value: object) -> int:
    if not -(2**63) <= (number := _of(int, value)) < 2**63:
        raise ValueError(f"not within 64 bits: {shown(value)}")
    return number


def _read_float(cell: object) -> float:
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        raise ValueError(f"not a number: {shown(cell)}")
    if isinstance(cell, str) and not re.fullmatch(_FLOAT, cell):
        raise ValueError(f"not a number: {shown(cell)}")
    try:
        return _store_float(float(cell))
    except OverflowError:
        raise ValueError(f"not a finite number: {shown(cell)}") from None


def _store_float(value: object) -> float:
    if not isfinite(number := _of(float, value)):
        raise ValueError(f"not a finite number: {shown(value)}")
    return number


def _read_decimal(cell: object) -> Decimal:
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        raise ValueError(f"not a decimal number: {shown(cell)}")
    text = cell if isinstance(cell, str) else repr(cell)
    if not re.fullmatch(_DECIMAL, text):
        raise ValueError(f"not a decimal number in plain digits: {shown(cell)}")
    return Decimal(text)


def _read_decimals(cells: Cells) -> Cells | None:
    if set(map(type, cells)) == {str} and re.fullmatch(_DECIMALS, ",".join(cells) + ","):
        try:
            return list(map(Decimal, cells))
        except ArithmeticError:  # a cell held the comma itself
            return None
    return None


def _store_decimals(values: Cells) -> Cells | None:
    texts = list(map(str, values))
    if set(map(type, values)) != {Decimal} or max(map(len, texts)) > _EXACT_DIGITS or "E" in "".join(texts).upper():
        return None
    try:
        numbers = orjson.loads(f"[{','.join(texts)}]")
    except ValueError:  # not all are finite
        return None
    return [number if number % 1 else int(number) for number in numbers]


def _store_decimal(value: object) -> int | float:
    """A number that a NUMERIC column gives back as it was written."""
    digits, places = measure(number := _of(Decimal, value))
    if digits > _EXACT_DIGITS:
        raise ValueError(f"must have at most {_EXACT_DIGITS} digits: {value}")
    return float(number) if places else int(number)


def _restore_decimal(stored: object) -> Decimal:
    if type(stored) not in (int, float):
        raise ValueError(f"not a decimal number: {shown(stored)}")
    return Decimal(repr(stored))


def _read_str(cell: object) -> str:
    if not isinstance(cell, str) or isinstance(cell, Number):
        raise ValueError(f"not text: {shown(cell)}")
    return _store_str(cell)


def _read_strs(cells: Cells) -> Cells | None:
    if set(map(type, cells)) == {str} and "" not in cells:
        text = "".join(cells)
        if text.isprintable() or not _CONTROL.search(text):
            return cells
    return None


def _store_str(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"not text: {shown(value)}")
    if found := _CONTROL.search(value):
        raise ValueError(f"holds the control character U+{ord(found[0]):04X}: {shown(value)}")
    return value if type(value) is str else str.__str__(value)


def _read_bool(cell: object) -> bool:
    if cell is True or cell is False:
        return cell
    if cell in ("true", "false"):
        return cell == "true"
    raise ValueError(f"not true or false: {shown(cell)}")


def _as_text(
    type_: type[T], form: str, pattern: str, parse: Callable[[str], T], write: Callable[[T], str], what: str
) -> Kind:
    """A type that is kept as text; `parse` may refuse with a ValueError what the pattern lets pass."""

    def read(cell: object) -> T:
        if not isinstance(cell, str) or isinstance(cell, Number) or not re.fullmatch(pattern, cell):
            raise ValueError(f"not {what}: {shown(cell)}")
        try:
            return parse(cell)
        except ValueError as error:
            raise ValueError(f"not {what}, {error}: {shown(cell)}") from None

    def restore(stored: object) -> T:
        try:
            return parse(_of(str, stored))
        except ValueError:
            raise ValueError(f"not {what}: {shown(stored)}") from None

    return Kind(type_.__name__, form, "TEXT", ("text",), read, lambda value: write(_of(type_, value)), restore=restore)


INT = Kind(
    "int", "decimal digits, as `-12`", "INTEGER", ("integer",), _read_int, _store_int, _read_ints, True, pattern=_INT
)
FLOAT = Kind("float", "a number of JSON, as `1.5e-3`", "REAL", ("real",), _read_float, _store_float, as_is=True)
DECIMAL = Kind(
    "Decimal",
    "digits with an optional point, as `12.50`; at most 15",
    "NUMERIC",
    ("integer", "real"),
    _read_decimal,
    _store_decimal,
    _read_decimals,
    in_bulk_stored=_store_decimals,
    pattern=_DECIMAL,
    restore=_restore_decimal,
)
STR = Kind(
    "str",
    "as it stands; no control characters but tab and newlines",
    "TEXT",
    ("text",),
    _read_str,
    _store_str,
    _read_strs,
    True,
)
BOOL = Kind(
    "bool",
    "`true` or `false`",
    "INTEGER",
    ("integer",),
    _read_bool,
    lambda value: int(_of(bool, value)),
    restore=lambda stored: bool(_store_int(stored)),
)
DATE = _as_text(date, "`2026-11-23`", _DATE, date.fromisoformat, date.isoformat, "a date as 2026-11-23")
DATETIME = _as_text(
    datetime,
    "`2026-11-23T06:30:00`, with up to six decimals, and `Z` or `+02:00` where it has a zone",
    _DATETIME,
    datetime.fromisoformat,
    datetime.isoformat,
    "a date and time as 2026-11-23T06:30:00",
)
TIME = _as_text(
    time, "`06:30:00`, with up to six decimals", _TIME, time.fromisoformat, time.isoformat, "a time as 06:30:00"
)
UUID_ = _as_text(
    UUID,
    "`123e4567-e89b-12d3-a456-426614174000`; kept in small letters",
    _UUID,
    UUID,
    str,
    "a UUID as 123e4567-e89b-12d3-a456-426614174000",
)

_PLAIN: Mapping[Any, Kind] = {
    int: INT,
    float: FLOAT,
    Decimal: DECIMAL,
    str: STR,
    bool: BOOL,
    date: DATE,
    datetime: DATETIME,
    time: TIME,
    UUID: UUID_,
}


# Types that are made of others.


def _choice(name: str, form: str, members: Mapping[Any, object], value_of: Callable[[Any], Any]) -> Kind | None:
    """One of some values; None if these are not all of one plain type."""
    kinds = {_PLAIN.get(type(value)) for value in members}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is None:
        return None
    allowed = ", ".join(map(shown, members))

    def member(value_in: Callable[[Any], Any], given: object) -> object:
        value = value_in(given)
        if value not in members:
            raise ValueError(f"not one of {allowed}: {shown(given)}")
        return members[value]

    def store(value: object) -> object:
        if value not in members.values():
            raise ValueError(f"not one of {allowed}: {shown(value)}")
        return kind.store(value_of(value))

    read, restore = partial(member, kind.read), partial(member, kind.restore)
    return Kind(name, form, kind.column, kind.stored_as, read, store, restore=restore)


ENUM_FORM = "the value of a member"
LITERAL_FORM = "one of the values"


def _enum(cls: type[Enum]) -> Kind | None:
    by_value = {member.value: member for member in cls.__members__.values()}
    return _choice(cls.__name__, ENUM_FORM, by_value, lambda member: _of(cls, member).value)


def _literal(hint: Any) -> Kind | None:
    by_value = {value: value for value in get_args(hint)}
    return _choice(str(hint).removeprefix("typing."), LITERAL_FORM, by_value, lambda value: value)


UNION_FORM = "the first of the types that fits, text last"


def _union(kinds: Sequence[Kind]) -> Kind:
    """One of several types; `bool` goes before `int` when a value is told apart, as each demands its very type."""
    kinds = sorted(kinds, key=lambda kind: kind is STR)
    name = " | ".join(kind.name for kind in kinds)

    def first(calls: Iterable[Callable[[Any], T]], value: object) -> T:
        for call in calls:
            try:
                return call(value)
            except ValueError:
                pass
        raise ValueError(f"not of type {name}: {shown(value)}")

    columns = {kind.column for kind in kinds}
    return Kind(
        name,
        UNION_FORM,
        columns.pop() if len(columns) == 1 else _ANY_AFFINITY,
        tuple(dict.fromkeys(storage for kind in kinds for storage in kind.stored_as)),
        lambda cell: first([kind.read for kind in kinds], cell),
        lambda value: first([kind.store for kind in kinds], value),
        as_is=all(kind.as_is for kind in kinds),
        restore=lambda stored: first([kind.restored for kind in kinds], stored),
    )


LIST_FORM, DICT_FORM = "an array of JSON", "an object of JSON"


def _json(name: str, form: str, type_: type, parts: Callable[[Any], Any]) -> Kind:
    """Lists or dicts, kept as JSON text; `parts` reads what is in one."""

    def read(cell: object) -> object:
        if type(cell) is str:
            cell = _from_json(cell)
        if type(cell) is not type_:
            raise ValueError(f"not {form}: {shown(cell)}")
        return parts(cell)

    def store(value: object) -> str:
        return _store_str(json_text(_of(type_, value)))

    return Kind(name, form, "TEXT", ("text",), read, store, restore=lambda stored: read(_of(str, stored)))


def _from_json(text: str) -> object:
    try:
        return json.loads(
            text, parse_float=Number, parse_int=_integer, parse_constant=Number, object_pairs_hook=_distinct
        )
    except (ValueError, RecursionError):
        return text


def _integer(text: str) -> int | Number:
    return int(text) if len(text) <= 20 else Number(text)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(members := dict(pairs)) < len(pairs):
        raise ValueError
    return members


def _container(hint: Any) -> Kind | None:
    """A list or dict, of anything or of a type that is known."""
    origin, args = get_origin(hint) or hint, get_args(hint)
    item = args[-1] if args else Any
    if origin not in (list, dict) or (origin is dict and args and args[0] is not str):
        return None
    kind, nullable = (None, True) if item is Any else kind_of(item)
    if kind is None and item is not Any:
        return None

    def read(part: object) -> object:
        return part if kind is None or (part is None and nullable) else kind.read(part)

    name = origin.__name__ if kind is None else f"list[{kind.name}]" if origin is list else f"dict[str, {kind.name}]"
    if origin is list:
        return _json(name, LIST_FORM, list, lambda items: list(map(read, items)))
    return _json(name, DICT_FORM, dict, lambda members: {key: read(value) for key, value in members.items()})


def kind_of(hint: Any) -> tuple[Kind | None, bool]:
    """The kind that an annotation asks for, and whether it allows for None; the kind is None if there is none."""
    while isinstance(hint, NewType) or type(hint).__name__ == "TypeAliasType":
        hint = hint.__supertype__ if isinstance(hint, NewType) else hint.__value__
    if get_origin(hint) in (Union, UnionType):
        given = [one for one in get_args(hint) if one is not NoneType]
        found = [kind_of(one) for one in given]
        kinds = [kind for kind, _ in found if kind]
        nullable = len(given) < len(get_args(hint)) or any(nullable for _, nullable in found)
        if len(kinds) < len(given):
            return None, nullable
        return kinds[0] if len(kinds) == 1 else _union(kinds), nullable
    if get_origin(hint) is Literal:
        values = tuple(value for value in get_args(hint) if value is not None)
        return (_literal(Literal[values]) if values else None), len(values) < len(get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint), False
    return _PLAIN.get(hint) or _container(hint), False


def text_of(cell: object) -> str:
    """A cell as text, as a converter takes it that does not say what it takes."""
    if isinstance(cell, str):
        return _store_str(cell)
    return json_text(cell)


TEXT = evolve(STR, read=text_of)
"""How a cell is read for a converter that does not say what it takes."""


def json_text(value: Any) -> str:
    """A value as JSON, always written in the same way; ValueError if it has no such form."""
    try:
        return _json_text(value)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _json_text(value: Any) -> str:
    match value:
        case None | bool():
            return json.dumps(value)
        case Enum():
            return _json_text(value.value)
        case Number() | float():
            return _number_text(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case int():
            return str(value)
        case Decimal():
            digits = f"{value:f}"
            return digits.rstrip("0").rstrip(".") if "." in digits else digits
        case date() | time():
            return f'"{value.isoformat()}"'
        case UUID():
            return f'"{value}"'
        case list():
            return f"[{','.join(map(_json_text, value))}]"
        case dict() if all(isinstance(key, str) for key in value):
            members = (f"{json.dumps(key, ensure_ascii=False)}:{_json_text(part)}" for key, part in value.items())
            return f"{{{','.join(members)}}}"
    raise ValueError(f"has no form in JSON: {shown(value)}")


def _number_text(number: str | float) -> str:
    """A number that is not a plain integer: as Python writes its float, unless that is another number."""
    text = number if isinstance(number, str) else repr(number)
    if re.fullmatch(_INT, text):
        return text
    if not re.fullmatch(_FLOAT, text):
        raise ValueError(f"not a number of JSON: {text}")
    nearest = float(text)
    return repr(nearest) if isfinite(nearest) and Decimal(repr(nearest)) == Decimal(text) else text


GALLERY: Sequence[tuple[str, str, str]] = (
    *((kind.name, kind.form, kind.column) for kind in _PLAIN.values()),
    ("Enum", ENUM_FORM, "that of the values"),
    ("Literal", LITERAL_FORM, "that of the values"),
    ("list, list[T]", f"{LIST_FORM}; kept as JSON text", "TEXT"),
    ("dict, dict[str, T]", f"{DICT_FORM}; kept as JSON text", "TEXT"),
    ("Union[T, U]", UNION_FORM, f"that of the types if they agree, else {_ANY_AFFINITY}"),
    ("Optional[T]", "that of T; an empty cell, or JSON's null, is None", "that of T, and may be NULL"),
)
"""Each type that a field may have, its text form and its column."""
