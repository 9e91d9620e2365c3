"""The examples load what they are for, from the command line, and nothing is lost or left dangling."""

import csv
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from tests.examples.generate import jaffle_shop, northwind
from tests.test_cli import ROOT, exit_code, of, refused, result, settle_in, totals

EXAMPLES = ROOT / "tests" / "examples"
NORTHWIND = ("categories", "suppliers", "shippers", "customers", "employees", "products", "orders", "order_details")
FILES: Mapping[str, Mapping[str, str]] = {
    "jaffle_shop": {"raw_customers": "customers", "raw_orders": "orders", "raw_payments": "payments"},
    "northwind": {name: name for name in NORTHWIND},
}
"""For each example its files, and the tables that they go into."""

REFERENCES = {
    "jaffle_shop": [("raw_orders", "user_id", "raw_customers", "id"), ("raw_payments", "order_id", "raw_orders", "id")],
    "northwind": [
        ("products", "supplierID", "suppliers", "supplierID"),
        ("products", "categoryID", "categories", "categoryID"),
        ("employees", "reportsTo", "employees", "employeeID"),
        ("orders", "customerID", "customers", "customerID"),
        ("orders", "employeeID", "employees", "employeeID"),
        ("orders", "shipVia", "shippers", "shipperID"),
        ("order_details", "orderID", "orders", "orderID"),
        ("order_details", "productID", "products", "productID"),
    ],
}
"""Which column of which file holds one of which other."""

MONEY = {"jaffle_shop": ("raw_payments", "amount", "amount"), "northwind": ("orders", "freight", "freight")}
MAKE: Mapping[str, Callable[[Path], None]] = {"jaffle_shop": jaffle_shop, "northwind": northwind}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a directory of the test's own, and forget afterwards what was imported as an example."""
    settle_in(tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("files").mkdir()
    yield
    for name in FILES:
        sys.modules.pop(name, None)


def load(example: str, data: str = "files") -> int:
    return exit_code("-qq", "--models", str(EXAMPLES / f"{example}.py"), "--data", data, "--ignore-extra")


def lines(name: str) -> list[dict[str, str]]:
    """The rows of a file, as the csv module reads them."""
    with Path("files", f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def kept(example: str, file: str, columns: str = "*") -> list[tuple[object, ...]]:
    """What is stored of a file."""
    table = FILES[example][file]
    database = "jaffle_shop" if example == "jaffle_shop" else table
    with closing(sqlite3.connect(f"{database}.db")) as connection:
        return connection.execute(f"SELECT {columns} FROM {table}").fetchall()


def snake(column: str) -> str:
    """The field that a column is kept as."""
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in column.replace("ID", "Id"))


def counts(example: str) -> dict[str, int]:
    return {name: len(kept(example, name)) for name in FILES[example]}


@pytest.mark.parametrize("example", FILES)
def test_every_row_is_stored_once(example: str) -> None:
    """There are as many records as rows; loaded again, all of them are unchanged."""
    MAKE[example](Path("files"))
    rows = {name: len(lines(name)) for name in FILES[example]}
    assert load(example) == 0
    assert counts(example) == rows
    assert totals(result()) == {"read": sum(rows.values()), "inserted": sum(rows.values())}
    assert load(example) == 0
    assert counts(example) == rows
    assert totals(result()) == {"read": sum(rows.values()), "unchanged": sum(rows.values())}


@pytest.mark.parametrize("example", FILES)
def test_references_and_money_are_as_in_the_files(example: str) -> None:
    """Joined by hand, each reference finds its record, and is the one of the file; no cent is lost."""
    MAKE[example](Path("files"))
    assert load(example) == 0
    for name, column, upstream, key in REFERENCES[example]:
        found = [value for (value,) in kept(example, name, snake(column))]
        there = {value for (value,) in kept(example, upstream, snake(key))}
        assert {value for value in found if value is not None} <= there
        told = ["NULL" if value is None else str(value) for value in found]
        assert sorted(told) == sorted(row[column] for row in lines(name))
    name, column, cell = MONEY[example]
    amounts = [Decimal(row[cell]) / (100 if example == "jaffle_shop" else 1) for row in lines(name)]
    assert sum(Decimal(str(value)) for (value,) in kept(example, name, column)) == sum(amounts)


def test_what_northwind_spells_its_own_way_is_understood() -> None:
    """NULL, a date with a time, a flag of 0 or 1, and a quoted line break in a column that is left out."""
    northwind(Path("files"))
    assert load("northwind") == 0
    shipped = [None if row["shippedDate"] == "NULL" else row["shippedDate"][:10] for row in lines("orders")]
    assert {None} < set(shipped)
    assert kept("northwind", "orders", "shipped_date") == [(day,) for day in shipped]
    assert kept("northwind", "products", "discontinued") == [(int(row["discontinued"]),) for row in lines("products")]
    regions = [None if row["region"] == "NULL" else row["region"] for row in lines("customers")]
    assert kept("northwind", "customers", "region") == [(region,) for region in regions]


def test_a_manager_in_a_later_row_costs_a_second_load() -> None:
    """As in the original, employee 1 stands before her manager: she and her orders are rejected, and then loaded."""
    northwind(Path("files"), nancy_first=True)
    hers = {row["orderID"] for row in lines("orders") if row["employeeID"] == "1"}
    sold = [row for row in lines("order_details") if row["orderID"] in hers]
    rows = {name: len(lines(name)) for name in FILES["northwind"]}
    assert hers
    assert load("northwind") == 1
    told = result()
    assert refused(told, "employees") == [(2, [("foreign-key", "reportsTo", "no employee 2 in an earlier row")])]
    assert {each["values"]["orderID"] for each in of(told, "orders")["rejections"]} == hers
    assert of(told, "order_details")["rejected"] == len(sold)
    assert totals(told)["rejected"] == 1 + len(hers) + len(sold)
    assert load("northwind", "rejects") == 0
    assert counts("northwind") == rows
