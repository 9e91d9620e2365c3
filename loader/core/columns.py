"""Rules in column form: whether all values of a column pass a validator, without a call for each of them.

A check that is not sure says no; the model then decides. A validator of a user's own takes part if it has an attribute
`all_pass`, a function from a list of values to whether each of them would pass.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

from attrs.validators import and_, ge, in_, instance_of, matches_re, max_len, min_len, optional

Check = Callable[[Sequence[Any]], object]

_All: Any = type(and_())
_Optional: Any = type(optional(and_()))
_Number: Any = type(ge(0))
_In: Any = type(in_(()))
_Of: Any = type(instance_of(int))
_Matches: Any = type(matches_re(""))
_MaxLength: Any = type(max_len(0))
_MinLength: Any = type(min_len(0))


def column_check(validator: Any) -> Check | None:
    """A validator as a check of a column; None if it has no such form."""
    match validator:
        case None:
            return lambda values: True
        case _All(_validators=parts):
            checks = [column_check(part) for part in parts]
            if None in checks:
                return None
            return lambda values: all(is_sure(check, values) for check in checks)
        case _Optional(validator=part):
            inner = column_check(part)
            return inner and (lambda values: is_sure(inner, [value for value in values if value is not None]))
        case _Number(bound=bound, compare_op=sign, compare_func=compare):
            extreme = min if sign in (">", ">=") else max
            return lambda values: compare(extreme(values), bound)
        case _In(options=options):
            return lambda values: all(map(options.__contains__, values))
        case _Of(type=type_):
            return lambda values: all(map(isinstance, values, repeat(type_)))
        case _Matches(match_func=match):
            return lambda values: all(map(match, values))
        case _MaxLength(max_length=most):
            return lambda values: max(map(len, values)) <= most
        case _MinLength(min_length=least):
            return lambda values: min(map(len, values)) >= least
        case _:
            return getattr(validator, "all_pass", None)


def is_sure(check: Check | None, values: Sequence[Any]) -> bool:
    """Whether a check finds that all values pass; with no values, they do."""
    try:
        return not values or bool(check and check(values))
    except Exception:  # it is made for values of another type
        return False


_PARTS = (64, 8, 1)


def parts(column: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
    """The parts of a column, with where they begin: of 64 values each, those of such a part of 8, then single ones."""
    size = next((size for size in _PARTS if size < len(column)), 1)
    return ((at, column[at : at + size]) for at in range(0, len(column), size))


def doubtful(passes: Callable[[Sequence[Any]], bool], column: Sequence[Any]) -> list[int]:
    """The positions of the values that do not pass; those that pass together are not looked at singly."""
    left = [] if passes(column) else [(0, column)]
    for size in _PARTS:
        left = [
            (start + at, part)
            for start, whole in left
            for at in range(0, len(whole), size)
            if not passes(part := whole[at : at + size])
        ]
    return [at for at, _ in left]
