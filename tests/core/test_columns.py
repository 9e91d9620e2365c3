"""Checks of columns are sound: what they let pass, the model would have taken, with the same values."""

import re
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, localcontext
from typing import Any

import attrs
import pytest
from attrs import field
from attrs.validators import and_, ge, gt, in_, instance_of, le, lt, matches_re, max_len, min_len, not_, optional, or_
from hypothesis import given
from hypothesis import strategies as st

from loader.core.columns import column_check, doubtful, is_sure, parts
from loader.core.dataset import Dataset
from loader.core.kinds import DECIMAL
from loader.core.parsing import parse
from loader.core.records import Block
from loader.core.values import email, max_places, not_blank
from tests.core.test_parsing import Given

# Not a number is never read: no kind of field has it.
VALUES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.floats(allow_nan=False)
    | st.decimals(allow_nan=False, allow_infinity=True)
    | st.decimals(-20, 20, places=2)
    | st.sampled_from(["", " ", "a", "ab\n", "\u2003", "a@b.c", "a.b@c-d.io", ".a@b.c", "a@b.c\nd@e.f", "a@-b"])
    | st.text(max_size=3)
    | st.from_regex(r"[a-z.]{1,5}@[a-z-]{1,70}", fullmatch=True)
)
RULES: Mapping[str, Any] = {
    "none": None,
    "gt": gt(0),
    "ge": ge(Decimal("1.5")),
    "lt": lt(5),
    "le": le("b"),
    "in a set": in_({1, 2, "a"}),
    "in text": in_("abc"),
    "instance_of": instance_of((int, str)),
    "matches_re": matches_re("[a-c]+"),
    "matches_re, anywhere": matches_re("b", func=re.search),
    "max_len": max_len(2),
    "min_len": min_len(2),
    "and": and_(gt(0), lt(10), instance_of(int)),
    "optional": optional(gt(0)),
    "optional and": optional(and_(not_blank, max_len(3))),
    "not_blank": not_blank,
    "email": email,
    "max_places": max_places(1),
}


def passes(rule: Any, value: object) -> bool:
    try:
        if rule:
            rule(None, attrs.fields(attrs.make_class("One", {"x": field()})).x, value)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@given(values=st.lists(VALUES, max_size=4))
def test_a_check_lets_nothing_pass_that_its_validator_refuses(rule: Any, values: list[Any]) -> None:
    """Whatever the values are, and of whatever type, a check that is sure of them is right."""
    if is_sure(column_check(rule), values):
        assert all(passes(rule, value) for value in values)


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (gt(0), [1, 2]),
        (optional(gt(0)), [None, 3]),
        (email, ["a@b.c", "a.b@c-d.io"]),
        (not_blank, ["a", " b"]),
        (max_places(2), [Decimal("1.25"), Decimal("3")]),
        (in_([1, 2]), [2, 2, 1]),
        (None, [object()]),
    ],
)
def test_a_check_is_sure_of_plain_values(rule: Any, values: list[Any]) -> None:
    """A check that is never sure would be of no use."""
    assert is_sure(column_check(rule), values)


@pytest.mark.parametrize(
    "addresses",
    [
        *([each] for each in ("a..b@c.d", ".a@b.c", "a.@b.c", "@b.c", "a@", "a@.b", "a@b.", "a@b..c", "a@-b", "a@b-")),
        *([each] for each in ("a@b.-c", "a@b-.c", "a@b_c.d", "a@b+c", "a b@c.d", "a@b c", "ä@b.c", f"a@{'b' * 64}")),
        ["a@b@c.d", "abc"],
        ["a@b.c\nd@e.f", "abc"],
        ["a@b@c.d"],
        ["abc"],
    ],
    ids=str,
)
def test_an_address_that_may_be_none_is_left_to_the_model(addresses: list[str]) -> None:
    """Each thing that an address may not have keeps the check from being sure, also beside what makes up for it."""
    assert not is_sure(column_check(email), addresses)
    assert not is_sure(column_check(email), ["x@y.z", *addresses, "x@y.z"])


@pytest.mark.parametrize(
    "rule", [or_(gt(0), lt(5)), not_(gt(0)), lambda *_: None, and_(gt(0), lambda *_: None), optional(or_(gt(0), lt(5)))]
)
def test_what_has_no_column_form_is_left_to_the_model(rule: Any) -> None:
    """A validator that nothing is known of has no check."""
    assert column_check(rule) is None


def test_a_validator_may_bring_its_own_check() -> None:
    """A user's validator with an attribute `all_pass` is asked for whole columns."""

    def even(_instance: object, _attribute: object, value: int) -> None:
        if value % 2:
            raise ValueError("must be even")

    even.all_pass = lambda values: not any(value % 2 for value in values)  # type: ignore[attr-defined]
    assert is_sure(column_check([even][0]), [2, 4])
    assert not is_sure(column_check(and_(even, gt(0))), [2, 3])


CELLS = st.sampled_from(
    ["", "0", "1", "-1", "7", "2.5", "2.55", "1e3", "x", " ", "a@b.c", "a@b", "true", "2026-11-23", "\x07", "1" * 17]
)
TYPES: Sequence[Any] = [int, Decimal, str, float, bool, int | None, Decimal | None, str | None]
FIELDS = st.builds(
    lambda type_, rule, default: field(type=type_, validator=RULES[rule], **default),
    st.sampled_from(TYPES),
    st.sampled_from(sorted(RULES)),
    st.just({}),
)


def parsed(dataset: Dataset, cells: list[tuple[str, ...]]) -> tuple[Any, ...]:
    batch = parse(dataset, Given(cells), Block(b"", 2, 0))
    return list(batch.records), list(batch.lines), batch.drafts


@given(
    fields=st.lists(FIELDS, min_size=1, max_size=3),
    cells=st.lists(st.tuples(st.sampled_from("123456789"), CELLS, CELLS, CELLS), max_size=140),
    hook=st.booleans(),
)
def test_a_model_is_heard_where_it_counts(fields: list[Any], cells: list[tuple[str, ...]], hook: bool) -> None:
    """By checks of columns or by instances of the model, a block gives the same records and drafts."""
    members = {"id": field(type=int), **{f"f{at}": each for at, each in enumerate(fields)}}
    plain = attrs.make_class("Plain", members)
    rows = [row[: 1 + len(fields)] for row in cells]

    class Asked(plain):  # type: ignore[misc, valid-type]
        def __attrs_post_init__(self) -> None:
            """It might change what was read, so that each instance has to be made."""

    asked = Dataset("plain", attrs.define(Asked), key="id")
    checked = Dataset("plain", plain, key="id")
    assert checked.checks is not None
    assert asked.checks is None
    assert parsed(checked, rows) == parsed(asked, rows)


@pytest.mark.parametrize(
    "change",
    [
        {"__init__": lambda self, id: None},  # noqa: A006
        {"__new__": lambda cls, *_: object.__new__(cls)},
        {"__attrs_post_init__": lambda self: None},
        {"__attrs_pre_init__": lambda self: None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_model_that_does_more_is_always_asked(change: Mapping[str, Any]) -> None:
    """Where something else than what attrs writes happens to an instance, columns are not enough."""
    one = attrs.define(type("One", (), {"__annotations__": {"id": int}, **change}))
    assert Dataset("ones", one, key="id").checks is None


def test_what_a_factory_makes_is_always_looked_at() -> None:
    """A default that is made anew for each row may be of any type: only the model's way finds out."""
    one = attrs.make_class("One", {"id": field(type=int), "name": field(type=str, factory=lambda: 5)})
    dataset = Dataset("ones", one, key="id")
    assert dataset.checks is None
    assert parsed(dataset, [("1", "a"), ("2", "")])[0] == [(1, "a")]


class Shouts:
    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value.upper() if isinstance(value, str) else value)


class Hides:
    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        return "hidden" if isinstance(found, str) and name == "name" else found


@pytest.mark.parametrize(("mixin", "kept"), [(Shouts, "ABC"), (Hides, "hidden")])
def test_a_model_that_has_its_own_way_with_attributes_is_always_asked(mixin: type, kept: str) -> None:
    """What a class does when an attribute is set, or looked at, is part of the model."""
    one = attrs.define(slots=False)(type("One", (mixin,), {"__annotations__": {"id": int, "name": str}}))
    dataset = Dataset("ones", one, key="id")
    assert dataset.checks is None
    assert parsed(dataset, [("1", "abc")])[0] == [(1, kept)]


@given(st.integers(0, 300), st.sets(st.integers(0, 299)))
def test_values_in_doubt_are_found_wherever_they_stand(length: int, places: set[int]) -> None:
    """In columns of any length just those are found that do not pass, and all parts together are the column."""
    column = [at in places for at in range(length)]
    assert doubtful(lambda part: not any(part), column) == sorted(at for at in places if at < length)
    assert [value for _, part in parts(column) for value in part] == column
    assert [at for at, _ in parts(column)] == sorted({at for at, _ in parts(column)})


@pytest.mark.parametrize(
    "context", [Context(prec=3, Emin=0, Emax=5), Context(prec=1), Context(traps=[]), Context(capitals=0)]
)
def test_columns_of_decimals_are_checked_alike_in_any_context(context: Context) -> None:
    """What a program has set for its own calculations changes no verdict."""
    with localcontext(context):
        check = column_check(max_places(2))
        assert [is_sure(check, [Decimal(value)]) for value in ("1.234", "1.23", "0.00001", "7")] == [0, 1, 0, 1]
        assert DECIMAL.store_all([Decimal("0." + "0" * 30 + "1")]) is None
