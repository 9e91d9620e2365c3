"""The machinery of the property tests: generated files, targets that pause, a witness, and the laws as checks."""

import asyncio
import hashlib
import json
import pickle
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, ParamSpec, TypeVar

from hypothesis import strategies as st

from loader import Closed, Committed, Counts, Dataset, Event, FileSource, Job, Report, SqliteTarget, Tally, Target, load
from loader.core.fields import Group
from loader.core.records import Block, Record, Records
from loader.core.records import Place as LoadersPlace
from loader.core.records import Reason as LoadersReason
from loader.datasets import DATASETS
from loader.pipeline import new_report
from loader.sources import Rowset
from loader.targets import Lookup, Stageable, Staging, Table
from tests import oracle
from tests.oracle import Outcome, Place, Reason, Row, Spec

P = ParamSpec("P")
T = TypeVar("T")

NAMES = ("users", "products", "orders")

# --- files -----------------------------------------------------------------------------------------------------------

_FAULTY_INTEGERS = ["0", "-3", "1_0", " 7", "+5", "1.0", "\u0661", "", "x", "9223372036854775808", "1" + "0" * 24]
_NAMES = ["Alice", "alice", "Bob", "Zoë", "a,b", 'the "B"', "two\nlines", "tab\tbed", "7"]
_FAULTY_NAMES = ["", "  ", "\u00a0", "bell\x07"]
_FAULTY_EMAILS = ["", "a", "a@", "@x.io", ".a@x.io", "a.@x.io", "a..b@x.io", "a b@x.io", "é@x.io", "a@-x.io", "a@x..io"]
_PRICES = ["1", "1.5", "1.50", "700.00", "0.01", "9999999999999.99"]
_FAULTY_PRICES = ["", "0", "-50.00", "1e3", "NaN", "9.999", "-0.001", "1234567890123456", "12345678901234.567", ".5"]

NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?"
"""The texts that JSON may write as numbers."""


class Pool(NamedTuple):
    """Cells that are sound, and cells that are not, or refer to nothing; few of them, so that rows collide.

    `bare` is a pattern of what may stand in JSON as it is, not as a string.
    """

    sound: list[str]
    faulty: list[str]
    bare: str = NUMBER


@dataclass(frozen=True)
class Models:
    """What is loaded: as the oracle sees it, in the order of references, as it is declared, and cells by field."""

    specs: tuple[Spec, ...] = field(repr=False)
    datasets: tuple[Dataset, ...]
    pools: Mapping[tuple[str, str], Pool] = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.specs)

    def __getitem__(self, name: str) -> Spec:
        return next(spec for spec in self.specs if spec.name == name)

    def columns(self, name: str) -> tuple[str, ...]:
        return tuple(one.header for one in self[name].fields)


SAMPLE = Models(
    oracle.SAMPLE,
    DATASETS,
    {
        ("users", "id"): Pool(["1", "2", "3", "4", "5", "6"], _FAULTY_INTEGERS),
        ("users", "name"): Pool(_NAMES, _FAULTY_NAMES, ""),
        ("users", "email"): Pool(
            ["a@x.io", "A@X.io", "b@x.io", "c@x.io", "d.e@x.io", "f@x.io", "g@x.io"], _FAULTY_EMAILS, ""
        ),
        ("products", "id"): Pool(["1", "2", "3", "4", "5", "9223372036854775807"], _FAULTY_INTEGERS),
        ("products", "name"): Pool(_NAMES, _FAULTY_NAMES, ""),
        ("products", "price"): Pool(_PRICES, _FAULTY_PRICES),
        ("orders", "id"): Pool(["1", "2", "3", "4", "5", "6", "7", "8"], _FAULTY_INTEGERS),
        ("orders", "user_id"): Pool(["1", "2", "3", "4", "5", "6"], ["-5", "99", *_FAULTY_INTEGERS]),
        ("orders", "product_id"): Pool(
            ["1", "2", "3", "4", "5", "9223372036854775807"], ["-5", "99", *_FAULTY_INTEGERS]
        ),
        ("orders", "quantity"): Pool(["1", "2"], _FAULTY_INTEGERS),
    },
)


@dataclass(frozen=True)
class Draft:
    """A row before it is written: its cells, and whether it is written as it should be."""

    cells: tuple[str, ...]
    shape: str = "sound"  # or "missing", "extra", "unreadable"


_SHAPES = ["sound"] * 12 + ["missing", "extra", "unreadable"]


@st.composite
def drafts(draw: st.DrawFn, name: str, most: int, models: Models = SAMPLE) -> list[Draft]:
    """Rows of a dataset, some of them repeated as they are."""
    cells = []
    for one in models[name].fields:
        sound, faulty, _ = models.pools[name, one.name]
        cells.append(st.sampled_from(sound * (1 + 8 * len(faulty) // len(sound)) + faulty))
    rows = draw(st.lists(st.builds(Draft, st.tuples(*cells), st.sampled_from(_SHAPES)), max_size=most))
    for at in draw(st.lists(st.integers(0, 99), max_size=3)) if rows else []:
        rows.insert(at % (len(rows) + 1), rows[at * 7 % len(rows)])
    return rows


@dataclass(frozen=True)
class Content:
    """What the files of a load hold, and how they are written."""

    rows: Mapping[str, Sequence[Draft]]
    formats: Mapping[str, str]
    style: int = 0
    models: Models = SAMPLE


def contents(most: int = 10, models: Models = SAMPLE) -> st.SearchStrategy[Content]:
    """Files of all datasets, each in any format."""
    return st.builds(
        Content,
        st.fixed_dictionaries({name: drafts(name, most, models) for name in models.names}),
        st.fixed_dictionaries({name: st.sampled_from(["csv", "json", "ndjson"]) for name in models.names}),
        st.integers(0, 2**16),
        st.just(models),
    )


block_sizes = st.sampled_from([1, 1, 30, 120, 2**18])
seeds = st.integers(0, 2**32)


@dataclass(frozen=True)
class Files:
    """Files that were written: where, and the rows that the oracle sees in them."""

    paths: Mapping[str, Sequence[Path]]
    rows: Mapping[str, Sequence[Row]]
    models: Models = SAMPLE

    def without(self, *names: str) -> "Files":
        return Files(
            {name: paths for name, paths in self.paths.items() if name not in names},
            {name: rows for name, rows in self.rows.items() if name not in names},
            self.models,
        )


def write(directory: Path, content: Content) -> Files:
    """Write the files, at times two of a dataset, in a style that the seed decides."""
    directory.mkdir()
    random = Random(content.style)
    paths: dict[str, list[Path]] = {}
    rows: dict[str, list[Row]] = {}
    for name, given in content.rows.items():
        ending = content.formats[name]
        halves = [given]
        if len(given) > 3 and random.random() < 0.3:
            halves = [given[: len(given) // 2], given[len(given) // 2 :]]
        paths[name], rows[name] = [], []
        for number, half in enumerate(halves):
            path = directory / f"{name}{number or ''}.{ending}"
            text, found = _WRITERS[ending](content.models, name, half, random)
            path.write_bytes(text.encode() or b"\n")
            paths[name].append(path)
            rows[name] += [row._replace(place=(path.name, row.place[1])) for row in found]
    return Files(paths, rows, content.models)


_Written = tuple[str, list[Row]]
"""The text of a file, and its rows, whose places lack the name of the file."""


def _csv(models: Models, name: str, rows: Sequence[Draft], random: Random) -> _Written:
    columns = list(models.columns(name))
    if random.random() < 0.3:
        random.shuffle(columns)
    omitted = _some_optional(models[name], random) if random.random() < 0.2 else frozenset()
    columns = [column for column in columns if column not in omitted]
    newline = random.choice(["\n", "\r\n"])
    quoting = random.choice([0, 0, 0.2])

    def written(cell: str) -> str:
        quote = set(cell) & set('",\n') or random.random() < quoting
        return '"' + cell.replace('"', '""') + '"' if quote else cell

    found: list[Row] = []
    texts: list[str] = []
    line = 2
    for row in rows:
        by_column = dict(zip(models.columns(name), row.cells, strict=True))
        if row.shape != "sound":  # of several lines only a record that fits its columns can be
            by_column = {column: cell.replace("\n", " ") for column, cell in by_column.items()}
        cells = {column: by_column[column] for column in columns}
        extra: tuple[str | None, ...] = ()
        if row.shape == "missing" and len(columns) > 1:
            cells = dict(list(cells.items())[: random.randrange(1, len(columns))])
        text = ",".join(map(written, cells.values())) or '""'
        if row.shape == "extra":
            text, extra = f"{text},surplus", (None,)
        if row.shape == "unreadable":
            text = random.choice(['5,a"b,c', '5,"a"b,c', '"5,open'])
        text += newline * random.choice([1, 1, 1, 2])
        texts.append(text)
        found.append(Row(("", line), None if row.shape == "unreadable" else cells, extra, omitted))
        line += text.count("\n")
    for at in range(len(texts)):  # a quote that is never closed is unambiguous only if no other follows
        if texts[at].startswith('"5,open') and any('"' in text for text in texts[at + 1 :]):
            texts[at] = texts[at].replace('"5,open', '5,o"pen')
    text = ",".join(columns) + newline + "".join(texts)
    return text.removesuffix(newline) if rows and random.random() < 0.2 else text, found


def _some_optional(spec: Spec, random: Random) -> frozenset[str]:
    """Columns that need not be there."""
    return frozenset(one.header for one in spec.fields if one.optional and random.random() < 0.5)


def _object(models: Models, name: str, row: Draft, random: Random, at: int) -> tuple[str, Row]:
    cells = dict(zip(models.columns(name), row.cells, strict=True))
    if row.shape == "missing" and len(cells) > 1:
        cells = dict(list(cells.items())[: random.randrange(1, len(cells))])
    cells = {column: cell for column, cell in cells.items() if column not in _some_optional(models[name], random)}
    members = []
    for one in models[name].fields:
        if one.header not in cells:
            continue
        cell = cells[one.header]
        value = json.dumps(cell, ensure_ascii=random.random() < 0.5)
        if cell == "" and random.random() < 0.5:
            value = "null"
        if cell and re.fullmatch(models.pools[name, one.name].bare, cell) and random.random() < 0.5:
            value = cell
        members.append(f"{json.dumps(one.header)}: {value}")
    random.shuffle(members)
    extra: tuple[str | None, ...] = ()
    if row.shape == "extra":
        members, extra = [*members, '"nick": {"is": ["a", 1]}'], ("nick",)
    optional = frozenset(one.header for one in models[name].fields if one.optional)
    return "{" + ", ".join(members) + "}", Row(("", at), cells, extra, optional)


def _ndjson(models: Models, name: str, rows: Sequence[Draft], random: Random) -> _Written:
    text = ""
    found: list[Row] = []
    for row in rows:
        line = text.count("\n") + 1
        if row.shape == "unreadable":
            written = random.choice(['{"id": 5,', "17", "null", '{"id": 5, "id": 6}', "]"])
            found.append(Row(("", line), None))
        else:
            written, sound = _object(models, name, row, random, line)
            found.append(sound)
        text += written + random.choice(["\n", "\n", "\r\n", "\n\n"])
    return text.rstrip("\n") if rows and random.random() < 0.2 else text, found


def _json(models: Models, name: str, rows: Sequence[Draft], random: Random) -> _Written:
    elements = []
    found: list[Row] = []
    for number, row in enumerate(rows, 1):
        if row.shape == "unreadable":
            elements.append(random.choice(["17", "null", '{"id": 5, "id": 6}', "[1, [2]]", '"a, b"']))
            found.append(Row(("", number), None))
        else:
            written, sound = _object(models, name, row, random, number)
            elements.append(written.replace(", ", random.choice([", ", ",\n  "])))  # no cell holds ", "
            found.append(sound)
    return "[" + random.choice([",", ",\n", " , "]).join(elements) + random.choice(["]", "\n]\n"]), found


_WRITERS: dict[str, Callable[[Models, str, Sequence[Draft], Random], _Written]] = {
    "csv": _csv,
    "ndjson": _ndjson,
    "json": _json,
}

# --- databases, seen from outside ------------------------------------------------------------------------------------


def tables(directory: Path, models: Models = SAMPLE) -> dict[str, oracle.Table]:
    """What the databases hold, by a connection of our own: committed records only."""
    return {spec.name: _table(directory, spec) for spec in models.specs}


def _table(directory: Path, spec: Spec) -> oracle.Table:
    names = [one.name for one in spec.fields]
    records = _ask(directory, spec, f"SELECT {_listed(names)} FROM {_quoted(spec.table or spec.name)}")
    rows = [dict(zip(names, record, strict=True)) for record in records]
    return {oracle.value_of(row, spec.key): row for row in rows}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(_quoted, names))


def _quoted(name: str) -> str:
    return f'"{name}"'


def _ask(directory: Path, spec: Spec, question: str) -> list[Any]:
    path = directory / f"{spec.database or spec.name}.db"
    if not path.is_file():
        return []
    with closing(sqlite3.connect(path)) as connection:
        names = [spec.table or spec.name]
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", names).fetchall():
            return []
        return connection.execute(question).fetchall()


def count(directory: Path, spec: Spec) -> int:
    """How many records a table holds."""
    question = f"SELECT count(*) FROM {_quoted(spec.table or spec.name)}"
    return int((_ask(directory, spec, question) or [[0]])[0][0])


def dangling(directory: Path, models: Models = SAMPLE) -> list[str]:
    """The stored records that refer to what is not stored; they are read first, for nothing is ever removed."""
    found = []
    for spec in models.specs:
        for group, name in spec.references.items():
            upstream = models[name]
            values = _ask(directory, spec, f"SELECT {_listed(group)} FROM {_quoted(spec.table or spec.name)}")
            wanted = {value for value in values if None not in value}
            keys = f"SELECT {_listed(upstream.key)} FROM {_quoted(upstream.table or name)}"
            there = set(_ask(directory, upstream, keys)) if wanted else set()
            found += [f"{spec.name}: no {name} {value}" for value in wanted - there]
    return found


def traces(directory: Path) -> dict[str, tuple[str, int]]:
    """Every file in a directory: a hash of its bytes, and when it was modified."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(directory.iterdir())
    }


# --- what may happen while a load runs -------------------------------------------------------------------------------


class Schedule:
    """Pauses at every await of the targets, drawn from a seed; one step of the target of a dataset may fail."""

    def __init__(self, seed: int = 0) -> None:
        self.look: Callable[[], None] = lambda: None
        self.cancel: Callable[[], object] = lambda: None
        """What cancels the load."""
        self._random = Random(seed)
        self._countdown: tuple[str, int, Exception] | None = None

    def fail_at(self, name: str, step: int, error: Exception) -> None:
        """Let the target of a dataset fail, once, at that step or the next at which a database can."""
        self._countdown = (name, step, error)

    async def pause(self, name: str, can_fail: bool = True) -> None:
        for _ in range(self._random.choice((0, 0, 0, 1, 2, 5))):
            await asyncio.sleep(0)
        if self._random.random() < 0.1:
            await asyncio.sleep(0.001)
        self.look()
        if self._countdown and self._countdown[0] == name:
            _, steps, error = self._countdown
            self._countdown = (name, steps - 1, error)
            if steps <= 1 and can_fail:
                self._countdown = None
                raise error

    async def hold(self, name: str) -> None:
        """Called just before each COMMIT."""

    async def linger(self, name: str) -> None:
        """Called just after each COMMIT."""


@dataclass(frozen=True)
class PausingTarget:
    """A target that does what another does, and pauses before and after each call."""

    inner: Target
    schedule: Schedule

    @property
    def name(self) -> str:
        return self.inner.name

    @asynccontextmanager
    async def open(self, dataset: Dataset, check: bool) -> AsyncIterator[Table]:
        await self.schedule.pause(dataset.name)
        async with self.inner.open(dataset, check) as table:
            await self.schedule.pause(dataset.name)
            pausing: Any = PausingTable(table, dataset.name, self.schedule)
            yield pausing
            await self.schedule.pause(dataset.name, can_fail=False)

    @asynccontextmanager
    async def lookup(self, dataset: Dataset, check: bool) -> AsyncIterator[Lookup]:
        await self.schedule.pause(dataset.name)
        async with self.inner.lookup(dataset, check) as lookup:
            yield PausingLookup(lookup, dataset.name, self.schedule)
            await self.schedule.pause(dataset.name, can_fail=False)

    @asynccontextmanager
    async def together(self, targets: Sequence[Any]) -> AsyncIterator[Any]:
        assert isinstance(self.inner, Stageable)
        async with self.inner.together([each.inner for each in targets]) as staging:
            yield PausingStaging(staging, self.schedule)


class PausingStaging:
    """A staging that pauses before and after it brings all in; what fails then fails as the step of a dataset."""

    def __init__(self, inner: Staging, schedule: Schedule) -> None:
        self.inner, self.schedule = inner, schedule

    @property
    def is_stored(self) -> bool:
        return self.inner.is_stored

    @property
    def at(self) -> str:
        return self.inner.at

    def target(self, name: str) -> Any:
        return PausingTarget(self.inner.target(name), self.schedule)

    def hurry(self) -> None:
        self.inner.hurry()

    async def commit(self) -> None:
        for name in NAMES:
            await self.schedule.pause(name)
        await self.inner.commit()
        await self.schedule.linger("all")
        await self.schedule.pause("all", can_fail=False)


@dataclass(frozen=True)
class PausingLookup:
    inner: Lookup
    name: str
    schedule: Schedule

    async def missing(self, keys: Collection[object]) -> set[object]:
        await self.schedule.pause(self.name)
        missing = await self.inner.missing(keys)
        await self.schedule.pause(self.name)
        return missing


class PausingTable:
    def __init__(self, inner: Table, name: str, schedule: Schedule) -> None:
        self.inner, self.name, self.schedule = inner, name, schedule

    @property
    def had_records(self) -> bool:
        return self.inner.had_records

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        await self.schedule.pause(self.name)
        async with self.inner.transaction():
            await self.schedule.pause(self.name)
            yield
            await self.schedule.pause(self.name)
            await self.schedule.hold(self.name)
        await self.schedule.linger(self.name)
        await self.schedule.pause(self.name, can_fail=False)

    def hurry(self) -> None:
        self.inner.hurry()

    async def find(self, claims: Mapping[Group, Sequence[object]]) -> list[Record]:
        await self.schedule.pause(self.name)
        found = await self.inner.find(claims)
        await self.schedule.pause(self.name)
        return found

    async def differing(self, records: Records) -> Sequence[int]:
        await self.schedule.pause(self.name)
        positions = await self.inner.differing(records)
        await self.schedule.pause(self.name)
        return positions

    async def insert(self, records: Records) -> None:
        await self.schedule.pause(self.name)
        await self.inner.insert(records)
        await self.schedule.pause(self.name)

    async def insert_free(self, records: Records) -> Sequence[int]:
        await self.schedule.pause(self.name)
        held = await self.inner.insert_free(records)
        await self.schedule.pause(self.name)
        return held

    async def update(self, records: Records) -> None:
        await self.schedule.pause(self.name)
        await self.inner.update(records)
        await self.schedule.pause(self.name)


class LateExecutor(Executor):
    """Parses from pickled arguments to a pickled result, as if elsewhere, and gives results late, in any order."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()
        parcel = pickle.dumps((call, args, kwargs))

        def work() -> None:
            if future.set_running_or_notify_cancel():
                unpacked, its_args, its_kwargs = pickle.loads(parcel)
                future.set_result(pickle.loads(pickle.dumps(unpacked(*its_args, **its_kwargs))))

        asyncio.get_running_loop().call_later(self._random.choice((0, 0, 0.0005, 0.002)), work)
        return future


@dataclass(frozen=True)
class BreakingSource:
    """A file that can be read no further after so many blocks."""

    inner: FileSource
    blocks: int
    error: Exception

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def format(self) -> str:
        return self.inner.format

    @property
    def numbered(self) -> bool:
        return self.inner.numbered

    @property
    def rereadable(self) -> bool:
        return self.inner.rereadable

    async def verify(self) -> None:
        await self.inner.verify()

    @asynccontextmanager
    async def open(self, dataset: Dataset, ignore_extra: bool) -> AsyncIterator[Rowset]:
        async with self.inner.open(dataset, ignore_extra) as rowset:

            async def some() -> AsyncIterator[Block]:
                number = 0
                async for block in rowset.blocks:
                    if number == self.blocks:
                        break
                    number += 1
                    yield block
                raise self.error

            yield Rowset(rowset.reader, rowset.columns, rowset.size, some())


class Witness:
    """Sees every event and every step of the targets, and notes what it finds to be against the laws at that moment."""

    def __init__(self, directory: Path, report: Report, models: Models) -> None:
        self.directory = directory
        self.models = models
        self.report = report
        """What the events come to, folded by a report of our own."""
        self.events: list[Event] = []
        self.dangling: list[str] = []
        self.miscounts: list[str] = []
        self.check = report.check
        self._before = {spec.name: count(directory, spec) for spec in models.specs}

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.report(event)
        self.look()
        if isinstance(event, Committed | Closed) and not self.check:
            told = self.report.tallies[event.dataset].counts.inserted
            there = count(self.directory, self.models[event.dataset]) - self._before[event.dataset]
            if told != there:
                self.miscounts.append(f"{told} {event.dataset} are said to be inserted, and {there} are")

    def look(self) -> None:
        """Law 3, at this very moment."""
        if not self.check:
            self.dangling += dangling(self.directory, self.models)


@dataclass
class Trial:
    """A load that was carried out."""

    files: Files
    before: Mapping[str, oracle.Table]
    after: Mapping[str, oracle.Table]
    report: Report
    witness: Witness
    interrupted: bool = False
    steps: int = 0


@dataclass
class Setting:
    """What a load is to be independent of."""

    block_size: int = 2**18
    seed: int = 0
    late: bool = True
    schedule: Schedule = field(init=False)

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.seed)

    def jobs(self, files: Files, databases: Path, target: Callable[[Path], Any] = SqliteTarget) -> list[Job]:
        """A job for each dataset; those without a file are only looked up."""
        jobs = []
        for dataset in files.models.datasets:
            paths = files.paths.get(dataset.name, ())
            sources: Any = [FileSource(path, path.suffix[1:], self.block_size) for path in paths]
            pausing: Any = PausingTarget(target(databases / f"{dataset.database}.db"), self.schedule)
            jobs.append(Job(dataset, sources, pausing))
        return jobs


settings_ = st.builds(Setting, block_sizes, seeds, st.booleans())


async def attempt(
    files: Files,
    databases: Path,
    setting: Setting,
    jobs: list[Job] | None = None,
    cancel: tuple[int, ...] = (),
    **options: Any,
) -> Trial:
    """Load, with a witness; `cancel` says at which steps of the targets and events the load is cancelled."""
    models = files.models
    before = tables(databases, models)
    jobs = setting.jobs(files, databases) if jobs is None else jobs
    loaded = [job for job in jobs if job.sources]
    report = new_report(loaded, options.get("check", False), options.get("max_rejects"))
    witness = Witness(databases, report, models)
    moments = 0

    def moment() -> None:
        nonlocal moments
        moments += 1
        if moments in cancel:
            loading.cancel()

    def look() -> None:
        witness.look()
        moment()

    def observe(event: Event) -> None:
        witness(event)
        moment()

    setting.schedule.look = look
    executor = LateExecutor(setting.seed) if setting.late else None
    loading = asyncio.ensure_future(load(jobs, observe=observe, executor=executor, **options))
    setting.schedule.cancel = loading.cancel
    try:
        report, interrupted = await loading, False
    except asyncio.CancelledError:
        report, interrupted = witness.report, True
    return Trial(files, before, tables(databases, models), report, witness, interrupted, moments)


def carry_out(
    files: Files, databases: Path, setting: Setting | None = None, jobs: list[Job] | None = None, **options: Any
) -> Trial:
    """Do what `attempt` does, in an event loop of its own."""
    databases.mkdir(exist_ok=True)
    return asyncio.run(attempt(files, databases, setting or Setting(), jobs, **options))


# --- the laws --------------------------------------------------------------------------------------------------------


def expected(trial: Trial, **options: Any) -> dict[str, Outcome]:
    """What the oracle says that the load of a trial must come to."""
    return oracle.load(trial.files.rows, trial.before, specs=trial.files.models.specs, **options)


def verdicts(tally: Tally) -> oracle.Rejections:
    """The rejections that a tally holds, as the oracle tells them."""
    return [(_place(one.place), sorted(map(_reason, one.reasons), key=str)) for one in tally.rejections]


def _place(place: LoadersPlace) -> Place:
    return Path(place.source).name, (place.row or 0) if place.line is None else place.line


def _reason(reason: LoadersReason) -> Reason:
    cause = reason.cause
    told = oracle.Cause(cause.dataset, cause.key, _place(cause.place)) if cause else None
    return Reason(reason.code, reason.field, reason.holder, told)


def check_serial(trial: Trial, outcomes: Mapping[str, Outcome]) -> None:
    """Law 1: databases, counts, statuses and rejections are those of the serial loop."""
    for name in trial.files.models.names:
        if not trial.witness.check:
            assert trial.after[name] == outcomes[name].records, name
    for name, tally in trial.report.tallies.items():
        outcome = outcomes[name]
        ends = ("read", "inserted", "updated", "unchanged", "rejected", "untried")
        assert {end: getattr(tally.counts, end) for end in ends} == {end: getattr(outcome, end) for end in ends}, name
        assert tally.status == outcome.status, name
        assert [place for place, _ in verdicts(tally)] == [place for place, _ in outcome.rejections], name


def check_first_wins(trial: Trial) -> None:
    """Law 2: whoever holds what a row of the file wants stood before it there, or was stored before the load."""
    for name, tally in trial.report.tallies.items():
        spec = trial.files.models[name]
        rows = [(row.place, oracle.understand(spec, row)[0]) for row in trial.files.rows[name]]
        order = {place: at for at, (place, _) in enumerate(rows)}
        rejected = {_place(one.place) for one in tally.rejections}
        accepted = [(place, values) for place, values in rows if place not in rejected]
        for one in tally.rejections:
            for reason in one.reasons:
                if reason.holder is None:
                    continue
                keys = [
                    oracle.value_of(values, spec.key)
                    for place, values in accepted
                    if order[place] < order[_place(one.place)]
                ]
                is_before = reason.holder in keys
                assert is_before or reason.holder in trial.before[name], f"{name}: {one.place}: {reason}"
        for place, values in accepted[: 0 if tally.counts.untried else None]:
            stored = trial.after[name][oracle.value_of(values, spec.key)]
            assert stored == values, f"{name}: {place} is not what is stored"


def is_stored(trial: Trial, name: str, place: LoadersPlace) -> bool:
    """Whether what the row at a place says is in the database in the end."""
    spec = trial.files.models[name]
    [row] = [row for row in trial.files.rows[name] if row.place == _place(place)]
    values, _ = oracle.understand(spec, row)
    return trial.after[name].get(oracle.value_of(values, spec.key)) == values


def check_no_dangling(trial: Trial) -> None:
    """Law 3: at no step of a target, no event and not in the end did a record lack what it refers to."""
    assert trial.witness.dangling == []
    assert dangling(trial.witness.directory, trial.files.models) == []


def check_conservation(trial: Trial) -> None:
    """Law 5: the ends add up to what was read, and the tables grew, at each event, by what was inserted."""
    assert trial.witness.miscounts == []
    for name, tally in trial.report.tallies.items():
        counts = tally.counts
        ends = counts.inserted + counts.updated + counts.unchanged + counts.rejected + counts.untried
        assert counts.read == ends, name
        assert counts.rejected == len(tally.rejections) + tally.rejections_omitted == len(tally.rejections), name
        if not trial.witness.check:
            assert counts.inserted == len(trial.after[name]) - len(trial.before[name]), name
        assert tally.reasons == _sums(reason.code for one in tally.rejections for reason in one.reasons), name
    totals = trial.report.totals
    assert totals == sum((tally.counts for tally in trial.report.tallies.values()), Counts())
    folded = trial.witness.report
    assert folded.tallies == trial.report.tallies
    assert (folded.status, folded.exit_code) == (trial.report.status, trial.report.exit_code)


def _sums(codes: Iterator[str]) -> dict[str, int]:
    listed = list(codes)
    return {code: listed.count(code) for code in sorted(set(listed))}


def check_every_reason(trial: Trial, outcomes: Mapping[str, Outcome]) -> None:
    """Law 6: each rejection bears all its reasons, with the holders and causes, the row's number and its cells."""
    for name, tally in trial.report.tallies.items():
        assert verdicts(tally) == outcomes[name].rejections, name
        rows = {row.place: row for row in trial.files.rows[name]}
        for one in tally.rejections:
            row = rows[_place(one.place)]
            in_file = [place for place in rows if place[0] == row.place[0]]
            assert one.place.row == in_file.index(row.place) + 1, one.place
            if row.cells is None:
                assert "_raw" in one.values, one.place
            elif row.place[0].endswith(".csv"):
                cells = {column: cell for column, cell in one.values.items() if column != "_raw"}
                assert cells == row.cells, one.place
            else:
                assert {*one.values} >= {*row.cells}, one.place


def check_all(trial: Trial, outcomes: Mapping[str, Outcome]) -> None:
    """Laws 1, 2, 3, 5 and 6."""
    check_serial(trial, outcomes)
    check_first_wins(trial)
    check_no_dangling(trial)
    check_conservation(trial)
    check_every_reason(trial, outcomes)


def told(report: Report) -> dict[str, object]:
    """All that a report says, times and databases' names aside."""
    return {
        tally.name: (
            tally.counts,
            tally.status,
            str(tally.problem),
            type(tally.problem),
            tally.rejections,
            tally.whys,
            tally.size,
        )
        for tally in report.tallies.values()
    }
