"""The table that a declaration makes, and which tables that are there fit it."""

import sqlite3
from contextlib import closing, nullcontext
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from attrs.validators import and_, ge, gt, in_, le, lt, optional

from loader.core.dataset import Dataset
from loader.core.values import email, max_places, not_blank
from loader.datasets.orders import ORDERS
from loader.datasets.products import PRODUCTS
from loader.datasets.users import USERS
from loader.targets.tables import Column, UniqueIndex, create_table, misfit, quoted


@define
class Odd:
    group: int = field(validator=[ge(1), le(9)])
    select: str | None = field(default=None, validator=optional(not_blank))
    order: Decimal | None = field(default=None, validator=optional(gt(Decimal(0))))
    share: Decimal = field(default=Decimal(1), validator=and_(gt(Decimal(0)), lt(Decimal(1)), max_places(2)))
    kind: str = field(default="a", validator=in_("abc"))
    mail: str = field(default="a@b", validator=[email, not_blank])


@define
class Tag:
    tag: str


ODDS = Dataset("values", Odd, "group", unique=("select", "mail"), nocase=("mail",))
TAGS = Dataset("tags", Tag, "tag")


@define
class Seat:
    row: str
    place: str
    guest: str | None = None


SEATS = Dataset("seats", Seat, ("row", "place"), ("row", ("place", "guest"), "guest"), ("row", "place"))
ALL = pytest.mark.parametrize("dataset", [USERS, PRODUCTS, ORDERS, ODDS, TAGS, SEATS], ids=lambda one: one.name)


def described(database: sqlite3.Connection, table: str) -> tuple[list[Column], list[UniqueIndex]]:
    """The columns of a table, and its unique indexes, as SQLite tells them."""
    unique: list[UniqueIndex] = []
    for _, index, is_unique, _, partial in database.execute(f"PRAGMA index_list({quoted(table)})").fetchall():
        if is_unique:
            parts = database.execute(f"PRAGMA index_xinfo({quoted(index)})").fetchall()
            unique.append(
                (tuple((name, collation) for _, _, name, _, collation, in_key in parts if in_key), bool(partial))
            )
    return database.execute(f"PRAGMA table_info({quoted(table)})").fetchall(), unique


@ALL
def test_the_table_that_is_made_fits(dataset: Dataset) -> None:
    """SQLite takes the statement, and finds in the table what the dataset wants: so a second run adopts it."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(create_table(dataset))
        columns, unique = described(database, dataset.name)
    assert misfit(dataset, "table", columns, unique) is None
    assert [name for _, name, *_ in columns] == list(dataset.names)


def test_the_statement_of_the_sample() -> None:
    """Types, collation, keys and checks stand in the table as the declaration has them."""
    assert create_table(USERS) == (
        'CREATE TABLE "users" ('
        '"id" INTEGER NOT NULL PRIMARY KEY CHECK (typeof("id") IN (\'integer\')) CHECK ("id" > 0), '
        '"name" TEXT NOT NULL CHECK (typeof("name") IN (\'text\')) CHECK (trim("name") <> \'\'), '
        '"email" TEXT COLLATE NOCASE NOT NULL UNIQUE CHECK (typeof("email") IN (\'text\')))'
    )


GOOD = {"group": 1, "select": None, "order": None, "share": 0.5, "kind": "a", "mail": "a@b"}


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"group": 9, "select": "x", "order": 2, "share": 0.99}, True),
        ({"group": 0}, False),
        ({"group": 10}, False),
        ({"group": 1.5}, False),
        ({"group": "1"}, True),
        ({"share": 1}, False),
        ({"share": None}, False),
        ({"share": "x"}, False),
        ({"mail": " "}, False),
        ({"mail": b"a@b"}, False),
        ({"kind": None}, False),
    ],
    ids=str,
)
def test_the_table_demands_what_sql_can_say(change: dict[str, Any], fits: bool) -> None:
    """Types, needed values, bounds and blanks are checked again; text that is a number becomes one."""
    values = list((GOOD | change).values())
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(create_table(ODDS))
        if fits:
            database.execute('INSERT INTO "values" VALUES (?, ?, ?, ?, ?, ?)', values)
        else:
            with pytest.raises(sqlite3.IntegrityError):
                database.execute('INSERT INTO "values" VALUES (?, ?, ?, ?, ?, ?)', values)


def test_no_value_is_unique_for_many() -> None:
    """Two records may both have no value where it is unique; two of a mail address in another case may not be."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(create_table(ODDS))
        database.execute("INSERT INTO \"values\" VALUES (1, NULL, 1, 0.5, 'a', 'a@b'), (2, NULL, 1, 0.5, 'a', 'c@d')")
        with pytest.raises(sqlite3.IntegrityError, match=r"values\.mail"):
            database.execute("INSERT INTO \"values\" VALUES (3, NULL, 1, 0.5, 'a', 'A@B')")
        with pytest.raises(sqlite3.IntegrityError, match=r"values\.group"):
            database.execute("INSERT INTO \"values\" VALUES (2, NULL, 1, 0.5, 'a', 'x@y')")


@pytest.mark.parametrize(
    ("seat", "taken"),
    [
        (("b", "y", "Cid"), None),
        (("A", "y", "Cid"), "seats.row"),
        (("b", "X", "Ann"), "seats.place, seats.guest|seats.guest"),
        (("b", "y", "Ann"), "seats.guest"),
        (("b", "X", "ann"), None),
    ],
)
def test_a_key_knows_capitals_though_parts_of_it_are_unique_without(seat: Any, taken: str | None) -> None:
    """The key is compared as it stands, also where one of its fields is unique without regard to case."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(create_table(SEATS))
        database.execute("INSERT INTO seats VALUES ('a', 'x', 'Ann')")
        assert database.execute("SELECT 1 FROM seats WHERE (row, place) IN (VALUES ('A', 'X'))").fetchall() == []
        with pytest.raises(sqlite3.IntegrityError, match=taken) if taken else nullcontext():
            database.execute("INSERT INTO seats VALUES (?, ?, ?)", seat)


def test_keys_that_differ_in_case_are_two() -> None:
    """A part of the key may be unique without regard to case in a combination, and the key is not."""
    pairs = Dataset("seats", Seat, ("row", "place"), [("row", "guest")], "row")
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(create_table(pairs))
        database.execute("INSERT INTO seats VALUES ('a', 'x', 'Ann'), ('A', 'x', 'Ben')")
        with pytest.raises(sqlite3.IntegrityError, match=r"seats\.row, seats\.guest"):
            database.execute("INSERT INTO seats VALUES ('a', 'y', 'Ben')")


COLUMNS: list[Column] = [
    (0, "tag", "TEXT", 0, None, 1),
    (1, "more", "", 0, None, 0),
]
WORDS = Dataset("tags", Tag, "tag")


@pytest.mark.parametrize(
    ("type_", "column", "fault"),
    [
        ("table", {}, None),
        ("view", {}, "it is a view"),
        ("table", {1: "word"}, "it has no column tag"),
        ("table", {1: "TAG"}, "it has no column tag"),
        ("table", {2: "INTEGER"}, "its column tag is INTEGER, not TEXT"),
        ("table", {2: ""}, "its column tag is of no type, not TEXT"),
        ("table", {2: "BLOB"}, "its column tag is BLOB, not TEXT"),
        ("table", {2: "varchar(10)"}, None),
        ("table", {2: "Native Character(70)"}, None),
        ("table", {2: "CLOB"}, None),
        ("table", {2: "CHARINT"}, "its column tag is CHARINT, not TEXT"),
        ("table", {3: 1}, None),
        ("table", {5: 0}, "its primary key is missing, not tag"),
    ],
)
def test_a_table_fits_or_says_where_it_does_not(type_: str, column: dict[int, Any], fault: str | None) -> None:
    """Each way not to fit has its words; the type of a column is what SQLite makes of its name."""
    changed: Any = tuple(column.get(at, value) for at, value in enumerate(COLUMNS[0]))
    assert misfit(WORDS, type_, [changed, COLUMNS[1]], []) == fault


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ((1, "more", "TEXT", 1, None, 0), "its column more must have a value, and tags have none for it"),
        ((1, "more", "TEXT", 1, "'x'", 0), None),
        ((1, "more", "TEXT", 0, None, 2), "its primary key is tag, more, not tag"),
    ],
)
def test_a_column_of_others_may_not_need_a_value(more: Column, fault: str | None) -> None:
    """A column that the dataset does not know is fine as long as it can be left out."""
    assert misfit(WORDS, "table", [COLUMNS[0], more], []) == fault


@pytest.mark.parametrize(
    ("unique", "fault"),
    [
        ([((("mail", "NOCASE"),), False), ((("select", "BINARY"),), False)], None),
        ([((("mail", "NOCASE"),), False)], "select (BINARY) is not unique in it"),
        ([((("mail", "NOCASE"),), True), ((("select", "BINARY"),), False)], "mail (NOCASE) is "),
        ([((("mail", "BINARY"),), False), ((("select", "BINARY"),), False)], "mail (BINARY) is unique in it"),
        (
            [
                ((("mail", "NOCASE"),), False),
                ((("select", "BINARY"),), False),
                ((("kind", "BINARY"), ("order", "BINARY")), False),
            ],
            "kind (BINARY) and order (BINARY) is unique in it",
        ),
    ],
)
def test_unique_values_are_those_of_the_dataset(unique: list[UniqueIndex], fault: str | None) -> None:
    """An index that is missing, partial, of another collation, or one too many does not fit."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(create_table(ODDS))
        columns, _ = described(database, "values")
    found = misfit(ODDS, "table", columns, unique)
    assert found == fault or (found is not None and fault is not None and found.startswith(fault))


@pytest.mark.parametrize("name", ["x", "order", 'a"b', "it's", "a b", "ü", '";--'])
def test_any_name_can_be_quoted(name: str) -> None:
    """A quoted name is one identifier, whatever stands in it."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"CREATE TABLE {quoted(name)} (x)")
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [(name,)]


def test_what_the_model_computes_is_its_own_affair() -> None:
    """The validators of a field that does not come from a source are not applied to what the model makes of it."""

    @define
    class Box:
        id: int
        size: int = field(init=False, validator=gt(5))

        def __attrs_post_init__(self) -> None:
            object.__setattr__(self, "size", 1)

    assert '"size" > 5' not in create_table(Dataset("boxes", Box, "id"))
