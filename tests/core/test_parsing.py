"""The model's verdict on each row of a block: records, and drafts that bear every reason."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from multiprocessing import get_context
from typing import Any
from uuid import UUID

import attrs
import pytest
from attrs import Converter, Factory, converters, define, field, frozen, validators
from attrs.validators import gt
from hypothesis import given
from hypothesis import strategies as st

from loader.core.dataset import Dataset
from loader.core.parsing import parse
from loader.core.records import Batch, Block, Misfit, Reason, Rows, Span
from loader.core.values import max_places
from loader.datasets.orders import ORDERS
from loader.datasets.products import PRODUCTS
from loader.datasets.users import USERS
from loader.sources.csv import CsvReader

MAYBE_INT: Any = int | None
MAYBE_DECIMAL: Any = Decimal | None


@frozen
class Given:
    """A reader of rows that are given, from line 2 on."""

    cells: Sequence[Sequence[object]]
    misfits: Sequence[Misfit] = ()

    def rows(self, block: Block) -> Rows:
        return Rows.of(self.cells, range(2, 2 + len(self.cells)), self.misfits)

    def values(self, block: Block, spans: Iterable[Span]) -> Iterator[Mapping[str, object]]:
        raise NotImplementedError


def parsed(dataset: Dataset, *cells: Sequence[object], misfits: Sequence[Misfit] = ()) -> Batch:
    return parse(dataset, Given(cells, misfits), Block(b"", 2, 0))


def reasons(batch: Batch) -> list[list[tuple[str, str | None]]]:
    """The code and field of each reason, by draft."""
    return [[(reason.code, reason.field) for reason in draft.reasons] for draft in batch.drafts]


def of(**fields: Any) -> Dataset:
    """A dataset of a class with a key and these fields."""
    return Dataset("things", attrs.make_class("Thing", {"id": field(type=int), **fields}), "id")


def test_good_rows_become_tuples_as_they_are_stored() -> None:
    """A record is the tuple of its values in the order of the class, as its columns keep them, with its line."""
    batch = parsed(PRODUCTS, ("1", "Laptop", "1000.00"), ("2", "Mouse", "29.90"))
    assert list(batch.records) == [(1, "Laptop", 1000), (2, "Mouse", 29.9)]
    assert list(map(type, batch.records[0])) == [int, str, int]
    assert (list(batch.lines), batch.drafts) == ([2, 3], [])


def test_a_row_bears_all_its_reasons() -> None:
    """Each field that is wrong is named, in the order of the class, and each thing that is wrong with it."""
    batch = parsed(PRODUCTS, ("x", "\t", "-0.125"))
    [draft] = batch.drafts
    assert reasons(batch) == [
        [("type-error", "id"), *[("constraint-error", name) for name in ("name", "price", "price")]]
    ]
    assert [str(reason) for reason in draft.reasons] == [
        "type-error: id not an integer: 'x'",
        "constraint-error: name must not be blank",
        "constraint-error: price must be > 0: -0.125",
        "constraint-error: price must have at most 2 digits after the point: -0.125",
    ]
    assert [reason.value for reason in draft.reasons] == ["x", "\t", "-0.125", "-0.125"]


@pytest.mark.parametrize("nothing", ["", None])
def test_no_value_is_a_reason_where_one_is_needed(nothing: object) -> None:
    """An empty cell and a JSON null are no value: each field that needs one says so."""
    batch = parsed(ORDERS, ("1", nothing, "2", nothing))
    assert reasons(batch) == [[("constraint-error", "user_id"), ("constraint-error", "quantity")]]
    assert {reason.message for reason in batch.drafts[0].reasons} == {"must have a value"}


@pytest.mark.parametrize("nothing", ["", None])
def test_no_value_is_fine_where_it_is_optional(nothing: object) -> None:
    """A field that may be empty is None, or its default; the factory of a default is called for each row."""
    counter = iter(range(10, 20))
    dataset = of(
        a=field(type=MAYBE_INT),
        b=field(type=int, default=5, converter=lambda value: value + 1),
        c=field(type=int, factory=lambda: next(counter)),
    )
    batch = parsed(dataset, ("1", nothing, nothing, nothing), ("2", "3", nothing, nothing))
    assert list(batch.records) == [(1, None, 6, 10), (2, 3, 6, 11)]


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_model_is_asked_for_no_row_that_cannot_be_read(is_asked: bool) -> None:
    """What stands in the place of such a cell while its column is checked never reaches the model."""
    heard: list[int] = []

    def hear(_instance: object, _attribute: object, value: int) -> None:
        heard.append(value)

    def never_sure(_instance: object, _attribute: object, _value: str) -> None: ...

    if not is_asked:  # of all rows, but for what the columns say
        hear.all_pass = lambda values: True  # type: ignore[attr-defined]
        never_sure.all_pass = lambda values: False  # type: ignore[attr-defined]
    things = of(size=field(type=int, validator=hear), name=field(type=str, validator=never_sure))
    batch = parsed(things, ("1", "5", "a"), ("2", "x", "b"), ("3", str(2**70), "c"), ("4", "6", "d"))
    assert (list(batch.records), sorted(heard)) == ([(1, 5, "a"), (4, 6, "d")], [5, 6])
    assert reasons(batch) == [[("type-error", "size")], [("type-error", "size")]]


def test_a_draft_keeps_what_was_understood() -> None:
    """Of a refused row the good values are known, as they would be stored; a value that was refused is not."""
    [draft] = parsed(PRODUCTS, ("0", "Mouse", "30.00")).drafts
    assert draft.values == {1: "Mouse", 2: 30}
    [draft] = parsed(ORDERS, ("7", "x", "8", "0")).drafts
    assert draft.values == {0: 7, 2: 8}


def test_a_misfit_is_judged_as_far_as_it_goes() -> None:
    """A row of too few or too many cells has that reason first, then those of the cells it has."""
    missing, extra = Reason("missing-cell", "quantity", "is missing"), Reason("extra-cell", None, "has 5 cells")
    misfits = [
        Misfit(4, {"id": "7", "user_id": "x", "product_id": "8"}, (missing,)),
        Misfit(1, {"id": "7", "user_id": "1", "product_id": "8", "quantity": "0"}, (extra,)),
        Misfit(9, {}, (Reason("row-error", None, "is not UTF-8"),)),
    ]
    batch = parsed(ORDERS, ("1", "1", "1", "1"), ("2", "1", "1", "-"), misfits=misfits)
    assert reasons(batch) == [
        [("extra-cell", None), ("constraint-error", "quantity")],
        [("type-error", "quantity")],
        [("missing-cell", "quantity"), ("type-error", "user_id")],
        [("row-error", None)],
    ]
    assert [draft.line for draft in batch.drafts] == [1, 3, 4, 9]
    assert [draft.values for draft in batch.drafts] == [
        {0: 7, 1: 1, 2: 8},
        {0: 2, 1: 1, 2: 1},
        {0: 7, 2: 8},
        {},
    ]
    assert list(batch.records) == [(1, 1, 1, 1)]


def with_id(value: object, instance: Any) -> str:
    return f"{instance.id}:{value}"


def with_id_and_name(value: object, instance: Any, attribute: Any) -> str:
    return f"{instance.id}:{attribute.name}:{value}"


@pytest.mark.parametrize(
    ("converter", "stored"),
    [
        (str.upper, "AB"),
        ([str.upper, lambda text: text + "!"], "AB!"),
        (Converter(str.title), "Ab"),
        (Converter(lambda value, attribute: f"{attribute.name}:{value}", takes_field=True), "text:ab"),
        (Converter(with_id, takes_self=True), "7:ab"),
        (Converter(with_id_and_name, takes_self=True, takes_field=True), "7:text:ab"),
    ],
)
def test_converters_are_the_models_own(converter: Any, stored: str) -> None:
    """A converter of any kind is applied to the record, and also to the row that is refused for another field."""
    dataset = of(text=field(type=str, converter=converter), size=field(type=int, validator=gt(0)))
    batch = parsed(dataset, ("7", "ab", "1"), ("7", "ab", "0"))
    assert list(batch.records) == [(7, stored, 1)]
    assert reasons(batch) == [[("constraint-error", "size")]]
    assert batch.drafts[0].values == {0: 7, 1: stored}


def test_a_converter_that_refuses_is_a_reason() -> None:
    """What a converter raises is told of its field, in its own words."""

    def known(value: str) -> str:
        return {"de": "DE"}[value]

    batch = parsed(of(country=field(type=str, converter=known)), ("1", "de"), ("2", "xx"), ("x", "xx"))
    assert list(batch.records) == [(1, "DE")]
    assert reasons(batch) == [[("type-error", "country")], [("type-error", "id"), ("type-error", "country")]]
    assert batch.drafts[0].reasons[0].message == "xx"


TO_THREE: Any = [validators.matches_re("[a-z]+"), validators.max_len(3)]
SIZED = of(
    size=field(type=int, validator=validators.and_(validators.ge(0), validators.not_(validators.in_([3])))),
    code=field(type=str, validator=TO_THREE),
    price=field(
        type=MAYBE_DECIMAL,
        default=None,
        validator=validators.optional([gt(0), max_places(2)]),
    ),
    kind=field(type=str, default="a", validator=validators.or_(validators.in_("ab"), validators.in_("xy"))),
)


@pytest.mark.parametrize(
    ("cells", "fields"),
    [
        (("1", "0", "abc", "", ""), []),
        (("1", "0", "abc", "1.25", "y"), []),
        (("1", "3", "abc", "", ""), ["size"]),
        (("1", "-1", "Abcd", "", ""), ["size", "code", "code"]),
        (("1", "0", "abc", "-1", ""), ["price"]),
        (("1", "0", "abc", "-1.255", ""), ["price", "price"]),
        (("1", "0", "abc", "", "c"), ["kind"]),
    ],
)
def test_each_validator_speaks_for_itself(cells: Sequence[str], fields: list[str]) -> None:
    """Of validators that must all agree, each that does not is a reason of its own, also inside `optional`."""
    batch = parsed(SIZED, cells)
    assert reasons(batch) == ([[("constraint-error", name) for name in fields]] if fields else [])


@pytest.mark.parametrize("kind", [ValueError, KeyError, ZeroDivisionError, AttributeError, StopIteration])
def test_whatever_a_validator_raises_is_a_reason(kind: type[Exception]) -> None:
    """A model refuses a row by any exception; its words are the message."""

    def refuse(_instance: object, _attribute: object, value: int) -> None:
        if value % 2:
            raise kind("odd")

    batch = parsed(of(n=field(type=int, validator=refuse)), ("1", "2"), ("2", "3"), ("3", "4"))
    assert list(batch.records) == [(1, 2), (3, 4)]
    assert [[(reason.code, reason.message) for reason in draft.reasons] for draft in batch.drafts] == [
        [("constraint-error", "odd")]
    ]


def test_an_exception_without_words_is_named() -> None:
    """A refusal without a message has at least the name of its exception."""

    def refuse(_instance: object, _attribute: object, _value: int) -> None:
        raise OverflowError

    [draft] = parsed(of(n=field(type=int, validator=refuse)), ("1", "2")).drafts
    assert draft.reasons[0].message == "OverflowError"


@define
class Stretch:
    """A record of which two fields must agree, in two ways."""

    id: int
    start: int
    end: int = field()
    total: int = 0

    @end.validator
    def _not_before_start(self, _attribute: "attrs.Attribute[int]", value: int) -> None:
        if value < self.start:
            raise ValueError(f"must not be before {self.start}")

    def __attrs_post_init__(self) -> None:
        if self.total and self.total != self.end - self.start:
            raise ValueError("total is not end - start")


SPANS = Dataset("spans", Stretch, "id")


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (("1", "2", "5", "3"), []),
        (("1", "2", "1", ""), [("constraint-error", "end")]),
        (("1", "x", "1", ""), [("type-error", "start")]),
        (("1", "2", "5", "9"), [("constraint-error", None)]),
        (("x", "2", "1", "9"), [("type-error", "id"), ("constraint-error", "end"), ("constraint-error", None)]),
    ],
)
def test_fields_are_judged_together(cells: Sequence[str], found: list[tuple[str, str | None]]) -> None:
    """A validator sees the other fields, if they could be read, and so does the check of the whole record."""
    batch = parsed(SPANS, cells)
    assert reasons(batch) == ([found] if found else [])


def test_a_record_that_is_wrong_as_a_whole_says_why() -> None:
    """What `__attrs_post_init__` refuses has no field, the model's words, and all its values are understood."""
    [draft] = parsed(SPANS, ("1", "2", "5", "9")).drafts
    assert str(draft.reasons[0]) == "constraint-error: total is not end - start"
    assert draft.values == {0: 1, 1: 2, 2: 5, 3: 9}


@define
class Doubled:
    """A record that changes a value when all have been looked at."""

    id: int
    price: Decimal

    def __attrs_post_init__(self) -> None:
        self.price *= 2


def test_what_a_model_makes_of_itself_is_stored_or_refused() -> None:
    """A value that the model sets last is what is stored; if it cannot be kept, the row is refused with a reason."""
    batch = parsed(Dataset("doubled", Doubled, "id"), ("1", "2.5"), ("2", "999999999999999"))
    assert list(batch.records) == [(1, 5)]
    assert [len(draft.reasons) > 0 for draft in batch.drafts] == [True]


def test_a_value_that_cannot_be_kept_is_a_reason() -> None:
    """A number of more digits than its column keeps is refused, beside the other faults of the row."""
    batch = parsed(of(n=field(type=Decimal)), ("1", "1234567890123456"), ("x", "1234567890123456"))
    assert reasons(batch) == [[("constraint-error", "n")], [("type-error", "id"), ("constraint-error", "n")]]


def test_values_nested_to_the_limit_are_refused() -> None:
    """A JSON value nested as deeply as its parser allows is of the wrong type, in every field."""
    deep: object = 1
    for _ in range(1_020):
        deep = [deep]
    batch = parsed(PRODUCTS, (deep, "a", "1"), (1, deep, "1"), (1, "a", deep))
    assert reasons(batch) == [[("type-error", name)] for name in ("id", "name", "price")]


TEXT = st.sampled_from(["1", "2", "0", "-1", "x", "", "19.90", "0.001", "a b", " ", "a@b", "\x07", "007", "9" * 20])
CELL = TEXT | st.sampled_from([None, 1, 1.5, True, "1\n2"])


def half(number: Decimal | None) -> Decimal:
    return Decimal(2 if number is None else number) / 2


NUMBERS = of(
    maybe=field(type=MAYBE_INT),
    half=field(type=Decimal, converter=half),
    given=field(type=int, default=3),
    price=field(type=Decimal, default=Decimal(1)),
)


@given(st.sampled_from([USERS, PRODUCTS, ORDERS, SIZED, SPANS, NUMBERS]), st.sampled_from([TEXT, CELL]), st.data())
def test_a_row_is_judged_as_if_it_were_alone(
    dataset: Dataset, cell: st.SearchStrategy[object], data: st.DataObject
) -> None:
    """The verdict on a row, to the last word, does not depend on the rows about it."""
    width = len(dataset.names)
    rows = data.draw(st.lists(st.tuples(*[cell] * width) | st.just(("1", "a", "a@b", "1", "a")[:width]), max_size=6))
    batch = parsed(dataset, *rows)
    assert sorted([*batch.lines, *(draft.line for draft in batch.drafts)]) == list(range(2, 2 + len(rows)))
    for line, row in enumerate(rows, 2):
        alone = parsed(dataset, row)
        together = batch.before(line + 1)
        assert list(alone.records) == list(together.records[batch.before(line).records.__len__() :])
        assert [(one.reasons, one.values) for one in alone.drafts] == [
            (one.reasons, one.values) for one in batch.drafts if one.line == line
        ]
        assert all(one.reasons for one in alone.drafts)


@pytest.mark.parametrize("at", range(1, len(NUMBERS.names)))
def test_an_empty_cell_is_what_it_is_beside_a_faulty_one(at: int) -> None:
    """A default, None, or what the converter makes of that is the value of an empty cell, whatever stands below."""
    empty, faulty = ("1", "", "", "", ""), ["2", "2", "2", "2", "2"]
    faulty[at] = "x"
    batch = parsed(NUMBERS, empty, faulty)
    assert list(batch.records) == [(1, None, 1, 3, 1)]
    assert reasons(batch) == [[("type-error", NUMBERS.names[at])]]


def test_parsing_is_the_same_in_another_process() -> None:
    """Dataset, reader and block can be sent to a process, and what comes back is what is made here."""
    data = b'1,Laptop,1000.00\n2,"Gaming\nChair",5e2\n3,,-1\n4,"x"y,1\n5,Mouse,30.00\n'
    reader = CsvReader(("id", "name", "price"), PRODUCTS.names)
    call = (PRODUCTS, reader, Block(data, 2, len(data)))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = pool.submit(parse, *call).result()
    assert there == parse(*call)
    assert len(there) == 5


# What a model makes of its cells.


class Color(Enum):
    RED = "red"
    BLUE = "blue"


def to_cents(text: str) -> int:
    """What a price comes to in cents."""
    return int(Decimal(text) * 100)


def to_parts(value: float) -> Decimal:
    return Decimal(round(value * 1000))


def strip(value):  # type: ignore[no-untyped-def]  # as users write converters
    return value.strip()


def number_of(value: object, instance: Any) -> int:
    return int(str(value)) + int(instance.id)


MAYBE_DATE: Any = date | None
MAYBE_TEXT: Any = str | None
MAYBE_UUID: Any = UUID | None
TEXTS: Any = list[str]
IDENTITY = "123E4567-E89B-12D3-A456-426614174000"


@pytest.mark.parametrize(
    ("one", "cell", "stored"),
    [
        (field(type=int, converter=int), "7", 7),
        (field(type=float, converter=float), "7", 7.0),
        (field(type=str, converter=str), "a", "a"),
        (field(type=Decimal, converter=Decimal), "1.5", 1.5),
        (field(type=UUID, converter=UUID), IDENTITY, IDENTITY.lower()),
        (field(type=Color, converter=Color), "red", "red"),
        (field(type=date, converter=date.fromisoformat), "2026-11-23", "2026-11-23"),
        (field(type=datetime, converter=datetime.fromisoformat), "2026-11-23T06:30:00Z", "2026-11-23T06:30:00+00:00"),
        (field(type=time, converter=time.fromisoformat), "06:30:00", "06:30:00"),
        (field(type=int, converter=to_cents), "1.50", 150),
        (field(type=int, converter=Converter(to_cents)), "1.50", 150),
        (field(type=Decimal, converter=to_parts), "1.5", 1500),
        (field(type=Decimal, converter=to_parts), 1.5, 1500),
        (field(type=str, converter=strip), " a ", "a"),
        (field(type=str, converter=lambda value: value[::-1]), 12, "21"),
        (field(type=TEXTS, converter=lambda text: text.split("|")), "a|b", '["a","b"]'),
        (field(type=MAYBE_TEXT, converter=converters.optional(strip)), "", None),
        (field(type=MAYBE_TEXT, converter=converters.optional(strip)), " a", "a"),
        (field(type=MAYBE_UUID, converter=converters.optional(UUID)), IDENTITY, IDENTITY.lower()),
        (field(type=str, converter=converters.default_if_none("none")), "", "none"),
        (field(type=int, converter=converters.default_if_none(factory=lambda: 5)), None, 5),
        (field(type=bool, converter=converters.to_bool), "yes", 1),
        (field(type=bool, converter=converters.to_bool), True, 1),
        (field(type=str, converter=converters.pipe(str.strip, str.upper)), " a ", "A"),
        (field(type=int, converter=Converter(number_of, takes_self=True)), "3", 10),
        (field(type=int, converter=to_cents, default="0.10"), "", 10),
    ],
)
def test_a_converter_gets_what_it_takes(one: Any, cell: object, stored: object) -> None:
    """It gets a value of the type that it says it takes, else the text of the cell; what it gives is stored."""
    [record] = parsed(of(x=one), ("7", cell)).records
    assert record == (7, stored)
    assert type(record[1]) is type(stored)
    [draft] = parsed(of(x=one, y=field(type=int, kw_only=True)), ("7", cell, "x")).drafts
    assert draft.values == {0: 7, 1: stored}


@pytest.mark.parametrize(
    ("one", "cell", "code"),
    [
        (field(type=int, converter=int), "1_000", "type-error"),
        (field(type=int, converter=int), "1.0", "type-error"),
        (field(type=bool, converter=bool), "no", "type-error"),
        (field(type=Decimal, converter=Decimal), "1e3", "type-error"),
        (field(type=date, converter=date.fromisoformat), "20261123", "type-error"),
        (field(type=UUID, converter=UUID), IDENTITY.replace("-", ""), "type-error"),
        (field(type=int, converter=strip), "7", "constraint-error"),
        (field(type=str, converter=len), "abc", "constraint-error"),
        (field(type=Color, converter=strip), "red", "constraint-error"),
        (field(type=str, converter=lambda value: None), "a", "constraint-error"),
        (field(type=str, converter=lambda value: value + "\x00"), "a", "constraint-error"),
        (field(type=float, converter=lambda value: float("nan")), "1", "constraint-error"),
        (field(type=int, converter=lambda value: 2**63), "1", "constraint-error"),
        (field(type=date, converter=datetime.fromisoformat), "2026-11-23T00:00:00", "constraint-error"),
        (field(type=TEXTS, converter=lambda value: [object()]), "a", "constraint-error"),
        (field(type=str, converter=lambda value: value.missing), "a", "type-error"),
    ],
)
def test_what_a_converter_makes_is_held_against_the_type(one: Any, cell: str, code: str) -> None:
    """A value of another type rejects its row, names the field, and never comes before a database."""
    batch = parsed(of(x=one), ("7", cell))
    assert list(batch.records) == []
    assert [reason.code for reason in batch.drafts[0].reasons] == [code]
    assert 1 not in batch.drafts[0].values


@frozen
class Stay:
    """A model with fields of every making."""

    _house: str
    number: int = field(validator=gt(0), alias="no")
    nights: int = field(default=Factory(lambda self: self.number + 1, takes_self=True), kw_only=True)
    tags: TEXTS = Factory(list)
    note: str = field(init=False, default="new")
    total: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "total", self.nights * 10)
        if self.total > 50:
            raise ValueError(f"total {self.total} is more than 50")


STAYS = Dataset("stays", Stay, ("house", "number"))


def test_a_model_of_every_making_is_loaded() -> None:
    """Private fields, aliases, fields by name only, defaults of other fields, and what the model adds by itself."""
    assert STAYS.header == ("house", "no", "nights", "tags")
    batch = parsed(STAYS, ("a", "1", "5", '["x"]'), ("a", "2", "", ""))
    assert list(batch.records) == [("a", 1, 5, '["x"]', "new", 50), ("a", 2, 3, "[]", "new", 30)]


def test_all_faults_of_such_a_model_are_named() -> None:
    """Also those that the model finds as a whole, and the values that it adds are understood."""
    bad_number, bad_total, bad_all = parsed(
        STAYS, ("a", "0", "5", ""), ("a", "9", "", ""), ("", "x", "9", "[1]")
    ).drafts
    assert [(reason.code, reason.field) for reason in bad_number.reasons] == [("constraint-error", "no")]
    assert bad_number.values == {0: "a", 2: 5, 3: "[]", 4: "new", 5: 50}
    assert [str(reason) for reason in bad_total.reasons] == ["constraint-error: total 100 is more than 50"]
    assert [(reason.code, reason.field) for reason in bad_all.reasons] == [
        ("constraint-error", "house"),
        ("type-error", "no"),
        ("type-error", "tags"),
        ("constraint-error", None),
    ]


def test_a_factory_is_called_for_each_row() -> None:
    """No two records share what a factory makes."""
    seen: list[Any] = []

    def keep(_instance: object, _attribute: object, value: list[str]) -> None:
        value.append("x")
        seen.append(value)

    batch = parsed(of(tags=field(type=TEXTS, factory=list, validator=keep)), ("1", ""), ("2", ""))
    assert list(batch.records) == [(1, '["x"]'), (2, '["x"]')]
    assert seen[0] is not seen[1]


VALIDATED: list[tuple[Any, str, str]] = [
    (validators.and_(gt(0), validators.lt(10)), "5", "50"),
    (validators.or_(validators.lt(3), gt(9)), "2", "5"),
    (validators.not_(validators.in_([3, 4])), "5", "3"),
    (validators.in_([1, 2]), "2", "3"),
    (validators.instance_of(int), "2", ""),
    (validators.optional(gt(5)), "6", "5"),
    ([gt(5), validators.le(7)], "6", "8"),
]


@pytest.mark.parametrize(("validator", "good", "bad"), VALIDATED)
def test_the_validators_of_attrs_are_respected(validator: Any, good: str, bad: str) -> None:
    """What a combination of validators refuses is a constraint error of its field."""
    batch = parsed(of(n=field(type=int, validator=validator)), ("1", good), ("2", bad))
    assert list(batch.records) == [(1, int(good))]
    assert reasons(batch) == [[("constraint-error", "n")]]


def test_validators_look_into_lists_and_dicts() -> None:
    """Items, keys and values are validated as read: dates, not texts."""
    dates: Any = list[date]
    sizes: Any = dict[str, int]
    dataset = of(
        days=field(type=dates, validator=validators.deep_iterable(gt(date(2026, 1, 1)), validators.min_len(1))),
        sizes=field(type=sizes, validator=validators.deep_mapping(validators.max_len(1), gt(0))),
    )
    batch = parsed(
        dataset, ("1", '["2026-11-23"]', '{"a":1}'), ("2", '["2025-11-23"]', {"a": 0}), ("3", "[]", {"aa": 1})
    )
    assert list(batch.records) == [(1, '["2026-11-23"]', '{"a":1}')]
    assert reasons(batch) == [[("constraint-error", "days"), ("constraint-error", "sizes")]] * 2


@define
class Shifting:
    """A record that makes something else of itself."""

    id: int
    text: str
    day: MAYBE_DATE = None

    def __attrs_post_init__(self) -> None:
        match self.text:
            case "number":
                self.text = 7  # type: ignore[assignment]
            case "nothing":
                self.text = None  # type: ignore[assignment]
            case "moment":
                self.day = datetime(2026, 11, 23, 6, 30)
            case "gone":
                del self.text
            case "missing":
                self.text = self.nowhere  # type: ignore[attr-defined]
            case "key":
                self.id = "x"  # type: ignore[assignment]
            case _:
                self.text = self.text.upper()


@pytest.mark.parametrize("text", ["number", "nothing", "moment", "gone", "missing", "key"])
def test_what_a_model_makes_of_itself_is_held_against_its_types(text: str) -> None:
    """A value of another type, or none at all, rejects the row, with a reason; the rows about it are not touched."""
    batch = parsed(Dataset("shifting", Shifting, "id"), ("1", "a", ""), ("2", text, ""), ("3", "b", ""))
    assert list(batch.records) == [(1, "A", None), (3, "B", None)]
    [draft] = batch.drafts
    assert {reason.code for reason in draft.reasons} == {"constraint-error"}
    assert all(reason.message for reason in draft.reasons)


@define
class OwnInit:
    """A record with an `__init__` of its own."""

    nr: int
    name: str

    def __init__(self, nr: int, name: str) -> None:
        if name == "refused":
            raise ValueError("is refused")
        self.__attrs_init__(nr, 7 if name == "seven" else name.upper())  # type: ignore[attr-defined]


def test_an_init_of_its_own_is_held_against_the_types_too() -> None:
    """What such a class makes of its arguments is stored, or rejects the row."""
    batch = parsed(Dataset("own", OwnInit, "nr"), ("1", "a"), ("2", "seven"), ("3", "refused"))
    assert list(batch.records) == [(1, "A")]
    assert [draft.reasons[0].message for draft in batch.drafts] == ["not text: 7", "is refused"]


def test_a_column_that_may_be_left_out_counts_in_a_row_that_does_not_fit() -> None:
    """Its default is known, and has to pass; of a row that cannot be read nothing is said but that."""
    dataset = of(
        a=field(type=int),
        b=field(type=int, default=5, validator=gt(0)),
        c=field(type=int, default=-1, validator=gt(0)),
    )
    extra, missing = Reason("extra-cell", "d", "is not a field"), Reason("missing-cell", "b", "is missing")
    misfits = [
        Misfit(2, {"id": "1", "a": "2"}, (extra,)),
        Misfit(3, {"id": "1", "a": "2"}, (missing,)),
        Misfit(4, {}, (Reason("row-error", None, "is not JSON"),)),
    ]
    batch = parsed(dataset, misfits=misfits)
    assert reasons(batch) == [
        [("extra-cell", "d"), ("constraint-error", "c")],
        [("missing-cell", "b"), ("constraint-error", "c")],
        [("row-error", None)],
    ]
    assert [draft.values for draft in batch.drafts] == [{0: 1, 1: 2, 2: 5}, {0: 1, 1: 2}, {}]


def test_a_factory_that_raises_costs_its_row_only() -> None:
    """Whatever goes wrong when a default is made is a reason of the row that needs it."""

    def fail() -> str:
        raise KeyError("nobody knows")

    dataset = of(name=field(type=str, factory=fail))
    batch = parsed(dataset, ("1", "a"), ("2", ""), *((str(at), "b") for at in range(3, 200)))
    assert len(batch.records) == 198
    [draft] = batch.drafts
    assert [str(reason) for reason in draft.reasons] == ["constraint-error: name nobody knows"]
