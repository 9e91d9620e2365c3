"""The same records, from whatever source they come, have the same end."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import loader
from loader import Counts, Dataset, Job, Rejected, Source
from loader.datasets import DATASETS, PRODUCTS, USERS
from tests.test_cli import left, rows, settle_in

TEXTS: dict[str, list[tuple[str, ...]]] = {
    "users": [
        ("1", "Alice", "alice@example.com"),
        ("2", "Žofie\tB", "zofie@example.com"),
        ("3", " ", "c@example.com"),
        ("4", "D", "d@"),
        ("5", "E", "ALICE@example.com"),
        ("1", "F", "f@example.com"),
        ("2", "Žofie\tB", "zofie@example.com"),
        ("-1", "H\x07", "h..h@example.com"),
    ],
    "products": [
        ("1", "Laptop", "1000.5"),
        ("2", "Pen", "0.01"),
        ("3", "Laptop", "1"),
        ("4", "Air", "-0.5"),
        ("5", "Dust", "0.001"),
    ],
    "orders": [
        ("1", "1", "1", "2"),
        ("2", "1", "3", "1"),
        ("3", "9", "2", "0"),
        ("4", "4", "2", "5"),
        ("5", "2", "2", "1"),
    ],
}
TYPES: dict[str, Any] = {
    "int": (int, pa.int64()),
    "str": (str, pa.string()),
    "Decimal": (Decimal, pa.decimal128(18, 3)),
}


def typed(dataset: Dataset) -> list[tuple[Any, ...]]:
    return [
        tuple(TYPES[each.kind.name][0](cell) for each, cell in zip(dataset.fields, row, strict=True))
        for row in TEXTS[dataset.name]
    ]


def mappings(dataset: Dataset) -> list[dict[str, Any]]:
    return [dict(zip(dataset.header, row, strict=True)) for row in typed(dataset)]


def as_csv(dataset: Dataset) -> Path:
    path = Path(f"{dataset.name}.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([dataset.header, *TEXTS[dataset.name]])
    return path


def as_ndjson(dataset: Dataset) -> str:
    path = Path(f"{dataset.name}.ndjson")
    rows = (dict(zip(dataset.header, row, strict=True)) for row in TEXTS[dataset.name])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def as_parquet(dataset: Dataset, rows: Sequence[tuple[Any, ...]], types: Sequence[Any]) -> Path:
    columns = [pa.array(cells, kind) for cells, kind in zip(zip(*rows, strict=True), types, strict=True)]
    path = Path(f"{dataset.name}.parquet")
    pq.write_table(pa.table(columns, list(dataset.header)), path, row_group_size=2)
    return path


def as_typed_parquet(dataset: Dataset) -> Path:
    return as_parquet(dataset, typed(dataset), [TYPES[each.kind.name][1] for each in dataset.fields])


def as_text_parquet(dataset: Dataset) -> Path:
    return as_parquet(dataset, TEXTS[dataset.name], [pa.string()] * len(dataset.fields))


def generated(dataset: Dataset) -> Source:
    def generate() -> Iterator[dict[str, Any]]:
        yield from mappings(dataset)

    return loader.rows(generate())


def generated_later(dataset: Dataset) -> Source:
    async def generate() -> AsyncIterator[dict[str, Any]]:
        for row in mappings(dataset):
            await asyncio.sleep(0)
            yield row

    return loader.rows(generate())


def instances(dataset: Dataset) -> Source:
    """Instances of the model, made without its validators, as not all are valid."""
    with attrs.validators.disabled():
        return loader.rows([dataset.model(*row) for row in typed(dataset)])


SOURCES: list[Callable[[Dataset], Any]] = [
    as_csv,
    as_ndjson,
    as_typed_parquet,
    as_text_parquet,
    lambda dataset: loader.rows(mappings(dataset)),
    lambda dataset: loader.rows(dict(zip(dataset.header, row, strict=True)) for row in TEXTS[dataset.name]),
    generated,
    generated_later,
    instances,
]


def ends(make: Callable[[Dataset], Any]) -> tuple[Any, ...]:
    """What is in the databases after a load, the counts, and each rejection: its row and its reasons."""
    told: list[tuple[Any, ...]] = []

    def observe(event: loader.Event) -> None:
        if isinstance(event, Rejected):
            told.extend(
                (event.dataset, each.place.row, [(r.code, r.field, _message(r)) for r in each.reasons])
                for each in event.rejections
            )

    report = loader.run([Job(each, make(each), f"{each.name}.db") for each in DATASETS], observe=observe)
    assert report.status == "rejects"
    contents = [rows(each.name) for each in DATASETS]
    for each in DATASETS:
        Path(f"{each.name}.db").unlink()
    return contents, {name: tally.counts for name, tally in report.tallies.items()}, sorted(told)


def _message(reason: loader.Reason) -> str:
    """What it says, but for the place of the cause, and the zeros at the end of a decimal column."""
    cause = str(reason.cause.place) if reason.cause else "?"
    return reason.message.replace(cause, "there").replace("-0.500", "-0.5")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)


def test_every_source_has_the_same_end() -> None:
    """The databases, the counts, and each reason are the same, however typed and wherever from."""
    first, *others = [ends(make) for make in SOURCES]
    assert first[1] == {
        "users": Counts(read=8, inserted=2, unchanged=1, rejected=5),
        "products": Counts(read=5, inserted=2, rejected=3),
        "orders": Counts(read=5, inserted=2, rejected=3),
    }
    for other in others:
        assert other == first


def test_a_load_leaves_only_its_databases(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed, and no result and no rejects are written, that were not asked for."""
    loader.run([Job(each, loader.rows(mappings(each)), f"{each.name}.db") for each in DATASETS])
    assert left() == {"users.db", "products.db", "orders.db"}
    assert capfd.readouterr() == ("", "")


def test_a_job_takes_paths() -> None:
    """A source or a path, one or several, and a database or its path, are the same job."""
    path = as_csv(USERS)
    for sources in (path, str(path), loader.file_source(path), [path], (str(path), loader.rows([]))):
        for target in ("users.db", Path("users.db"), loader.SqliteTarget(Path("users.db"))):
            job = Job(USERS, sources, target)
            assert (job.sources[0], job.target) == (loader.file_source(path), loader.SqliteTarget(Path("users.db")))
    assert Job(USERS, (), "users.db").sources == ()
    with pytest.raises(loader.LoaderError, match="must end in"):
        Job(USERS, "users.txt", "users.db")


def test_sources_of_any_kind_are_read_in_their_order() -> None:
    """Files and rows can be mixed: the first of them that claims a value gets it, and places tell them apart."""
    later = [{"id": 1, "name": "Other", "email": "o@x.io"}, {"id": 9, "name": "I", "email": "i@x.io"}]
    report = loader.run([Job(USERS, [as_csv(USERS), loader.rows(later, "later")], "users.db")])
    assert report.tallies["users"].sources == ("users.csv", "later")
    assert [str(each.place) for each in report.tallies["users"].rejections][-2:] == ["users.csv:9", "later#1"]
    assert rows("users")[-1] == (9, "I", "i@x.io")


@pytest.mark.parametrize("number", [10, 2_500])
def test_what_came_before_an_error_is_stored(number: int) -> None:
    """Where an iterable raises, its dataset fails; all rows before that are stored, and loading again finishes it."""

    def users(broken: bool) -> Iterator[dict[str, Any]]:
        yield from ({"id": at, "name": "N", "email": f"{at}@x.io"} for at in range(1, number + 1))
        if broken:
            raise ConnectionError("gone")

    report = loader.run([Job(USERS, loader.rows(users(broken=True)), "users.db")])
    assert (report.status, report.exit_code) == ("failed", 3)
    assert str(report.tallies["users"].problem) == "rows cannot be read to the end: ConnectionError: gone"
    assert report.totals == Counts(read=number, inserted=number)
    report = loader.run([Job(USERS, loader.rows(users(broken=False)), "users.db")])
    assert (report.status, report.totals) == ("complete", Counts(read=number, unchanged=number))


def test_a_load_of_rows_without_end_can_be_cancelled() -> None:
    """A generator that never ends does not keep the event loop from its other tasks."""

    def without_end() -> Iterator[dict[str, Any]]:
        for at in count(1):
            yield {"id": at, "name": "N", "email": f"{at}@x.io"}

    async def main() -> None:
        async with asyncio.timeout(0.3):
            await loader.load([Job(USERS, loader.rows(without_end()), "users.db")])

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert len(rows("users")) % 1_000 == 0


def test_a_rejection_can_be_mended_in_python() -> None:
    """The values of a rejected row are a row themselves."""
    rejected: list[dict[str, Any]] = []

    def observe(event: loader.Event) -> None:
        if isinstance(event, Rejected):
            rejected.extend(dict(each.values) for each in event.rejections)

    loader.run([Job(PRODUCTS, loader.rows(mappings(PRODUCTS)), "products.db")], observe=observe)
    mended = [row | {"name": f"{row['name']} 2", "price": Decimal(row["id"])} for row in rejected]
    assert loader.run([Job(PRODUCTS, loader.rows(mended), "products.db")]).totals == Counts(read=3, inserted=3)
    assert len(rows("products")) == 5
