"""The load from Python: its events, its report, and what it does when something goes wrong around it."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import pytest
from attrs import define, evolve

import loader
from loader import (
    Closed,
    Committed,
    Counts,
    Dataset,
    Event,
    Job,
    Opened,
    Read,
    Rejected,
    RejectLimit,
    SqliteTarget,
    Untried,
    Waits,
    api,
    file_source,
)
from loader.core import errors
from loader.core.errors import DeclarationError
from loader.core.report import Report, Tally
from loader.datasets import DATASETS
from loader.datasets.orders import ORDERS
from loader.datasets.products import PRODUCTS
from loader.datasets.users import USERS
from tests.test_cli import NAMES, environment, left, rows, settle_in, stored, write


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)


def job(dataset: Dataset, *files: str) -> Job:
    return Job(dataset, [file_source(file) for file in files], SqliteTarget(Path(f"{dataset.name}.db")))


def sample() -> list[Job]:
    return [job(dataset, f"data/{dataset.name}.csv") for dataset in DATASETS]


def test_all_public_names_are_there() -> None:
    """What the package says that it offers can be taken from it, in alphabetical order."""
    assert sorted(api.__all__) == api.__all__
    assert all(getattr(loader, name) is getattr(api, name) for name in api.__all__)
    assert {kind.__name__ for kind in get_args(Event)} <= set(api.__all__)
    assert not hasattr(loader, "nonesuch")


def test_the_package_alone_is_cheap_to_import() -> None:
    """Until a public name is wanted nothing else is imported; what can be wanted is known all the same."""
    script = (
        "import sys, loader\n"
        "print([name for name in sys.modules if name.startswith('loader') or name in ('asyncio', 'attrs')])\n"
        "print('Dataset' in dir(loader), loader.__version__)\n"
        "from loader import *\n"
        "print(Dataset is loader.Dataset)\n"
    )
    python = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(python, env=environment(), capture_output=True, timeout=60, check=True, text=True)
    assert done.stdout.splitlines() == ["['loader']", f"True {loader.__version__}", "True"]


def test_the_package_says_that_it_is_typed() -> None:
    """Type checkers believe the annotations of a package that holds a `py.typed` (PEP 561), as its classifier says."""
    assert (Path(loader.__file__).parent / "py.typed").is_file()


# --- events and the report -------------------------------------------------------------------------------------------


def told_by(jobs: list[Job], **options: Any) -> tuple[list[Event], Report]:
    events: list[Event] = []
    return events, loader.run(jobs, observe=events.append, **options)


def test_events_come_in_order() -> None:
    """Of each dataset: opened first, then what is read and what becomes of it, closed at the end."""
    events, _ = told_by(sample())
    for name in NAMES:
        own = [each for each in events if each.dataset == name]
        steps = [type(each) for each in own if not isinstance(each, Waits)]
        assert steps == [Opened, Read, Committed, Rejected, Closed]
        waits = [each.upstream for each in own if isinstance(each, Waits)]
        assert not waits or (name == "orders" and waits[-1] is None)
    at = {type(each): i for i, each in enumerate(events) if each.dataset == "orders"}
    committed = [i for i, each in enumerate(events) if isinstance(each, Committed)]
    assert at[Committed] == max(committed)


def test_events_are_facts() -> None:
    """Each event is of a kind that is documented, is frozen, and says what happened."""
    events, _ = told_by(sample())
    assert {type(each) for each in events} <= set(get_args(Event))
    opened = next(each for each in events if isinstance(each, Opened) and each.dataset == "users")
    size = Path("data/users.csv").stat().st_size
    assert (opened.formats, opened.columns, opened.size) == (frozenset({"csv"}), ("id", "name", "email"), size)
    read = next(each for each in events if isinstance(each, Read) and each.dataset == "users")
    assert (read.records, read.position) == (10, size)
    with pytest.raises(AttributeError):
        read.records = 11  # type: ignore[misc]
    users, orders = (
        next(each.rejections for each in events if isinstance(each, Rejected) and each.dataset == name)
        for name in ("users", "orders")
    )
    assert [str(each.place) for each in users] == ["data/users.csv:9", "data/users.csv:11"]
    assert users[0].values == {"id": "8", "name": "Alice", "email": "alice@example.com"}
    [reason] = users[0].reasons
    assert (reason.code, reason.value, reason.holder, reason.cause) == ("unique-error", "alice@example.com", 1, None)
    cause = orders[0].reasons[0].cause
    assert cause
    assert (cause.dataset, cause.key) == ("products", 7)


def test_a_commit_is_told_after_the_fact() -> None:
    """When a batch is told as committed, another connection sees its records."""
    seen = []

    def look(event: Event) -> None:
        if isinstance(event, Committed):
            seen.append((event.inserted, len(rows(event.dataset))))

    loader.run(sample(), observe=look)
    assert sorted(seen) == [(6, 6), (8, 8), (8, 8)]


def test_the_report_is_the_fold_of_the_events() -> None:
    """What is told, folded anew, gives the report that is returned."""
    events, report = told_by(sample())
    again = Report.of(Tally(each.name, each.sources, each.target) for each in report.tallies.values())
    for event in events:
        again(event)
    assert again.tallies == report.tallies


def test_the_report_says_all() -> None:
    """The report has the counts, the ends, the reasons and the first place of each."""
    report = loader.run(sample())
    assert isinstance(report, Report)
    assert list(report.tallies) == list(NAMES)
    assert report.totals == Counts(read=30, inserted=22, rejected=8)
    assert (report.status, report.exit_code, report.check, report.allowed) == ("rejects", 1, False, False)
    assert report.started.tzinfo is UTC
    assert report.seconds > 0
    orders = report.tallies["orders"]
    assert (orders.sources, orders.target) == (("data/orders.csv",), "orders.db")
    assert (orders.status, orders.problem, orders.waits_for) == ("complete", None, None)
    assert orders.seconds > 0
    assert orders.counts == Counts(read=10, inserted=6, rejected=4)
    assert orders.reasons == {"constraint-error": 2, "foreign-key": 4}
    assert (orders.whys["foreign-key", "user_id"].count, str(orders.whys["foreign-key", "user_id"].first)) == (
        2,
        "data/orders.csv:9",
    )
    assert [each.place.line for each in orders.rejections] == [8, 9, 10, 11]
    assert orders.rejections_omitted == 0
    assert stored() == (8, 8, 6)


def test_options_do_what_the_flags_do() -> None:
    """check, max_rejects, on_conflict and ignore_extra are there for Python as well."""
    assert loader.run(sample(), check=True).totals == Counts(read=30, inserted=22, rejected=8)
    assert left() == set()
    report = loader.run(sample(), max_rejects=RejectLimit.parse("3"))
    assert {name: tally.status for name, tally in report.tallies.items()} == {
        "users": "complete",
        "products": "complete",
        "orders": "failed",
    }
    assert report.exit_code == 3
    assert loader.run(sample(), max_rejects=RejectLimit.parse("4")).exit_code == 0
    write("u.csv", "id,name,email,nick", "1,Al,alice@example.com,x")
    assert loader.run([job(USERS, "u.csv")]).exit_code == 3
    assert loader.run([job(USERS, "u.csv")], ignore_extra=True).exit_code == 1
    assert loader.run([job(USERS, "u.csv")], ignore_extra=True, on_conflict="update").totals.updated == 1


def test_inside_a_loop() -> None:
    """`await load()` does the same where there is a loop already, beside other tasks."""

    async def main() -> tuple[Report, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        report = await loader.load(sample())
        ticking.cancel()
        return report, ticks

    report, ticks = asyncio.run(main())
    assert report.totals.inserted == 22
    assert ticks > 10


# --- an observer that fails ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: str(kind.__name__))
def test_an_observer_that_raises_does_not_stop_the_load(kind: type) -> None:
    """The load goes on to its end without the observer; then the error is raised, with a note that says so."""
    if kind is Untried:
        write("data/products.csv", "no header")
    told: list[Event] = []

    def observe(event: Event) -> None:
        told.append(event)
        if isinstance(event, kind):
            raise LookupError("observer")

    if kind is Waits:  # orders wait for a lane that is not through when they ask
        write("data/users.csv", "id,name,email", *(f"{at},N,u{at}@x.io" for at in range(1, 20_001)))
    with pytest.raises(LookupError, match="observer") as raised:
        loader.run(sample(), observe=observe)
    assert any("observer of a load" in note for note in raised.value.__notes__)
    assert isinstance(told[-1], kind)
    assert sum(isinstance(event, kind) for event in told) == 1
    if kind is not Untried and kind is not Waits:
        assert stored() == (8, 8, 6)


# --- jobs ------------------------------------------------------------------------------------------------------------


def test_a_job_without_sources_is_looked_up() -> None:
    """Its dataset is not loaded and has no tally; references to it are looked up in its target."""
    loader.run([job(USERS, "data/users.csv"), job(PRODUCTS, "data/products.csv")])
    before = Path("users.db").read_bytes()
    report = loader.run([job(USERS), job(PRODUCTS), job(ORDERS, "data/orders.csv")])
    assert list(report.tallies) == ["orders"]
    assert report.totals == Counts(read=10, inserted=6, rejected=4)
    assert Path("users.db").read_bytes() == before


def test_no_jobs_are_no_work() -> None:
    """A load of nothing is complete."""
    report = loader.run([])
    assert (report.status, report.exit_code, report.totals) == ("complete", 0, Counts())


@define
class Egg:
    id: int
    hen: int | None = None


@define
class Hen:
    id: int
    egg: int | None = None


@pytest.mark.parametrize(
    ("jobs", "told"),
    [
        (lambda: [job(ORDERS, "data/orders.csv")], "'orders': user_id refers to dataset 'users', which is not there"),
        (lambda: [job(USERS, "data/users.csv"), *sample()], "two datasets are named 'users'"),
        (
            lambda: [
                job(Dataset("eggs", Egg, "id", references={"hen": "hens"}), "data/users.csv"),
                job(Dataset("hens", Hen, "id", references={"egg": "eggs"}), "data/users.csv"),
            ],
            "in a circle",
        ),
    ],
)
def test_what_cannot_be_loaded_together(jobs: Callable[[], list[Job]], told: str) -> None:
    """A wrong declaration is an error before anything is opened."""
    with pytest.raises(DeclarationError, match=told):
        loader.run(jobs())
    assert left() == set()


# --- where parsing runs ----------------------------------------------------------------------------------------------


@contextmanager
def _processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("executor", [lambda: ThreadPoolExecutor(2), _processes], ids=["threads", "processes"])
def test_any_executor_gives_the_same(executor: Callable[[], Any]) -> None:
    """Parsed in threads or in other processes, the load has the same end."""
    here = loader.run(sample(), check=True)
    with executor() as pool:
        report = loader.run(sample(), executor=pool)
    assert stored() == (8, 8, 6)
    for name in NAMES:
        assert report.tallies[name].counts == here.tallies[name].counts
        assert report.tallies[name].rejections == here.tallies[name].rejections


class _Broken(Executor):
    """An executor that loses its workers."""

    def submit(self, call: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_exception(RuntimeError("the workers are gone"))
        return future


def test_an_executor_that_breaks_ends_the_load() -> None:
    """What is no fault of a row, a file or a database is raised, and every lane is closed."""
    events: list[Event] = []
    with pytest.raises(RuntimeError, match="the workers are gone"):
        loader.run(sample(), observe=events.append, executor=_Broken())
    assert {each.dataset for each in events if isinstance(each, Closed)} == set(NAMES)
    assert not {each.status for each in events if isinstance(each, Closed)} & {"complete"}
    assert stored() == (0, 0, 0)


# --- cancellation ----------------------------------------------------------------------------------------------------


class _SlowTable:
    """A table whose commits return late: what is stored is there long before the lane hears of it."""

    def __init__(self, table: Any, committed: asyncio.Event, seconds: float) -> None:
        self._table, self._committed, self._seconds = table, committed, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._table.transaction():
            yield
        self._committed.set()
        await asyncio.sleep(self._seconds)


class _SlowTarget:
    """An SQLite database whose commits return so many seconds late."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._target, self._seconds = SqliteTarget(path), seconds
        self.committed = asyncio.Event()

    @property
    def name(self) -> str:
        return self._target.name

    @asynccontextmanager
    async def open(self, dataset: Dataset, check: bool) -> AsyncIterator[Any]:
        async with self._target.open(dataset, check) as table:
            yield _SlowTable(table, self.committed, self._seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


@pytest.mark.parametrize("quick", ["none", "products"])
def test_a_cancelled_load_waits_for_the_commit_in_flight(quick: str) -> None:
    """Cancelled while commits are on their way, the load waits for them: what it tells is what is stored.

    So it is as well where another lane, which has nothing in flight, is through with its cancellation at once.
    """
    events: list[Event] = []

    async def main() -> None:
        targets = {name: _SlowTarget(Path(f"{name}.db"), 0 if name == quick else 1) for name in NAMES}
        jobs = [Job(each, [file_source(f"data/{each.name}.csv")], targets[each.name]) for each in DATASETS]
        loading = asyncio.create_task(loader.load(jobs, observe=events.append))
        await asyncio.gather(targets["users"].committed.wait(), targets["products"].committed.wait())
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading

    asyncio.run(main())
    for name in NAMES:
        own = [each for each in events if each.dataset == name]
        assert isinstance(own[-1], Closed)
        told = sum(each.inserted for each in own if isinstance(each, Committed))
        assert told == len(rows(name)) == (0 if name == "orders" else 8)
        ends = told + sum(len(each.rejections) for each in own if isinstance(each, Rejected))
        ends += sum(each.records for each in own if isinstance(each, Untried))
        assert ends == sum(each.records for each in own if isinstance(each, Read))
    assert loader.run(sample()).totals.rejected == 8
    assert stored() == (8, 8, 6)


def test_orders_do_not_wait_until_the_database_of_users_is_closed() -> None:
    """All that users may be is known when they are stored: orders come to their end while that connection closes."""

    async def main() -> loader.Report:
        orders_are_there = asyncio.Event()

        class LingeringTarget(SqliteTarget):
            @asynccontextmanager
            async def open(self, dataset: Dataset, check: bool) -> AsyncIterator[Any]:
                async with super().open(dataset, check) as table:
                    yield table
                    await orders_are_there.wait()

        def observe(event: Event) -> None:
            if isinstance(event, Closed) and event.dataset == "orders":
                orders_are_there.set()

        jobs = sample()
        [users] = [at for at, each in enumerate(jobs) if each.dataset is USERS]
        jobs[users] = evolve(jobs[users], target=LingeringTarget(Path("users.db")))
        async with asyncio.timeout(20):
            return await loader.load(jobs, observe=observe)

    report = asyncio.run(main())
    assert {each.status for each in report.tallies.values()} == {"complete"}
    assert (report.tallies["orders"].counts.rejected, stored()) == (4, (8, 8, 6))


def test_what_a_row_lacks_that_is_left_out_is_nothing_to_the_others() -> None:
    """Of rows from the first on that waits for a failed dataset nothing is said, whatever else they lack."""
    loader.run(sample())
    write("data/products.csv", "no header")
    write("data/orders.csv", "id,user_id,product_id,quantity", "70,1,1,0", "71,1,1,1", "72,1,999,1", "73,888,1,1")
    orders = loader.run(sample()).tallies["orders"]
    assert (orders.status, orders.counts) == ("stopped", Counts(read=4, inserted=1, rejected=1, untried=2))


def test_a_check_of_orders_waits_until_users_were_not_written_to_meanwhile() -> None:
    """Only in the end it is known whether a database that was only read was in change; orders rest on nothing else."""
    with closing(sqlite3.connect("users.db")) as other:
        other.execute("CREATE TABLE things (id)")

        def observe(event: Event) -> None:
            if isinstance(event, Committed) and event.dataset == "users":
                other.execute("INSERT INTO things VALUES (1)")
                other.commit()

        report = loader.run(sample(), observe=observe, check=True)
    statuses = {name: tally.status for name, tally in report.tallies.items()}
    assert statuses == {"users": "failed", "products": "complete", "orders": "stopped"}
    assert {reason.field for each in report.tallies["orders"].rejections for reason in each.reasons} == {"product_id"}


def test_a_load_can_be_given_a_time_limit() -> None:
    """asyncio's own time limit ends a load in order; loading again finishes it."""
    write("data/users.csv", "id,name,email", *(f"{at},N,u{at}@x.io" for at in range(1, 200_001)))

    async def main() -> None:
        async with asyncio.timeout(0.1):
            await loader.load(sample())

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    report = loader.run(sample())
    assert report.tallies["users"].counts.unchanged + report.tallies["users"].counts.inserted == 200_000
    assert len(rows("users")) == 200_000


def test_an_option_that_is_not_there_is_refused() -> None:
    """A way to deal with conflicts that loader does not know is not taken for another."""
    with pytest.raises(errors.UsageError, match="on_conflict is one of reject, update, not 'skip'"):
        loader.run(sample(), on_conflict="skip")  # type: ignore[arg-type]


@define
class Node:
    id: int
    parent: int | None = None


NODES = Dataset("nodes", Node, key="id", references={"parent": "nodes"})


def test_rows_that_refer_to_each_other_must_be_there_twice(tmp_path: Path) -> None:
    """Over stored records, the keys of all rows are looked at first: a generator cannot give its rows again."""

    def load_rows(items: Any) -> Tally:
        return loader.run([Job(NODES, loader.rows(items), tmp_path / "nodes.db")]).tallies["nodes"]

    one = [{"id": 1}, {"id": 2, "parent": 1}]
    assert load_rows(iter(one)).counts == Counts(read=2, inserted=2)
    again = load_rows(iter([{"id": 3, "parent": 2}]))
    assert (again.status, again.counts) == ("failed", Counts())
    assert "rows can be read only once, and nodes refer to each other" in str(again.problem)
    assert load_rows([{"id": 3, "parent": 2}, {"id": 4, "parent": 5}, {"id": 5}]).counts == Counts(3, 2, rejected=1)
    assert load_rows([{"id": 3, "parent": 2}, {"id": 4, "parent": 5}, {"id": 5}]).counts == Counts(
        3, unchanged=2, rejected=1
    )


def test_a_limit_may_be_a_number_or_a_text() -> None:
    """More rejects than a number or a percentage fail their dataset, as on the command line."""
    assert loader.run(sample(), max_rejects=4).status == "rejects"
    assert loader.run(sample(), max_rejects="1%", check=True).status == "failed"
    with pytest.raises(errors.UsageError, match="max-rejects is a number of records or a percentage"):
        loader.run(sample(), max_rejects="few")


def test_what_cannot_be_a_source_is_told(tmp_path: Path) -> None:
    """A list of mappings is not a list of sources."""
    with pytest.raises(errors.UsageError, match=r"given as loader\.rows"):
        Job(USERS, [{"id": 1}], tmp_path / "users.db")  # type: ignore[list-item]


async def _run_in_a_loop() -> None:
    loader.run(sample())


def test_run_is_not_for_a_running_loop() -> None:
    """Where an event loop runs, the way out is told, and nothing is left unawaited."""
    with pytest.raises(errors.UsageError, match=r"await loader\.load"):
        asyncio.run(_run_in_a_loop())


@pytest.mark.parametrize("way", ["IGNORE", "REPLACE"])
def test_a_table_with_a_way_of_its_own_loses_nothing(way: str, tmp_path: Path) -> None:
    """What an adopted table says on conflicts leaves no record out and replaces none: the first in the file wins."""
    path = tmp_path / "users.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL,"
            f" email TEXT NOT NULL COLLATE NOCASE UNIQUE ON CONFLICT {way})"
        )
    items = [{"id": at, "name": "x", "email": f"{at % 2_000}@x.io"} for at in range(1, 3_001)]
    tally = loader.run([Job(USERS, loader.rows(items), path)]).tallies["users"]
    assert (tally.counts.inserted, tally.counts.rejected) == (2_000, 1_000)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*), max(id) FROM users").fetchall() == [(2_000, 2_000)]
