"""What is said of values: how messages show them, when they are equal, and the rules on them that attrs lacks."""

import re
from collections.abc import Callable, Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from itertools import repeat
from string import ascii_letters, digits
from typing import Any, TypeVar

from attrs import Attribute


class Number(str):
    """A JSON number that is not a plain integer, kept as the text that stood in the file."""

    __slots__ = ()


T = TypeVar("T")

_LONGEST_MESSAGE = 300
_EXACTLY = Context(Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[InvalidOperation])
"""How to calculate, whatever context a program has set: nothing is taken for 0 that is not."""
_WHATWG_EMAIL = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+"
    r"@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_LONGEST_LABEL = 63
_IN_WORDS = (ascii_letters + digits + ".-").encode()
_SIGNS = bytes(at if at == ord("@") else ord("+") if at in b"!#$%&'*+/=?^_`{|}~" else ord("\n") for at in range(256))
"""What may stand in the local part only becomes a plus, and what may stand nowhere the end of a line."""
_EDGES = bytes(ord(".") if at in b".-@\n" else at for at in range(256))
"""Of these no two may stand side by side, but for what the model is asked about."""


def shortened(message: str) -> str:
    """A message of at most 300 characters, also where it quotes another that quotes another."""
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[: _LONGEST_MESSAGE - 3]}..."


def shown(value: object) -> str:
    """A value as a message shows it: quoted if it is text, and not too long."""
    try:
        text = str(value) if isinstance(value, Number) else repr(value)
    except RecursionError:
        text = "a value that is nested too deeply"
    return text if len(text) <= 60 else f"{text[:57]}..."


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


def _columnwise(all_pass: Callable[[Sequence[Any]], bool]) -> Callable[[T], T]:
    """Give a validator its column form: whether all of some values pass."""

    def give(validator: T) -> T:
        validator.all_pass = all_pass  # type: ignore[attr-defined]
        return validator

    return give


@_columnwise(lambda values: all(map(str.strip, values)))
def not_blank(_instance: object, _attribute: "Attribute[str]", value: str) -> None:
    """Refuse text with nothing in it but white space."""
    if not value or value.isspace():
        raise ValueError("must not be blank")


def _is_email(value: str) -> bool:
    local = value.partition("@")[0]
    return bool(_WHATWG_EMAIL.fullmatch(value)) and not (local[0] == "." or local[-1] == "." or ".." in local)


def _all_emails(values: Sequence[str]) -> bool:
    """Whether each is an address, without a regular expression for more than one; not sure of unusual ones."""
    if len(values) == 1:
        return _is_email(*values)
    text = "\n".join(["", *values, ""])
    if not text.isascii() or max(map(len, values)) > _LONGEST_LABEL:
        return False
    data, count = text.encode(), len(values)
    signs = data.translate(_SIGNS, _IN_WORDS)
    each_has_a_domain = signs.count(b"@\n") == signs.count(b"@") == signs.count(b"\n") - 1 == count
    return each_has_a_domain and b".." not in data.translate(_EDGES)


@_columnwise(_all_emails)
def email(_instance: object, _attribute: "Attribute[str]", value: str) -> None:
    """Refuse what is not an e-mail address.

    The rule is that of the WHATWG HTML standard for `input type=email`; besides, the part before the `@` may not begin
    or end with a dot, or hold two in a row.
    """
    if not _is_email(value):
        raise ValueError(f"not an e-mail address: {shown(value)}")


def max_places(places: int) -> Callable[[Any, "Attribute[Any]", Any], None]:
    """A validator that refuses a number with more than so many digits after the point."""

    unit = Decimal(1).scaleb(-places)

    def all_pass(values: Sequence[Any]) -> bool:
        return not any(map(Decimal.remainder_near, values, repeat(unit), repeat(_EXACTLY)))

    @_columnwise(all_pass)
    def validate(_instance: object, _attribute: "Attribute[Any]", value: Decimal) -> None:
        if measure(value)[1] > places:
            raise ValueError(f"must have at most {places} digits after the point: {value}")

    return validate
