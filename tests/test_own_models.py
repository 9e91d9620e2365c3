"""Each thing that a model may ask for, loaded end to end from files."""

import asyncio
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from time import sleep
from typing import Any, Literal
from uuid import UUID

import attr
import attrs
import pytest
from attrs import Factory, define, field, frozen
from attrs.setters import NO_OP
from attrs.validators import deep_iterable, ge, gt, in_, lt, max_len, optional

from loader import (
    Dataset,
    Event,
    FileSource,
    Job,
    Read,
    Rejected,
    Rejection,
    Report,
    SqliteTarget,
    file_source,
    load,
    not_blank,
    rows,
    run,
    verify,
)
from loader.core.errors import UsageError
from loader.core.events import Untried
from loader.datasets import USERS

Cells = Mapping[str, object]


def write(path: Path, rows: Sequence[Cells]) -> Path:
    """Rows as a file of the format that its name tells; a cell of CSV holds the JSON of a list or dict."""
    if path.suffix == ".csv":
        lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
        path.write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return '"' + text.replace('"', '""') + '"'


def loaded(
    directory: Path,
    datasets: Sequence[Dataset],
    files: Mapping[str, Sequence[Cells]],
    ending: str = "csv",
    **options: Any,
) -> Report:
    """The report of a load of files that are written first, into databases in the same directory."""
    jobs = []
    for each in datasets:
        rows = files.get(each.name)
        sources = [file_source(write(directory / f"{each.name}.{ending}", rows))] if rows else []
        jobs.append(Job(each, sources, SqliteTarget(directory / f"{each.database}.db")))
    report = run(jobs, **options)
    verified = asyncio.run(verify(jobs))
    assert verified.status == "complete", "what was stored just now is said to be faulty"
    return report


def stored(directory: Path, dataset: Dataset) -> list[tuple[Any, ...]]:
    """All that a table holds, in the order of its keys."""
    columns = ", ".join(f'"{name}"' for name in dataset.names)
    key = ", ".join(f'"{one.name}"' for one in dataset.key_group.fields)
    with closing(sqlite3.connect(directory / f"{dataset.database}.db")) as database:
        return database.execute(f'SELECT {columns} FROM "{dataset.table}" ORDER BY {key}').fetchall()


def reasons(report: Report, name: str) -> dict[int | None, list[str]]:
    """The reasons of each rejection, by row."""
    return {one.place.row: [str(each) for each in one.reasons] for one in report.tallies[name].rejections}


class Color(Enum):
    RED = "red"
    BLUE = "blue"


IDENTITY = "123e4567-e89b-12d3-a456-426614174000"
MAYBE_INT: Any = int | None
TEXTS: Any = list[str]
SIZES: Any = dict[str, int]
EITHER: Any = int | str


@frozen
class Everything:
    """A model with a field of each type."""

    id: UUID
    whole: int
    share: float
    price: Decimal
    name: str
    good: bool
    day: date
    moment: datetime
    clock: time
    color: Color
    size: Literal["S", "M"]
    either: EITHER
    tags: TEXTS
    sizes: SIZES
    parent: MAYBE_INT = None


EVERYTHING = Dataset("everything", Everything, "id")
ROW: Cells = {
    "id": IDENTITY.upper(),
    "whole": 7,
    "share": 1.5,
    "price": "12.50",
    "name": "Zoë",
    "good": True,
    "day": "2026-11-23",
    "moment": "2026-11-23T06:30:00Z",
    "clock": "06:30:00",
    "color": "red",
    "size": "M",
    "either": "a7",
    "tags": ["a", "é"],
    "sizes": {"a": 1},
    "parent": None,
}
KEPT = (
    *(IDENTITY, 7, 1.5, 12.5, "Zoë", 1, "2026-11-23", "2026-11-23T06:30:00+00:00", "06:30:00"),
    *("red", "M", "a7", '["a","é"]', '{"a":1}', None),
)


@pytest.mark.parametrize("ending", ["csv", "json", "ndjson"])
def test_a_field_of_each_type_is_loaded(ending: str, tmp_path: Path) -> None:
    """From every format the same is stored; loaded again it is unchanged; each field can be wrong by itself."""
    for again in (False, True):
        report = loaded(tmp_path, [EVERYTHING], {"everything": [ROW]}, ending)
        assert (report.totals.inserted, report.totals.unchanged) == (not again, again)
    assert stored(tmp_path, EVERYTHING) == [KEPT]
    names = [name for name in ROW if name != "name"]
    bad = loaded(tmp_path, [EVERYTHING], {"everything": [{**ROW, **dict.fromkeys(names, "?"), "name": "\x07"}]}, ending)
    [rejection] = bad.tallies["everything"].rejections
    wrong = {name for name in ROW if name != "either"}
    assert {each.field for each in rejection.reasons if each.code == "type-error"} == wrong


def test_the_same_records_get_the_same_verdicts_in_every_format(tmp_path: Path) -> None:
    """Word for word, but for the place."""
    rows = [ROW, {**ROW, "whole": "x", "tags": "{"}, {**ROW, "id": "", "day": "2026-02-30"}, {**ROW, "whole": 8}]
    told = []
    for ending in ("csv", "json", "ndjson"):
        directory = tmp_path / ending
        directory.mkdir()
        told.append(reasons(loaded(directory, [EVERYTHING], {"everything": rows}, ending), "everything"))
    assert told[0] == told[1] == told[2]
    assert list(told[0]) == [2, 3, 4]


brief: Any = [max_len(2), deep_iterable(not_blank)]


def upper(text: str) -> str:
    return text.strip().upper()


@define
class Booking:
    """A model that uses what attrs offers."""

    _house: str = field(converter=upper, validator=not_blank)
    number: int = field(validator=ge(1), alias="no")
    start: date = field(converter=date.fromisoformat)  # type: ignore[misc]
    end: date = field(default=Factory(lambda self: self.start, takes_self=True))
    guests: TEXTS = field(factory=list, validator=brief, kw_only=True)
    rate: MAYBE_INT = field(default=None, validator=optional(in_([1, 2])))
    nights: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.nights = (self.end - self.start).days
        if self.nights < 0:
            raise ValueError("ends before it starts")


BOOKINGS = Dataset("bookings", Booking, ("house", "number"), columns={"end": "Last day"})


def test_an_attrs_class_is_respected_in_all_it_says(tmp_path: Path) -> None:
    """Converters, validators, defaults, factories and the check of the whole; all faults of a row are named."""
    rows: list[Cells] = [
        {"house": " a ", "no": 1, "start": "2026-11-23", "Last day": "2026-11-25", "guests": ["x"], "rate": 2},
        {"house": "a", "no": 2, "start": "2026-11-23"},
        {"house": "a", "no": 3, "start": "2026-11-23", "Last day": "2026-11-20"},
        {"house": " ", "no": 0, "start": "?", "guests": ["x", "y", ""], "rate": 3},
    ]
    report = loaded(tmp_path, [BOOKINGS], {"bookings": rows}, "ndjson")
    assert stored(tmp_path, BOOKINGS) == [
        ("A", 1, "2026-11-23", "2026-11-25", '["x"]', 2, 2),
        ("A", 2, "2026-11-23", "2026-11-23", "[]", None, 0),
    ]
    assert reasons(report, "bookings")[3] == ["constraint-error: ends before it starts"]
    told = [reason.partition(" ")[2].split()[0] for reason in reasons(report, "bookings")[4]]
    assert told == ["start", "house", "no", "guests", "guests", "rate"]


def plain(name: str, /, **fields: Any) -> Any:
    """A class of these fields, each a type or what `field` makes."""
    parts = {each: one if hasattr(one, "converter") else field(type=one) for each, one in fields.items()}
    return attrs.make_class(name, parts)


MAYBE_TEXT: Any = str | None
PLACES = Dataset("places", plain("Place", code=str, name=str), "code", unique=["name"], nocase=["name"])
SEATS = Dataset(
    "seats",
    plain("Seat", place=str, row=str, number=int, label=MAYBE_TEXT),
    ("place", "row", "number"),
    unique=[("place", "label")],
    references={"place": "places"},
)
TICKETS = Dataset(
    "tickets",
    plain("Ticket", id=UUID, place=MAYBE_TEXT, row=MAYBE_TEXT, number=MAYBE_INT, seen_from=str, sold_at=MAYBE_TEXT),
    "id",
    references={("place", "row", "number"): "seats", "seen_from": "places", "sold_at": "places"},
)


def test_keys_of_text_and_of_several_fields_and_references_to_them(tmp_path: Path) -> None:
    """Several references to one dataset, optional ones, and those of several fields of which one has no value."""
    report = loaded(
        tmp_path,
        [TICKETS, SEATS, PLACES],
        {
            "places": [{"code": "a", "name": "Arena"}, {"code": "A", "name": "Bar"}, {"code": "c", "name": "ARENA"}],
            "seats": [
                {"place": "a", "row": "x", "number": 1, "label": "best"},
                {"place": "A", "row": "x", "number": 1, "label": "best"},
                {"place": "a", "row": "x", "number": 2, "label": "best"},
                {"place": "a", "row": "x", "number": 1, "label": ""},
                {"place": "a", "row": "x", "number": 3, "label": ""},
                {"place": "a", "row": "x", "number": 4, "label": ""},
            ],
            "tickets": [
                {
                    "id": IDENTITY[:-1] + end,
                    "place": place,
                    "row": "x",
                    "number": number,
                    "seen_from": from_,
                    "sold_at": at,
                }
                for end, place, number, from_, at in [
                    *(("1", "a", 1, "A", "a"), ("2", "a", "", "a", ""), ("3", "a", 2, "c", "c"), ("4", "", 9, "b", "")),
                ]
            ],
        },
    )
    assert [record[0] for record in stored(tmp_path, PLACES)] == ["A", "a"]
    assert [record[:3] for record in stored(tmp_path, SEATS)] == [
        ("A", "x", 1),
        ("a", "x", 1),
        ("a", "x", 3),
        ("a", "x", 4),
    ]
    assert [record[0][-1] for record in stored(tmp_path, TICKETS)] == ["1", "2"]
    assert reasons(report, "places") == {3: ["unique-error: name 'ARENA' is place 'a''s"]}
    assert reasons(report, "seats") == {
        3: ["unique-error: place, label ('a', 'best') is seat ('a', 'x', 1)'s"],
        4: ["primary-key: place, row, number ('a', 'x', 1) is stored already, with another label"],
    }
    [third, fourth] = reasons(report, "tickets").values()
    fields = ["place, row, number", "seen_from", "sold_at"]
    assert [reason.partition(" no ")[0] for reason in third] == [f"foreign-key: {each}" for each in fields]
    assert all("was rejected (unique-error: " in reason for reason in third)
    assert fourth == ["foreign-key: seen_from no place 'b'"]


STAFF = Dataset("staff", plain("Person", id=int, boss=MAYBE_INT), "id", references={"boss": "staff"})


def test_a_reference_to_the_own_dataset_points_to_an_earlier_row(tmp_path: Path) -> None:
    """Not to the row itself, to a later one or to a rejected one; in a second run the same rows are rejected."""
    pairs = [(1, ""), (2, 1), (3, 4), (4, 2), (5, 5), (6, 3), (2, 9)]
    files = {"staff": [{"id": id_, "boss": boss} for id_, boss in pairs]}
    first, second = (loaded(tmp_path, [STAFF], files) for _ in "ab")
    assert stored(tmp_path, STAFF) == [(1, None), (2, 1), (4, 2)]
    assert (first.totals.inserted, second.totals.inserted, second.totals.unchanged) == (3, 0, 3)
    assert first.tallies["staff"].rejections == second.tallies["staff"].rejections
    at = tmp_path / "staff.csv"
    assert reasons(first, "staff") == {
        3: ["foreign-key: boss no person 4 in an earlier row"],
        5: ["foreign-key: boss no person 5 in an earlier row"],
        6: [
            f"foreign-key: boss no person 3 in an earlier row: {at}:4 was rejected "
            "(foreign-key: boss no person 4 in an earlier row)"
        ],
        7: [
            "foreign-key: boss no person 9 in an earlier row",
            "primary-key: id 2 is stored already, with another boss",
        ],
    }
    later = loaded(tmp_path, [STAFF], {"staff": [{"id": 7, "boss": 4}, {"id": 8, "boss": 7}]})
    assert later.totals.inserted == 2


def test_a_row_that_came_too_early_is_there_when_a_later_one_has_stored_it(tmp_path: Path) -> None:
    """In a second run it is unchanged, as what is stored and equal is; other rows are rejected as before."""
    pairs = [(2, 1), (1, ""), (2, 1), (3, 4), (4, 1)]
    files = {"staff": [{"id": id_, "boss": boss} for id_, boss in pairs]}
    first, second = (loaded(tmp_path, [STAFF], files) for _ in "ab")
    late = ["foreign-key: boss no person 4 in an earlier row"]
    assert reasons(first, "staff") == {1: ["foreign-key: boss no person 1 in an earlier row"], 4: late}
    assert (reasons(second, "staff"), second.totals.unchanged, second.totals.inserted) == ({4: late}, 4, 0)


def chain(count: int, database: str = "") -> list[Dataset]:
    """Datasets of which each refers to the one before, in databases of their own or all in one."""
    names = [f"d{at}" for at in range(count)]
    return [
        Dataset(
            name,
            plain(name, id=int, up=MAYBE_INT),
            "id",
            references={"up": names[at - 1] if at else name},
            table="group" if name == "d3" else name,
            database=database or name,
        )
        for at, name in enumerate(names)
    ]


@pytest.mark.parametrize("database", ["", "all"])
def test_ten_datasets_are_loaded_at_once(database: str, tmp_path: Path) -> None:
    """In databases of their own, or all in one file whose lanes take turns; twice changes nothing."""
    datasets = chain(10, database)
    rows: list[Cells] = [{"id": 1, "up": ""}, *({"id": at, "up": at - 1} for at in range(2, 40)), {"id": 99, "up": 98}]
    for again in (False, True):
        report = loaded(tmp_path, datasets[::-1], {each.name: rows for each in datasets})
        assert report.totals.rejected == 10
        assert (report.totals.inserted, report.totals.unchanged) == ((0, 390) if again else (390, 0))
    for each in datasets:
        assert len(stored(tmp_path, each)) == 39
    assert len(list(tmp_path.glob("*.db"))) == (1 if database else 10)


def test_datasets_together_and_apart(tmp_path: Path) -> None:
    """Some share a database file, some have their own; a reference finds what an earlier run stored in either."""
    together = [attrs.evolve(each, database="house") for each in (PLACES, SEATS)]
    loaded(tmp_path, together, {"places": [{"code": "a", "name": "Arena"}]})
    report = loaded(
        tmp_path,
        [*together, STAFF],
        {"seats": [{"place": "a", "row": "x", "number": 1, "label": ""}], "staff": [{"id": 1, "boss": ""}]},
    )
    assert report.totals.inserted == 2
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["house.db", "staff.db"]


def test_a_wrong_declaration_opens_nothing(tmp_path: Path) -> None:
    """A circle, or a reference to what is not declared, ends before a file is touched."""
    with pytest.raises(UsageError, match="refers to dataset 'places', which is not there"):
        loaded(tmp_path, [SEATS], {"seats": [{"place": "a", "row": "x", "number": 1, "label": ""}]})
    assert list(tmp_path.glob("*.db")) == []


def fickle(value: str) -> Any:
    return 7 if value == "number" else value


@define
class Fickle:
    """A model whose converter, and whose check of the whole, give values of other types."""

    id: int
    text: str = field(converter=fickle)
    day: date = date(2026, 11, 23)
    size: float = field(default=0.5, validator=gt(0))

    def __attrs_post_init__(self) -> None:
        if self.text == "moment":
            self.day = datetime(2026, 11, 23, 6, 30)


def test_values_of_another_type_reject_their_row_only(tmp_path: Path) -> None:
    """They never reach the database, and the load goes on."""
    rows = [{"id": at, "text": text} for at, text in enumerate(["a", "number", "moment", "b"])]
    report = loaded(tmp_path, [dataset := Dataset("fickle", Fickle, "id")], {"fickle": rows})
    assert [record[:2] for record in stored(tmp_path, dataset)] == [(0, "a"), (3, "b")]
    assert [[each.partition(" ")[0] for each in some] for some in reasons(report, "fickle").values()] == [
        ["constraint-error:"],
        ["constraint-error:"],
    ]


def test_a_record_that_is_stored_stays_unchanged_whatever_it_refers_to(tmp_path: Path) -> None:
    """A row before the one it refers to is rejected; once it was fed back, the first file is unchanged as a whole."""
    nodes = Dataset("nodes", plain("Node", id=int, boss=MAYBE_INT), key="id", references={"boss": "nodes"})
    rows: list[Cells] = [{"id": 1, "boss": 2}, {"id": 2, "boss": None}, {"id": 3, "boss": 1}]
    assert reasons(loaded(tmp_path, [nodes], {"nodes": rows}), "nodes") == {
        1: ["foreign-key: boss no node 2 in an earlier row"],
        3: [
            "foreign-key: boss no node 1 in an earlier row: "
            f"{tmp_path / 'nodes.csv'}:2 was rejected (foreign-key: boss no node 2 in an earlier row)"
        ],
    }
    assert loaded(tmp_path, [nodes], {"nodes": [rows[0], rows[2]]}).totals.inserted == 2
    assert loaded(tmp_path, [nodes], {"nodes": rows}).totals.unchanged == 3


def day(text: str) -> date | None:
    return None if text in ("", "NULL") else date.fromisoformat(text.removesuffix(" 00:00"))


def test_a_converter_of_text_is_asked_about_an_empty_cell(tmp_path: Path) -> None:
    """Where None is allowed, a converter that takes text gets the empty cell; else that is no value."""
    one: Any = date | None
    events = Dataset(
        "events", plain("Event", id=int, on=field(type=one, converter=day), by=field(type=date, converter=day)), "id"
    )
    on = ["", "NULL", "2026-11-23 00:00", "2026-11-23", "never"]
    rows: list[Cells] = [{"id": at, "on": cell, "by": "2026-11-23"} for at, cell in enumerate(on, 1)]
    rows += [{"id": 6, "on": "", "by": ""}, {"id": 7, "on": "", "by": "NULL"}]
    found = reasons(loaded(tmp_path, [events], {"events": rows}), "events")
    assert found == {
        5: ["type-error: on Invalid isoformat string: 'never'"],
        6: ["constraint-error: by must have a value"],
        7: ["constraint-error: by must have a value"],
    }
    assert [row[1] for row in stored(tmp_path, events)] == [None, None, "2026-11-23", "2026-11-23"]


def test_a_field_whose_converter_stumbles_is_named(tmp_path: Path) -> None:
    """An AttributeError of a converter, which says nothing of other fields, is a reason like any other."""
    things = Dataset("things", plain("Thing", id=int, x=field(type=str, converter=lambda text: text.nowhere)), key="id")
    found = reasons(loaded(tmp_path, [things], {"things": [{"id": 1, "x": "a"}]}), "things")
    assert found == {1: ["type-error: x 'str' object has no attribute 'nowhere'"]}


def test_columns_may_be_named_by_a_function(tmp_path: Path) -> None:
    """Where all columns of a file are named in another style, one function tells them all."""
    things = Dataset("things", plain("Thing", my_id=int, its_name=str), key="my_id", columns=str.upper)
    assert loaded(tmp_path, [things], {"things": [{"MY_ID": 1, "ITS_NAME": "a"}]}).totals.inserted == 1
    assert stored(tmp_path, things) == [(1, "a")]


def to_cents(euros: str | int) -> int:
    return round(float(euros) * 100)


@define
class Held:
    id: int
    cents: int = field(converter=to_cents, on_setattr=NO_OP)
    country: str | None = "DE"
    title: str = field(init=False, default="")
    name: str = "x"
    tags: TEXTS = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.title = f"Dr. {self.name}" if self.name else ""
        self.name = f"({self.name})" if self.name else ""


def test_an_instance_is_stored_as_it_is(tmp_path: Path) -> None:
    """What an instance holds is not converted, defaulted or changed by its model again; mappings beside it are."""
    held = Dataset("held", Held, key="id", columns={"id": "ID"})
    items = [Held(1, "1.50", None, "Kim", ["a"]), {"ID": 2, "cents": "2.5"}, Held(3, 0, name="")]
    report = run([Job(held, rows(items), tmp_path / "held.db")])
    assert report.totals.inserted == 3
    assert stored(tmp_path, held) == [
        (1, 150, None, "Dr. Kim", "(Kim)", '["a"]'),
        (2, 250, "DE", "Dr. x", "(x)", "[]"),
        (3, 0, "DE", "", "", "[]"),
    ]
    broken = Held(4, 0)
    broken.cents = "many"  # type: ignore[assignment]
    assert reasons(run([Job(held, rows([broken]), tmp_path / "held.db")]), "held") == {
        1: ["type-error: cents not an integer: 'many'"]
    }


@define(init=False)
class Swapped:
    id: int
    first: str
    last: str

    def __init__(self, id: int, last: str, first: str) -> None:  # noqa: A002
        self.__attrs_init__(id, first, last)


def test_an_init_of_its_own_is_called_by_name(tmp_path: Path) -> None:
    """Whatever the order of its parameters, each gets what stands in its column."""
    people = Dataset("people", Swapped, key="id")
    assert loaded(tmp_path, [people], {"people": [{"id": 1, "first": "Ada", "last": "Byron"}]}).totals.inserted == 1
    assert stored(tmp_path, people) == [(1, "Ada", "Byron")]


def test_a_key_of_two_kinds_of_numbers_is_one_number(tmp_path: Path) -> None:
    """1 and 1.0 are the same key, also in batches of their own."""
    either: Any = int | float
    things = Dataset("things", plain("Thing", id=either, name=str), key="id")
    items = [{"id": 1, "name": "a"}, *({"id": at, "name": "b"} for at in range(2, 2_500)), {"id": 1.0, "name": "c"}]
    report = run([Job(things, rows(items), tmp_path / "things.db")])
    assert reasons(report, "things") == {2_500: ["primary-key: id 1.0 is stored already, with another name"]}


def test_a_bound_without_end_is_no_matter(tmp_path: Path) -> None:
    """A rule that SQL cannot write down is left to the model."""
    things = Dataset("things", plain("Thing", id=int, x=field(type=float, validator=lt(math.inf))), key="id")
    assert loaded(tmp_path, [things], {"things": [{"id": 1, "x": "1.5"}]}).totals.inserted == 1


def test_numbers_keep_their_last_digit_in_messages(tmp_path: Path) -> None:
    """A price of -50.00 is told as it stood, whether it stood in CSV or in JSON, or was a Decimal."""
    things = Dataset("things", plain("Thing", id=int, price=field(type=Decimal, validator=gt(Decimal(0)))), key="id")
    text = '{"id": 1, "price": -50.00}\n'
    (tmp_path / "things.ndjson").write_text(text)
    wanted = {1: ["constraint-error: price must be > 0: -50.00"]}
    for source in (file_source(tmp_path / "things.ndjson"), rows([{"id": 1, "price": Decimal("-50.00")}])):
        assert reasons(run([Job(things, source, tmp_path / "things.db")]), "things") == wanted
    assert reasons(loaded(tmp_path, [things], {"things": [{"id": 1, "price": "-50.00"}]}), "things") == wanted


def test_what_was_classic_attrs_is_loaded_too(tmp_path: Path) -> None:
    """The type of a field may be given to `attr.ib`."""

    @attr.s
    class Old:
        id = attr.ib(type=int)
        name = attr.ib(type=str, default="x")

    old = Dataset("old", Old, key="id")
    assert loaded(tmp_path, [old], {"old": [{"id": 1, "name": "a"}]}).totals.inserted == 1


def test_a_validator_may_look_at_what_else_the_class_has(tmp_path: Path) -> None:
    """Constants, methods and properties of the model are there for its validators, for rows as for its instances."""

    @define
    class Trip:
        id: int
        miles: int = field()
        longest = 10

        @property
        def shortest(self) -> int:
            return self.longest // 10

        def fits(self, miles: int) -> bool:
            return self.shortest <= miles <= self.longest

        @miles.validator
        def _look(self, _attribute: object, value: int) -> None:
            if not self.fits(value):
                raise ValueError("does not fit")

    trips = Dataset("trips", Trip, "id")
    too_long = Trip(3, 10)
    object.__setattr__(too_long, "miles", 11)
    for directory, items in (("a", [Trip(1, 1), too_long]), ("b", [{"id": 1, "miles": 1}, {"id": 3, "miles": 11}])):
        report = run([Job(trips, rows(items), tmp_path / directory / "trips.db")])
        assert reasons(report, "trips") == {2: ["constraint-error: miles does not fit"]}


def test_no_more_than_a_batch_waits_to_be_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that rejects faster than it can tell does not gather what is still to be told: memory stays flat."""
    monkeypatch.setattr("loader.pipeline._TOLD_AT_ONCE", 1)
    path = tmp_path / "users.csv"
    path.write_text("id,name,email\n" + "x,,\n" * 1_000)
    ends = Counter[str]()
    waiting = []

    def observe(event: Event) -> None:
        if isinstance(event, Read):
            waiting.append(ends["read"] - ends["told"])
            ends["read"] += event.records
        elif isinstance(event, Rejected):
            ends["told"] += len(event.rejections)

    run([Job(USERS, FileSource(path, "csv", block_size=4 * 50), tmp_path / "users.db")], observe=observe)
    assert ends["told"] == 1_000
    assert len(waiting) >= 20
    assert max(waiting) <= 50


def test_a_load_that_is_cancelled_does_not_wait_to_tell_of_all_rejections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has not told of in a moment counts as untried, and is rejected when the load is run again."""
    monkeypatch.setattr("loader.pipeline._TOLD_AT_ONCE", 1)
    path = tmp_path / "users.csv"
    path.write_text("id,name,email\n" + "x,,\n" * 10_000)
    ends = Counter[str]()

    async def main() -> None:
        def observe(event: Event) -> None:
            if isinstance(event, Rejected):
                sleep(0.001)
                loading.cancel()
                ends["rejected"] += len(event.rejections)
            elif isinstance(event, Read | Untried):
                ends[type(event).__name__] += event.records

        loading = asyncio.create_task(load([Job(USERS, path, tmp_path / "users.db")], observe=observe))
        with pytest.raises(asyncio.CancelledError):
            await loading

    asyncio.run(main())
    assert 0 < ends["rejected"] < 5_000
    assert ends["Read"] == ends["rejected"] + ends["Untried"]


@pytest.mark.parametrize("references", [{}, {"up": "nodes"}], ids=["no-references", "own-references"])
def test_rejections_are_told_in_order_and_are_causes(
    references: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly the rejections of a batch are told, the next one knows of them all, and so does the end."""
    monkeypatch.setattr("loader.pipeline._TOLD_AT_ONCE", 1)

    @define
    class Node:
        id: int
        size: int = field(validator=gt(0))
        up: int | None = None

    nodes = Dataset("nodes", Node, "id", references=references)
    faulty = [f"{at},0," for at in range(101, 201)]
    path = tmp_path / "nodes.csv"
    path.write_text("\n".join(["id,size,up", *faulty, "301,1,200", "302,1,199", *faulty, ""]))
    told: list[Rejection] = []

    def observe(event: Event) -> None:
        if isinstance(event, Rejected):
            sleep(0.001 * len(event.rejections))
            told.extend(event.rejections)

    size = len("id,size,up\n") + sum(len(f"{line}\n") for line in faulty)
    report = run([Job(nodes, FileSource(path, "csv", block_size=size), tmp_path / "nodes.db")], observe=observe)
    accepted = [] if references else [102, 103]
    assert [one.place.line for one in told] == [line for line in range(2, 204) if line not in accepted]
    causes = [one.reasons[0].cause for one in told[100:102]] if references else []
    assert [cause and cause.place.line for cause in causes] == ([101, 100] if references else [])
    assert report.totals.rejected == len(told)
