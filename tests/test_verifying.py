"""The verification finds nothing in what a load has stored, finds all that others spoilt, and writes nothing."""

import asyncio
import os
import shutil
import signal
import sqlite3
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Literal
from unittest.mock import Mock
from uuid import UUID

import pytest
from attrs import define, field, make_class
from attrs.validators import gt, optional
from hypothesis import given

import loader
from loader import Closed, Dataset, Event, Job, Opened, Read, Rejected, Report, SqliteTarget, not_blank
from loader.cli import main
from loader.core.errors import TargetError, UpstreamError, UsageError
from loader.datasets import DATASETS
from loader.targets import sqlite
from tests.laws import Content, Files, Models, Setting, carry_out, contents, count, seeds, settings_, traces
from tests.models import loads
from tests.test_cli import NAMES, exit_code, left, of, refused, result, rows, settle_in, started, totals, write
from tests.test_export import valid
from tests.test_laws import law, place

Finding = tuple[str, str, str | None]
"""Of a faulty row: its place, the code and the field."""


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)


def sql(database: str | Path, *statements: str) -> None:
    """Do with a database what another program may do."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


def databases() -> dict[str, tuple[bytes, int]]:
    """All that is beside the data and the result: bytes, and when it was modified."""
    paths = [path for path in sorted(Path().iterdir()) if path.is_file() and path.name != "result.json"]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def without_constraints(name: str, columns: str) -> list[str]:
    """Statements that make a table anew, as a program would that knows of no rules."""
    return [
        f"CREATE TABLE anew ({columns})",
        f"INSERT INTO anew SELECT * FROM {name}",
        f"DROP TABLE {name}",
        f"ALTER TABLE anew RENAME TO {name}",
    ]


BARE = {
    "users": without_constraints("users", "id INTEGER, name TEXT, email TEXT"),
    "products": without_constraints("products", "id INTEGER, name TEXT, price NUMERIC"),
}


def verified(datasets: Sequence[Dataset], directory: Path | str = ".", **options: Any) -> Report:
    jobs = [Job(each, (), SqliteTarget(Path(directory, f"{each.database}.db"))) for each in datasets]
    return asyncio.run(loader.verify(jobs, **options))


def findings(report: Report) -> list[Finding]:
    return [
        (str(each.place), reason.code, reason.field)
        for tally in report.tallies.values()
        for each in tally.rejections
        for reason in each.reasons
    ]


# --- what is sound ---------------------------------------------------------------------------------------------------


def test_what_was_loaded_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    """After a load all is sound: exit code 0, each record counted, the databases as they were, and no other file."""
    main(["-qq", "--rejects", "none", "--export", "none"])
    before = databases()
    assert main(["--verify"]) == 0
    document = valid(result())
    assert totals(document) == {"read": 22, "unchanged": 22}
    assert (document["run"]["verify"], document["run"]["status"]) == (True, "complete")
    assert [(each["target"], each["sources"], each["rejects"]) for each in document["datasets"]] == [
        (f"{name}.db", [], None) for name in NAMES
    ]
    assert databases() == before
    out, err = capsys.readouterr()
    assert "All that is stored is sound." in out
    assert "Sound" in out
    assert "Inserted" not in out
    assert "users: looks through users.db" in err
    assert "users: complete, 8 read, 8 sound, 0 faulty" in err


Loads = tuple[Content, Content | None]


def check_sound(files: Files, databases: Path) -> None:
    seen = traces(databases)
    report = verified(files.models.datasets, databases)
    assert findings(report) == []
    assert report.status == "complete"
    for spec in files.models.specs:
        counts = report.tallies[spec.name].counts
        assert counts.read == counts.unchanged == count(databases, spec)
    assert traces(databases) == seen


@law
@given(contents(), settings_)
def test_any_load_of_the_sample_is_sound(content: Content, setting: Setting) -> None:
    """Whatever is in the files, what is stored of it is never found faulty."""
    with place(content) as (directory, files):
        carry_out(files, directory / "db", setting)
        check_sound(files, directory / "db")


@law
@given(loads(), settings_)
def test_any_load_of_any_models_is_sound(case: Loads, setting: Setting) -> None:
    """Whatever the models are, what is stored is never found faulty, and looking leaves no trace."""
    with place(*case) as (directory, files):
        carry_out(files, directory / "db", setting)
        check_sound(files, directory / "db")


class Size(Enum):
    SMALL = Decimal("0.50")
    LARGE = Decimal("1e2")
    TINY = Decimal("0.00001")


ODD = timezone(timedelta(hours=2, seconds=30))

ALL_KINDS: Sequence[tuple[Any, Sequence[Any]]] = [
    (int, [0, -(2**63), 2**63 - 1]),
    (float, [0.0, -0.0, 1.5e300, 5e-324, 1e16, 12.0]),
    (Decimal, [Decimal(each) for each in ("0", "0.00001", "1e-15", "12.50", "1e14", "999999999999999", "-0.0")]),
    (str, ["", " ", "7", "1e3", "é\U0001f600\t\n", "x" * 5_000]),
    (str | None, ["", None, "a"]),
    (bool, [True, False]),
    (bool | None, [True, None]),
    (date, [date.min, date.max]),
    (datetime, [datetime.min, datetime.max, datetime(2026, 11, 23, 6, 30, 0, 5, ODD)]),
    (time, [time.min, time.max, time(6, 30, tzinfo=ODD)]),
    (UUID, [UUID(int=0), UUID(int=2**128 - 1)]),
    (Size, list(Size)),
    (Literal["a", "b"], ["a"]),
    (int | str, [7, "7", ""]),
    (int | bool, [1, True]),
    (date | bool, [date.min, True, False]),
    (Decimal | float, [Decimal("1.5"), 1.5, 1000.0, Decimal(1000)]),
    (Decimal | str, [Decimal("12.5"), "12.5", "a"]),
    (list[int | None], [[], [1, None]]),
    (list[Decimal], [[Decimal("0.0000001"), Decimal("1.50")]]),
    (list[float], [[1e16, 1e-7, -0.0]]),
    (list[Any], [[1.0, 2**70, "é\x07", None, {"a": [True]}]]),
    (dict[str, date], [{"a": date.max}]),
    (dict[str, list[Size]], [{"b": [Size.LARGE], "a": []}]),
]


@pytest.mark.parametrize(("hint", "values"), ALL_KINDS, ids=[str(hint) for hint, _ in ALL_KINDS])
def test_values_at_the_edges_are_sound(hint: Any, values: Sequence[Any]) -> None:
    """What a record may hold, from a converter at least, is kept by SQLite in a form in which it is found sound."""

    def chosen(at: str) -> Any:
        return values[int(at)]

    value: Any = field(type=hint, converter=chosen)
    things = Dataset("things", make_class("Thing", {"id": field(type=int), "value": value}), "id")
    report = loader.run(
        [Job(things, loader.rows({"id": at, "value": str(at)} for at in range(len(values))), "things.db")]
    )
    assert report.totals.inserted == len(values), findings(report)
    assert findings(verified([things])) == []


def test_what_the_model_makes_of_a_row_is_sound() -> None:
    """Converters are not applied again, nor is what the model computes held against its validators."""

    def with_article(name: str) -> str:
        return f"the {name}"

    def in_cents(cell: str) -> int:
        return int(cell) * 100

    @define
    class Item:
        id: int
        name: str = field(converter=with_article, validator=not_blank)
        cents: int = field(converter=in_cents, validator=gt(0))
        label: str | None = field(init=False, default=None)
        weight: int = field(init=False, validator=gt(5))

        def __attrs_post_init__(self) -> None:
            if self.label is not None:
                raise ValueError("is labelled already")
            self.label = self.name.upper()
            object.__setattr__(self, "weight", 1)

    items = Dataset("items", Item, "id")
    report = loader.run([Job(items, loader.rows([{"id": 1, "name": "nut", "cents": "3"}]), "items.db")])
    assert findings(report) == []
    assert rows("items") == [(1, "the nut", 300, "THE NUT", 1)]
    assert findings(verified([items])) == []


# --- what is faulty --------------------------------------------------------------------------------------------------

DAMAGE: dict[str, tuple[dict[str, list[str]], dict[str, list[tuple[str, list[tuple[str, str, str]]]]]]] = {
    "a dangling order": (
        {"users": ["DELETE FROM users WHERE id = 2"]},
        {"orders": [("2", [("foreign-key", "user_id", "no user 2")])]},
    ),
    "an order that dangles twice": (
        {"orders": ["INSERT INTO orders VALUES (-1, 10, 11, 0)"]},
        {
            "orders": [
                (
                    "-1",
                    [
                        ("constraint-error", "id", "must be > 0: -1"),
                        ("constraint-error", "quantity", "must be > 0: 0"),
                        ("foreign-key", "user_id", "no user 10"),
                        ("foreign-key", "product_id", "no product 11"),
                    ],
                )
            ]
        },
    ),
    "a bad price": (
        {"products": ["UPDATE products SET price = -5 WHERE id = 3", "UPDATE products SET price = 1.234 WHERE id = 5"]},
        {
            "products": [
                ("3", [("constraint-error", "price", "must be > 0: -5")]),
                ("5", [("constraint-error", "price", "must have at most 2 digits after the point: 1.234")]),
            ]
        },
    ),
    "more digits than are kept": (
        {"products": ["UPDATE products SET price = 12345678901234567 WHERE id = 3"]},
        {"products": [("3", [("type-error", "price", "must have at most 15 digits: 12345678901234567")])]},
    ),
    "a blank name": (
        {"products": ["UPDATE products SET name = ' ' WHERE id = 3"], "users": ["UPDATE users SET name = ''"]},
        {
            "users": [
                (key, [("constraint-error", "name", "must not be blank")])
                for key in ("1", "2", "3", "4", "5", "6", "7", "9")
            ],
            "products": [("3", [("constraint-error", "name", "must not be blank")])],
        },
    ),
    "no e-mail address": (
        {"users": ["UPDATE users SET email = 'a@' WHERE id = 3"]},
        {"users": [("3", [("constraint-error", "email", "not an e-mail address: 'a@'")])]},
    ),
    "wrong types": (
        {
            "users": [
                "UPDATE users SET name = x'414200' WHERE id = 3",
                "UPDATE users SET name = CAST(x'41ff' AS TEXT) WHERE id = 4",
                "UPDATE users SET name = 'a' || char(7) WHERE id = 5",
            ],
            "products": [
                "UPDATE products SET price = 'abc' WHERE id = 3",
                "UPDATE products SET price = 9e999 WHERE id = 4",
            ],
            "orders": ["UPDATE orders SET user_id = 'two', quantity = 1.5 WHERE id = 2"],
        },
        {
            "users": [
                ("3", [("type-error", "name", "not text: b'AB\\x00'")]),
                ("4", [("type-error", "name", "holds the control character U+DCFF: 'A\\udcff'")]),
                ("5", [("type-error", "name", "holds the control character U+0007: 'a\\x07'")]),
            ],
            "products": [
                ("3", [("type-error", "price", "not a decimal number: 'abc'")]),
                ("4", [("type-error", "price", "not a finite number: Infinity")]),
            ],
            "orders": [
                (
                    "2",
                    [
                        ("type-error", "user_id", "not of type int: 'two'"),
                        ("type-error", "quantity", "not of type int: 1.5"),
                    ],
                )
            ],
        },
    ),
}
"""What is done to the databases of the sample, and what is found: by dataset the keys, and their reasons."""


@pytest.mark.parametrize("case", DAMAGE)
def test_what_was_spoilt_is_found(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each faulty record is listed with its key and every reason, on the screen and in the result; no other is."""
    statements, told = DAMAGE[case]
    main(["-qq", "--rejects", "none"])
    for name, some in statements.items():
        sql(f"{name}.db", *some)
    before = databases()
    assert main(["--verify"]) == 1
    out, err = capsys.readouterr()
    document = valid(result())
    assert document["run"]["status"] == "rejects"
    for name in NAMES:
        mine = told.get(name, [])
        assert [reasons for _, reasons in refused(document, name)] == [reasons for _, reasons in mine]
        assert [str(each["values"]["id"]) for each in of(document, name)["rejections"]] == [key for key, _ in mine]
        assert {each["source"] for each in of(document, name)["rejections"]} <= {f"{name}.db"}
        assert of(document, name)["rejected"] == len(mine)
        for key, reasons in mine:
            assert f"{name}.db#{key}  {reasons[0][0]}  {reasons[0][1]}: " in err
    assert "Why faulty" in out
    assert "Mend the records where they are stored" in out
    assert databases() == before


TAKEN_TWICE = {
    "an e-mail address": (
        "users",
        "INSERT INTO users VALUES (50, 'A', 'BOB@Example.com'), (51, 'B', 'bob@example.com'), (52, 'C', 'c@x.io')",
        [("50", "unique-error", "email", 2), ("51", "unique-error", "email", 2)],
    ),
    "a key": (
        "users",
        "INSERT INTO users VALUES (1, 'A', 'a@x.io'), (1, 'B', 'b@x.io'), (2, 'Bob', 'bob@example.com')",
        [("1", "primary-key", "id", 1), ("1", "primary-key", "id", 1), ("2", "primary-key", "id", 2)],
    ),
    "a name, but for its case": (
        "products",
        "INSERT INTO products VALUES (-7, 'Laptop', 1), (50, 'LAPTOP', 1)",
        [("-7", "constraint-error", "id", None), ("1", "unique-error", "name", -7)],
    ),
    "NULL": (
        "users",
        "INSERT INTO users VALUES (50, NULL, NULL), (51, NULL, NULL), (NULL, 'C', 'c@x.io'), (NULL, 'D', 'd@x.io')",
        [
            ("None", "constraint-error", "id", None),
            ("None", "constraint-error", "id", None),
            ("50", "constraint-error", "name", None),
            ("50", "constraint-error", "email", None),
            ("51", "constraint-error", "name", None),
            ("51", "constraint-error", "email", None),
        ],
    ),
}


@pytest.mark.parametrize("case", TAKEN_TWICE)
def test_a_table_of_other_hands_may_hold_values_twice(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that keeps nothing unique does not fit; even so all that is in it is listed, and the first is sound."""
    name, statement, told = TAKEN_TWICE[case]
    main(["-qq", "--rejects", "none"])
    sql(f"{name}.db", *BARE[name], statement)
    assert main(["-q", "--verify"]) == 3
    mine = of(valid(result()), name)
    assert [
        (str(each["values"]["id"]), reason["code"], reason["field"], reason.get("holder"))
        for each in mine["rejections"]
        for reason in each["reasons"]
    ] == told
    assert mine["status"] == "failed"
    assert "its primary key is missing, not id" in capsys.readouterr().err
    assert of(result(), "orders")["status"] == "complete"


def test_a_table_without_its_checks_is_looked_through() -> None:
    """A table fits that checks nothing by itself; what is wrong in it is found all the same, and ends with 1."""
    sql(
        "products.db",
        "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT UNIQUE, price NUMERIC)",
        "INSERT INTO products VALUES (1, '', 5), (2, NULL, NULL), (3, 'Anvil', 'x'), (4, 'Bolt', 0.5)",
    )
    assert main(["-q", "--verify", "--export", "a.json"]) == 1
    assert totals(result("a.json")) == {"read": 4, "unchanged": 1, "rejected": 3}
    assert of(result("a.json"), "products")["reasons"] == {"constraint-error": 3, "type-error": 1}


def test_references_of_every_kind_are_looked_up() -> None:
    """Those of several fields, those to the own dataset, and those that may be left out."""

    @define
    class Line:
        order: int
        number: int
        after_order: int | None = None
        after: int | None = None

    @define
    class Note:
        id: str
        order: int | None = None
        number: int | None = None
        reply_to: str | None = None

    lines = Dataset("lines", Line, ("order", "number"), references={("after_order", "after"): "lines"})
    notes = Dataset("notes", Note, "id", references={("order", "number"): "lines", "reply_to": "notes"})
    given = [
        {"order": 1, "number": 1},
        {"order": 1, "number": 2, "after_order": 1, "after": 1},
        {"order": 2, "number": 1},
    ]
    told = [{"id": "a", "order": 1, "number": 2}, {"id": "b", "reply_to": "a"}, {"id": "c", "order": 2, "number": 1}]
    loader.run([Job(lines, loader.rows(given), "lines.db"), Job(notes, loader.rows(told), "notes.db")])
    assert findings(verified([lines, notes])) == []
    sql("lines.db", "UPDATE lines SET after = 9 WHERE number = 2", 'DELETE FROM lines WHERE "order" = 2')
    sql("notes.db", "UPDATE notes SET number = NULL WHERE id = 'a'", "INSERT INTO notes VALUES ('d', 2, NULL, 'z')")
    assert findings(verified([lines, notes])) == [
        ("lines.db#(1, 2)", "foreign-key", "after_order, after"),
        ("notes.db#'c'", "foreign-key", "order, number"),
        ("notes.db#'d'", "foreign-key", "reply_to"),
    ]


def test_rules_of_the_whole_record_are_among_those_of_the_model() -> None:
    """A validator that looks at another field or at the class, and the hook of the model, have their say."""

    @define
    class Span:
        id: int
        first: int
        last: int = field()
        kind: str | None = field(default=None, validator=optional(not_blank))
        longest = 10

        @last.validator
        def _in_order(self, _attribute: object, value: int) -> None:
            if value - self.first > self.longest:
                raise ValueError("is too far off")

        def __attrs_post_init__(self) -> None:
            if self.last < self.first:
                raise ValueError("ends before it begins")

    spans = Dataset("spans", Span, "id")
    loader.run([Job(spans, loader.rows({"id": at, "first": 1, "last": 5} for at in range(4)), "spans.db")])
    assert findings(verified([spans])) == []
    sql("spans.db", "UPDATE spans SET last = 0 WHERE id = 1", "UPDATE spans SET last = 12 WHERE id = 2")
    sql("spans.db", "UPDATE spans SET kind = ' ', last = 'x' WHERE id = 3")
    assert findings(verified([spans])) == [
        ("spans.db#1", "constraint-error", None),
        ("spans.db#2", "constraint-error", "last"),
        ("spans.db#3", "type-error", "last"),
        ("spans.db#3", "constraint-error", "kind"),
    ]


UNKEPT = [
    (bool, "2", "must be kept as 1, not as 2"),
    (date, "'20261123'", "must be kept as '2026-11-23', not as '20261123'"),
    (date, "'soon'", "not a date as 2026-11-23: 'soon'"),
    (datetime, "'2026-11-23T06:30:00Z'", "must be kept as '2026-11-23T06:30:00+00:00', not as '2026-11-23T06:30:00Z'"),
    (UUID, f"'{'A' * 32}'", f"must be kept as '{UUID('a' * 32)}', not as '{'A' * 32}'"),
    (Size, "1", "not one of Decimal('0.50'), Decimal('1E+2'), Decimal('0.00001'): 1"),
    (Literal["a", "b"], "'c'", "not one of 'a', 'b': 'c'"),
    (list[int], "'[1, 2]'", "must be kept as '[1,2]', not as '[1, 2]'"),
    (list[int], "'[\"a\"]'", "not an integer: 'a'"),
    (dict[str, int], "'{'", "not an object of JSON: '{'"),
    (date | bool, "2.5", "not of type date | bool: 2.5"),
    (Decimal | date, "'12.5'", "not of type Decimal | date: '12.5'"),
    (float, "9e999", "not a finite number: inf"),
    (int, "NULL", "must have a value"),
]


@pytest.mark.parametrize(("hint", "text", "told"), UNKEPT)
def test_what_no_load_would_keep_is_told(hint: Any, text: str, told: str) -> None:
    """A value in another form than a load gives it would not be unchanged when loaded again: it is found faulty."""
    things = Dataset("things", make_class("Thing", {"id": field(type=int), "value": field(type=hint)}), "id")
    kind = things.fields[1].kind
    sql("things.db", f"CREATE TABLE things (id INTEGER PRIMARY KEY, value {kind.column})")
    sql("things.db", f"INSERT INTO things VALUES (1, {text})")
    [rejection] = verified([things]).tallies["things"].rejections
    assert [(each.field, each.message) for each in rejection.reasons] == [("value", told)]


def spoilt(models: Models, databases: Path, random: Random) -> Counter[Finding]:
    """Spoil databases of any models, in tables that keep nothing unique; what is to be found in them."""
    blobs: dict[str, tuple[str, int]] = {}
    for dataset in models.datasets:
        path, name = databases / f"{dataset.database}.db", dataset.table
        columns = [(f'"{each.name}"', each.kind.column) for each in dataset.fields]
        listed = ", ".join(column for column, _ in columns)
        sql(path, *without_constraints(name, ", ".join(" ".join(each) for each in columns)).copy())
        others = [each.name for each in dataset.fields if each not in dataset.key_group.fields]
        some = f"rowid IN (SELECT rowid FROM {name} LIMIT 1 OFFSET {random.randrange(3)})"
        if others:
            blobs[dataset.name] = random.choice(others), 1
            sql(path, f"UPDATE {name} SET \"{blobs[dataset.name][0]}\" = x'00' WHERE {some}")
        if random.random() < 0.5:
            sql(path, f"INSERT INTO {name} SELECT {listed} FROM {name} WHERE {some}")
        if random.random() < 0.5:
            sql(
                path,
                f"DELETE FROM {name} WHERE rowid IN (SELECT rowid FROM {name} LIMIT 1 OFFSET {random.randrange(3)})",
            )
    return Counter(chain_of_faults(models, databases))


def chain_of_faults(models: Models, databases: Path) -> Iterator[Finding]:
    """What a plain look at all rows at once finds."""
    held: dict[str, list[dict[str, Any]]] = {}
    for dataset in models.datasets:
        with closing(sqlite3.connect(databases / f"{dataset.database}.db")) as connection:
            connection.row_factory = sqlite3.Row
            held[dataset.name] = [dict(row) for row in connection.execute(f"SELECT * FROM {dataset.table}")]

    def values(row: dict[str, Any], names: str | tuple[str, ...]) -> tuple[Any, ...]:
        return tuple(row[name] for name in ((names,) if isinstance(names, str) else names))

    keys = {each.name: {values(row, each.key) for row in held[each.name]} for each in models.datasets}
    for dataset in models.datasets:
        seen: set[tuple[Any, ...]] = set()
        for row in held[dataset.name]:
            key = values(row, dataset.key)
            shown = ", ".join(map(repr, key)) if len(key) == 1 else f"({', '.join(map(repr, key))})"
            where = f"{databases / dataset.database}.db#{shown}"
            yield from ((where, "type-error", name) for name, value in row.items() if value == b"\0")
            for names, upstream in dataset.references.items():
                refers = values(row, names)
                if None not in refers and b"\0" not in refers and refers not in keys[upstream]:
                    yield where, "foreign-key", names if isinstance(names, str) else ", ".join(names)
            if key in seen:
                yield where, "primary-key", ", ".join((dataset.key,) if isinstance(dataset.key, str) else dataset.key)
            seen.add(key)


@law
@given(loads(12), settings_, seeds)
def test_in_any_databases_what_was_spoilt_is_found(case: Loads, setting: Setting, seed: int) -> None:
    """With a value of a wrong type, a row twice, a row gone, in tables of any models: these are found, and no more."""
    with place(*case) as (directory, files):
        carry_out(files, directory / "db", setting)
        if not all((directory / "db" / f"{each.database}.db").is_file() for each in files.models.datasets):
            return
        told = spoilt(files.models, directory / "db", Random(seed))
        report = verified(files.models.datasets, directory / "db")
        assert Counter(findings(report)) == told
        for name, tally in report.tallies.items():
            assert tally.counts.read == tally.counts.unchanged + tally.counts.rejected, name
            assert (tally.status, "primary key is missing" in str(tally.problem)) == ("failed", True)


# --- databases that cannot be looked through -------------------------------------------------------------------------


def scribble(path: str | Path, at: int) -> None:
    """Spoil some bytes of a file."""
    with Path(path).open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * 64)


def leave_a_log(path: Path, statement: str) -> None:
    """Do what a program does that is killed after its last commit: that is only in the write-ahead log."""
    living = shutil.copy2(path, path.with_name("living.sqlite"))
    with closing(sqlite3.connect(living, isolation_level=None)) as connection:
        connection.execute(statement)
        for ending in ("", "-wal"):
            shutil.copy2(f"{living}{ending}", f"{path}{ending}")
    Path(living).unlink()


UNUSABLE: dict[str, tuple[Callable[[], object], str]] = {
    "the page of the table": (partial(scribble, "users.db", 4096), "users.db: it is damaged"),
    "a cell of the table": (partial(scribble, "users.db", 2 * 4096 - 40), "users.db: it is damaged"),
    "the page of the index": (partial(scribble, "users.db", 3 * 4096 - 40), "users.db: it is damaged"),
    "the schema": (partial(scribble, "users.db", 100), "users.db: it is damaged"),
    "the header": (partial(scribble, "users.db", 0), "users.db: it is not an SQLite database"),
    "the end": (lambda: os.truncate("users.db", 5000), "users.db: it is damaged"),
    "text": (lambda: write("users.db", "id,name,email" * 100), "users.db: it is not an SQLite database"),
    "a missing column": (
        lambda: sql("users.db", "ALTER TABLE users RENAME COLUMN name TO title"),
        "users.db: its table users does not fit: it has no column name",
    ),
    "a view": (
        lambda: sql("users.db", "ALTER TABLE users RENAME TO people", "CREATE VIEW users AS SELECT id FROM people"),
        "users.db: its table users does not fit: it is a view",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_database_that_cannot_be_looked_through_is_told(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 3 and names the file; what refers to it is stopped, and the others are looked through."""
    main(["-qq", "--rejects", "none", "--export", "none"])
    damage, told = UNUSABLE[case]
    damage()
    before = databases()
    assert main(["-q", "--verify"]) == 3
    document = valid(result())
    assert [each["status"] for each in document["datasets"]] == ["failed", "complete", "stopped"]
    assert totals(document) == {"read": 8, "unchanged": 8}
    assert told in capsys.readouterr().err
    assert f"orders cannot be judged without users: {told}" in document["problems"][1]["detail"]
    assert databases() == before


def test_a_locked_database_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A database of another program, which has locked it, is waited for and then given up."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    main(["-qq", "--rejects", "none"])
    with closing(sqlite3.connect("users.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("PRAGMA cache_size = 1")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE users SET name = name || '!'")
        Path("users.db-journal").write_bytes(Path("users.db-journal").read_bytes() or b"\0" * 512)
        assert main(["-q", "--verify", "users"]) == 3
        assert "users.db: another program has locked it" in capsys.readouterr().err
        other.execute("ROLLBACK")


def test_a_database_beside_a_writer_is_read_as_of_its_last_commit() -> None:
    """What another program has not committed yet is not looked at, and its log is left alone."""
    main(["-qq", "--rejects", "none"])
    with closing(sqlite3.connect("users.db", isolation_level=None)) as other:
        other.execute("INSERT INTO users VALUES (20, 'N', 'n@x.io')")
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM users")
        before = {each: Path(each).read_bytes() for each in ("users.db", "users.db-wal")}
        assert main(["-qq", "--verify"]) == 0
        assert {each: Path(each).read_bytes() for each in before} == before
        assert of(result(), "users")["unchanged"] == 9
        other.execute("ROLLBACK")


def writing(event: Event) -> None:
    """Another program, which begins to write once users are being read, and ends before they are."""
    if isinstance(event, loader.Read) and event.dataset == "users":
        sql("users.db", "UPDATE users SET name = 'Other'")


@pytest.mark.parametrize("begun", ["done", "at it"])
@pytest.mark.parametrize("check", [False, True])
def test_a_writer_that_begins_meanwhile_is_told(check: bool, begun: str) -> None:
    """Where only the file is read, without a lock, what another program writes would be missed, or half seen."""
    main(["-qq", "--rejects", "none"])
    with closing(sqlite3.connect("users.db")) if begun == "at it" else nullcontext() as other:
        if other:  # it keeps the log from being taken up
            other.execute("PRAGMA schema_version")
        if check:
            jobs = [Job(each, f"data/{each.name}.csv", f"{each.database}.db") for each in DATASETS]
            report = loader.run(jobs, check=True, observe=writing)
        else:
            report = verified(DATASETS, observe=writing)
    assert report.tallies["users"].status == "failed"
    expected = "users.db: another program has begun to write to it: run again when that is done"
    assert str(report.tallies["users"].problem) == expected


def test_a_log_beside_the_file_that_a_link_names_is_read() -> None:
    """SQLite keeps it there, and so it is looked for there, by a verification and by a check."""
    main(["-qq", "--rejects", "none"])
    Path("real").mkdir()
    for name in ("users.db", "products.db", "orders.db"):
        Path(name).rename(f"real/{name}")
        Path(name).symlink_to(f"real/{name}")
    with closing(sqlite3.connect("real/users.db")) as other:
        other.execute("UPDATE users SET email = 'none' WHERE id = 1")
        other.commit()
        assert [faulty for faulty in findings(verified(DATASETS)) if "users.db#1" in str(faulty)]
        jobs = [Job(each, f"data/{each.name}.csv", f"{each.database}.db") for each in DATASETS]
        assert loader.run(jobs, check=True).tallies["users"].counts.rejected > 1


def test_a_link_that_leads_nowhere_is_told() -> None:
    """A link to itself is no database that is not there, as one that leads to no file is."""
    Path("users.db").symlink_to("users.db")
    problem = "users.db: it cannot be opened: look at the directory and its permissions"
    report = verified(DATASETS, names=["users"])
    assert str(report.tallies["users"].problem) == f"{problem} (Too many levels of symbolic links)"
    assert report.exit_code == 3
    Path("users.db").unlink()
    Path("users.db").symlink_to("nothing.db")
    assert verified(DATASETS, names=["users"]).exit_code == 0


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_told(make: Callable[[Path], None]) -> None:
    """It is not taken for a database in which there is nothing."""
    main(["-qq", "--rejects", "none"])
    Path("users.db").unlink()
    make(Path("users.db"))
    report = verified(DATASETS)
    problem = "users.db is not a file: move it away, or choose another directory with --into"
    assert str(report.tallies["users"].problem) == problem
    assert report.exit_code == 3


def test_a_leftover_log_is_read_and_left() -> None:
    """What a killed program committed last is looked through, and neither database nor log is changed."""
    main(["-qq", "--rejects", "none"])
    leave_a_log(Path("users.db"), "INSERT INTO users VALUES (60, 'L', 'l@')")
    before = databases()
    assert main(["-qq", "--verify"]) == 1
    assert of(result(), "users")["read"] == 9
    after = databases()
    after.pop("users.db-shm", None)  # the index of the log, which a kill leaves as well
    assert after == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_to_will_do() -> None:
    """Verifying needs no right to write."""
    main(["-qq", "--rejects", "none", "--export", "none"])
    Path().chmod(0o555)
    try:
        assert main(["-qq", "--verify", "--export", "none"]) == 0
    finally:
        Path().chmod(0o755)


def test_what_is_not_there_holds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A database to be has no records; one that is gone leaves all that refers to it dangling."""
    main(["-qq", "--rejects", "none"])
    write("users.db")
    assert main(["-q", "--verify", "users"]) == 0
    assert totals(result()) == {}
    Path("users.db").unlink()
    assert main(["-q", "--verify"]) == 1
    assert [each["name"] for each in result()["datasets"]] == ["products", "orders"]
    assert of(result(), "orders")["reasons"] == {"foreign-key": 6}
    sql("users.db", "CREATE TABLE others (id)")
    assert main(["-q", "--verify", "users"]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_a_database_of_several_datasets_is_proved_once() -> None:
    """Datasets that share a file wait for one and the same proof that it is undamaged."""

    @define
    class A:
        id: int

    datasets = [Dataset(name, A, "id", database="all", references={"id": "a"} if name > "a" else {}) for name in "abc"]
    loader.run([Job(each, loader.rows([{"id": 1}]), "all.db") for each in datasets])
    proofs = []

    class Target(SqliteTarget):
        async def verify(self) -> None:
            proofs.append(self.name)
            await super().verify()

    report = asyncio.run(loader.verify([Job(each, (), Target(Path("all.db"))) for each in datasets]))
    assert (report.status, report.totals.unchanged, proofs) == ("complete", 3, ["all.db"])


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--data", "data"], "--verify reads the databases only: leave out --data"),
        (["--rejects", "none", "--check"], "leave out --rejects and --check"),
        (["--on-conflict", "update"], "leave out --on-conflict"),
        (["--max-rejects", "3"], "leave out --max-rejects"),
        (["--ignore-extra"], "leave out --ignore-extra"),
        (["--jobs", "0"], "leave out --jobs"),
        (["--format", "csv"], "leave out --format"),
        (["--delimiter", ";"], "leave out --delimiter"),
        (["--encoding", "latin-1"], "leave out --encoding"),
        (["--init"], "--init goes with no other option"),
        (["users=data/users.csv"], "--verify takes names of datasets, without files: leave out =data/users.csv"),
        (["customers"], "there is no dataset 'customers'; there are users, products, orders"),
        (["users"], "users.db is not there: see --into"),
        ([], ". holds none of users.db, products.db, orders.db: see --into"),
        (["--into", "nowhere"], "nowhere holds none of users.db"),
        (["--export", "nowhere/a.json"], "--export: there is no directory nowhere"),
        (["--export", "users.db"], "--export: users.db is a file that is loaded from or into"),
    ],
)
def test_wrong_use_ends_with_2(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What makes no sense with --verify is refused by its name, before anything is done."""
    assert exit_code("--verify", *arguments) == 2
    assert told in capsys.readouterr().err
    assert left() == set()


def test_what_is_configured_for_loads_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of a load, from the environment or a file, are no concern of a verification; faulty stays faulty."""
    main(["-qq", "--rejects", "none"])
    sql("products.db", "UPDATE products SET price = -1 WHERE id = 1")
    write("pyproject.toml", "[tool.loader]", "max-rejects = 100", 'rejects = "out"', "jobs = 2")
    monkeypatch.setenv("LOADER_CHECK", "true")
    monkeypatch.setenv("LOADER_DATA", "nowhere")
    assert main(["-qq", "--verify"]) == 1
    assert not Path("out").exists()


def test_names_say_what_is_looked_through() -> None:
    """Only the named are looked through; what they refer to is looked up."""
    main(["-qq", "--rejects", "none", "--into", "."])
    sql("users.db", "UPDATE users SET name = '' WHERE id = 1")
    assert main(["-qq", "--verify", "orders", "products"]) == 0
    assert [each["name"] for each in result()["datasets"]] == ["products", "orders"]
    assert main(["-qq", "--verify", "users"]) == 1


def test_own_models_and_another_directory_are_verified(tmp_path: Path) -> None:
    """--models and --into say what is verified, and where."""
    assert main(["--init", "shop"]) == 0
    os.chdir("shop")
    main(["-qq", "--into", "kept"])
    Path("data").rename("gone")
    assert main(["-qq", "--verify", "--models", "models.py", "--into", "kept"]) == 0
    assert totals(result())["unchanged"] == totals(result())["read"] > 4
    os.chdir(tmp_path)


def test_the_live_view_tells_of_faults(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal the table has columns of its own, and the few that are faulty stand in the summary."""
    main(["-qq", "--rejects", "none"])
    sql("products.db", "UPDATE products SET price = -1 WHERE id = 1")
    assert main(["--verify", "--live", "always", "--color", "never"]) == 1
    out, err = capsys.readouterr()
    assert "Faulty" in err
    assert "Inserted" not in err
    assert "products.db#1  price: must be > 0: -1" in out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_even_a_long_statement(number: int, code: int) -> None:
    """A statement that never ends is broken off, and the result says that the verification was interrupted."""
    endless = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n)"
    sql("users.db", f"CREATE VIEW users AS {endless} SELECT i AS id, 'a' AS name, i AS email FROM n")
    with started("--verify", "--live", "always") as process:
        assert process.stderr
        process.stderr.read(1)  # the view is there, and so are the handlers
        with pytest.raises(Exception, match="timed out"):
            process.wait(0.5)
        process.send_signal(number)
        out, err = process.communicate(timeout=5)
    assert process.returncode == code, err
    assert b"Interrupted; nothing was changed." in out
    assert valid(result())["run"]["status"] == "interrupted"


# --- from Python -----------------------------------------------------------------------------------------------------


def test_it_can_be_watched_from_python() -> None:
    """Each dataset is opened, its faulty records are told, and it is closed."""
    main(["-qq", "--rejects", "none"])
    sql("users.db", "UPDATE users SET name = '' WHERE id IN (3, 9)")
    events: list[Event] = []
    report = verified(DATASETS, names=["users"], observe=events.append)
    assert list(report.tallies) == ["users"]
    assert (report.status, report.exit_code) == ("rejects", 1)
    assert isinstance(events[0], Opened)
    assert (events[0].size, events[0].columns) == (8, ("id", "name", "email"))
    [told] = [each.rejections for each in events if isinstance(each, Rejected)]
    assert [str(each.place) for each in told] == ["users.db#3", "users.db#9"]
    assert isinstance(events[-1], Closed)
    with pytest.raises(UsageError, match="there is no dataset 'customers'"):
        verified(DATASETS, names=["customers"])
    with pytest.raises(UsageError, match="refers to dataset 'users', which is not there"):
        verified(DATASETS[1:])


def test_an_observer_that_raises_is_heard_in_the_end() -> None:
    """What it raises is raised when all has been looked through."""
    main(["-qq", "--rejects", "none"])

    def observe(_event: Event) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        verified(DATASETS, observe=observe)


def test_when_cancelled_it_closes_all() -> None:
    """Each dataset is closed as interrupted, and no statement is waited for."""
    sql("users.db", "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, email TEXT COLLATE NOCASE UNIQUE)")
    numbers = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 20000)"
    sql("users.db", f"INSERT INTO users {numbers} SELECT i, 'A', 'a' || i || '@x.io' FROM n")
    events: list[Event] = []

    async def cut_off() -> None:
        def observe(event: Event) -> None:
            events.append(event)
            if len(events) == 10:
                task.cancel()

        jobs = [Job(each, (), SqliteTarget(Path(f"{each.name}.db"))) for each in DATASETS]
        task = asyncio.create_task(loader.verify(jobs, names=["users"], observe=observe))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cut_off())
    assert events[-1] == Closed("users", "interrupted", None, events[-1].seconds)  # type: ignore[union-attr]
    assert len(events) < 20


@pytest.mark.parametrize("how", ["verify", "check"])
def test_a_database_that_is_removed_meanwhile(how: str) -> None:
    """It is told by its name, as any other fault of a database."""
    assert main(["-qq", "users"]) == 1

    def observe(event: Event) -> None:
        if isinstance(event, Opened if how == "verify" else Read):
            Path("users.db").unlink()

    if how == "verify":
        report = verified(DATASETS, names=["users"], observe=observe)
    else:
        report = loader.run([Job(DATASETS[0], "data/users.csv", "users.db")], check=True, observe=observe)
    assert report.exit_code == 3
    assert str(report.tallies["users"].problem).startswith("users.db was removed while it was looked at: run again")


def test_little_memory_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that cannot be looked through for want of memory is told by its name."""
    assert main(["-qq"]) == 1
    monkeypatch.setattr("loader.verifying.restored", Mock(side_effect=MemoryError))
    report = verified(DATASETS)
    assert [tally.status for tally in report.tallies.values()] == ["failed"] * 3
    assert str(report.tallies["users"].problem).startswith(
        "users.db cannot be looked through: the system gives no more memory"
    )


@contextmanager
def measured() -> Iterator[Callable[[], int]]:
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_table() -> None:
    """Ten times the records take no more memory, with references to be looked up and values to be found twice."""
    peaks = []
    for many in (2_000, 20_000):
        for name in NAMES:
            Path(f"{name}.db").unlink(missing_ok=True)
        numbers = f"WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT {many})"
        sql("users.db", "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, email TEXT)")
        sql("users.db", f"INSERT INTO users {numbers} SELECT i, 'A', 'a' || i || '@x.io' FROM n")
        sql("orders.db", "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INT, product_id INT, quantity INT)")
        sql("orders.db", f"INSERT INTO orders {numbers} SELECT i, i, 1, 1 FROM n")
        verified(DATASETS, names=["products"])  # what is imported only once
        with measured() as peak:
            report = verified(DATASETS)
            peaks.append(peak())
        assert (report.totals.read, report.totals.rejected) == (2 * many, many)
    assert peaks[1] < 2 * peaks[0] + 2**20


def test_what_a_target_promises_when_it_is_looked_through() -> None:
    """A target that is not there is undamaged and holds nothing; one that fails says so by a TargetError."""
    main(["-qq", "--rejects", "none", "users"])
    asyncio.run(SqliteTarget(Path("nowhere.db")).verify())
    users = DATASETS[0]

    async def look(path: str) -> tuple[int, list[Any], set[object]]:
        async with SqliteTarget(Path(path)).read(users) as stored:
            some = [record async for records, _ in stored.portions() for record in records]
            return await stored.count(), some, await stored.missing([1, 100])

    assert asyncio.run(look("nowhere.db")) == (0, [], {1, 100})
    assert asyncio.run(look("users.db")) == (8, rows("users"), {100})
    scribble("users.db", 4096)
    with pytest.raises(TargetError, match=r"users\.db: it is damaged"):
        asyncio.run(SqliteTarget(Path("users.db")).verify())
    assert issubclass(UpstreamError, loader.LoaderError)
