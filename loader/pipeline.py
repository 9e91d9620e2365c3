"""The load: a lane for each dataset carries its records from the sources to the target, all lanes at the same time."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor
from contextlib import AsyncExitStack, aclosing, suppress
from itertools import chain, islice, repeat
from math import inf
from pathlib import Path
from time import monotonic
from typing import Literal, TypedDict, Unpack, get_args

from attrs import evolve, field, frozen

from loader.core.claims import Parsed, parsed
from loader.core.dataset import Dataset, in_reference_order
from loader.core.errors import (
    LoaderError,
    ParsingError,
    RejectLimitError,
    ResourceError,
    SourceError,
    TargetError,
    UpstreamError,
    UsageError,
    lacking,
)
from loader.core.events import Closed, Committed, Event, Observer, Opened, Read, Rejected, Status, Untried, Waits
from loader.core.fields import Group
from loader.core.judging import Absent, Refusal, Verdict, claims, judge, suspects
from loader.core.keys import KeySet
from loader.core.limits import RejectLimit
from loader.core.records import Batch, Block, Cause, Place, Reader, Reason, Records, Rejection, without
from loader.core.report import Report, Tally
from loader.executors import Here, Turns
from loader.ledger import Ledger
from loader.sources import FileSource, Rowset, Source, file_source
from loader.targets import PATIENCE, Lookup, Stageable, Table, Target, to_its_end
from loader.targets.sqlite import SqliteTarget
from loader.together import Withheld

OnConflict = Literal["reject", "update"]

BLOCKS_AHEAD = 4
"""How many blocks are parsed before it is their turn."""

_MOST_TOLD = 2**15  # reasons that are kept to be given again
_TOLD_AT_ONCE = 512  # rejections, before others have their turn


def _sources(given: Source | Path | str | Sequence[Source | Path | str]) -> Sequence[Source]:
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    if any(not isinstance(each, Path | str) and not hasattr(each, "open") for each in several):
        raise UsageError("the sources of a job are files, or rows given as loader.rows(...)")
    return tuple(file_source(each) if isinstance(each, Path | str) else each for each in several)


def _target(given: Target | Path | str) -> Target:
    return SqliteTarget(Path(given)) if isinstance(given, Path | str) else given


@frozen
class Job:
    """A dataset to load, from a source or several read in their order, into a target.

    A path stands for the file that is there, or the SQLite database. Without sources the dataset is not loaded; its
    target is where the references of other datasets are looked up.
    """

    dataset: Dataset
    sources: Sequence[Source] = field(converter=_sources)
    target: Target = field(converter=_target)


async def load(
    jobs: Iterable[Job],
    *,
    observe: Observer | None = None,
    check: bool = False,
    on_conflict: OnConflict = "reject",
    max_rejects: RejectLimit | str | int | None = None,
    ignore_extra: bool = False,
    atomic: bool = False,
    executor: Executor | None = None,
) -> Report:
    """Load all jobs at the same time, and return what became of every record.

    `observe` is told each event as it happens; what it raises is raised when the load is done. With `check` nothing is
    written, and the verdicts are the same. With `on_conflict="update"` a record replaces one of its key that an earlier
    run stored. A dataset fails that has more rejects than `max_rejects`. `ignore_extra` leaves out columns that a
    dataset does not have. With `atomic` all datasets are stored at once when all of them are complete, or none is,
    after a failure, a cancellation or a kill, and rejects without `max_rejects` are a failure. `executor` is where
    blocks are parsed; by default, in this thread.

    Raises UsageError, before anything is opened, if the datasets or options cannot go together. What goes wrong with
    a source or a target is told in the report. When cancelled, each lane commits or rolls back its batch, and closes.
    """
    jobs = list(jobs)
    if on_conflict not in get_args(OnConflict):
        raise UsageError(f"on_conflict is one of {', '.join(get_args(OnConflict))}, not {on_conflict!r}")
    if atomic and check:
        raise UsageError("a check stores nothing, an atomic load all or nothing: choose one of them")
    datasets = in_reference_order(job.dataset for job in jobs)
    limit = RejectLimit.parse(str(max_rejects)) if isinstance(max_rejects, str | int) else max_rejects
    loaded = [job for job in jobs if job.sources]
    report = new_report(loaded, check, limit, atomic=atomic)
    tell = Telling(report, observe)
    shared = _Run(
        jobs={job.dataset.name: job for job in jobs},
        ledgers=_new_ledgers(jobs),
        ranks={dataset.name: rank for rank, dataset in enumerate(datasets)},
        turns=Turns(),
        writers={job.target.name: asyncio.Lock() for job in jobs},
        check=check,
        update=on_conflict == "update",
        max_rejects=limit,
        ignore_extra=ignore_extra,
        executor=executor or Here(),
        in_files=all(isinstance(each, FileSource) and each.rereadable for job in jobs for each in job.sources),
        tell=tell,
    )
    await (_all_or_none(loaded, shared, report) if atomic and loaded else _all(loaded, shared))
    if tell.error:
        raise tell.error
    return report


async def _all(jobs: Sequence[Job], run: "_Run") -> None:
    """Let all lanes go to their ends."""
    lanes = [asyncio.create_task(_Lane(job, run).run(), name=job.dataset.name) for job in jobs]
    try:
        await asyncio.gather(*lanes)
    finally:
        for lane in lanes:
            lane.cancel()
        await to_its_end(asyncio.gather(*lanes, return_exceptions=True))


async def _all_or_none(jobs: Sequence[Job], run: "_Run", report: Report) -> None:
    """Let all lanes go to their ends, each beside its database; then bring all into these, if that may be."""
    targets = [job.target for job in jobs]
    if not isinstance(targets[0], Stageable):
        raise UsageError(f"{targets[0].name} cannot be committed together with others")
    together = targets[0].together(targets)
    withheld = Withheld(report, run.tell)
    async with together as staging:
        problem: LoaderError | None = None
        try:
            beside = {job.dataset.name: evolve(job, target=staging.target(job.target.name)) for job in jobs}
            await _all([*beside.values()], evolve(run, jobs={**run.jobs, **beside}, tell=withheld))
            if withheld.is_storable():
                await to_its_end(staging.commit(), staging.hurry)
        except LoaderError as error:
            problem = error
        except Exception as error:
            problem = of_resources(error, "the load cannot be stored")
            if not problem:
                raise
        finally:
            withheld.release(staging.is_stored, problem, staging.at)


def of_resources(error: Exception, what: str) -> ResourceError | None:
    """What is to be said if the system gives too little; None if that is not what the error is about."""
    if not (lack := lacking(error)):
        return None
    problem = ResourceError(f"{what}: the system gives no more {lack}: run again where there is more")
    problem.__cause__ = error
    return problem


class Options(TypedDict, total=False):
    """The options of `load`."""

    observe: Observer | None
    check: bool
    on_conflict: OnConflict
    max_rejects: RejectLimit | str | int | None
    ignore_extra: bool
    atomic: bool
    executor: Executor | None


def run(jobs: Iterable[Job], **options: Unpack[Options]) -> Report:
    """Do what `load` does, for code without an event loop; it takes the same options."""
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise UsageError("an event loop runs here already: write `await loader.load(...)`")
    return asyncio.run(load(jobs, **options))


def new_report(
    jobs: Iterable[Job],
    check: bool = False,
    max_rejects: RejectLimit | None = None,
    verify: bool = False,
    atomic: bool = False,
) -> Report:
    """The report of a load before it begins; an observer that folds the events as they come."""
    tallies = (Tally(job.dataset.name, tuple(each.name for each in job.sources), job.target.name) for job in jobs)
    return Report.of(tallies, check, max_rejects is not None, verify, atomic)


class Telling:
    """Tells the report and the observer; one that raises is told nothing more, and its error waits for the end."""

    def __init__(self, report: Report, observe: Observer | None) -> None:
        self._report, self._observe = report, observe
        self.error: Exception | None = None

    def __call__(self, event: Event) -> None:
        self._report(event)
        if self._observe and not self.error:
            try:
                self._observe(event)
            except Exception as error:
                error.add_note("This was raised by the observer of a load; the load went on to its end without it.")
                self.error = error


@frozen
class _Run:
    """What the lanes of a load share.

    These are the jobs, ledgers and ranks by dataset, whose turn it is to be parsed and to write to a database, the
    options, whether all sources are files, and who is told.
    """

    jobs: Mapping[str, Job]
    ledgers: Mapping[str, Ledger]
    ranks: Mapping[str, int]
    turns: Turns
    writers: Mapping[str, asyncio.Lock]
    check: bool
    update: bool
    max_rejects: RejectLimit | None
    ignore_extra: bool
    executor: Executor
    in_files: bool
    tell: Observer


def _new_ledgers(jobs: Collection[Job]) -> dict[str, Ledger]:
    """A ledger for each dataset; closed, if it is only looked up."""
    referred = {name for job in jobs for name in job.dataset.references.values()}
    ledgers = {job.dataset.name: Ledger(is_referred=job.dataset.name in referred) for job in jobs}
    for job in jobs:
        if not job.sources:
            ledgers[job.dataset.name].close(finished=True)
    return ledgers


@frozen
class _Portion:
    """A block and what parsing made of it, with all that is needed to say where a row stands."""

    source: Source
    reader: Reader
    block: Block
    parsed: Parsed
    rows_before: int
    position: int

    @property
    def batch(self) -> Batch:
        return self.parsed.batch

    def place(self, line: int) -> Place:
        """Where the row of a line stands, or stood at first."""
        return next(self.places([line]))

    def rejections(self, refusals: Sequence[Refusal]) -> Iterator[Rejection]:
        """The refused rows, as they stand in their source."""
        lines = [refusal.line for refusal in refusals]
        cells = self.reader.values(self.block, self.batch.spans(lines))
        return map(Rejection, self.places(lines), cells, [refusal.reasons for refusal in refusals])

    def places(self, lines: Sequence[int]) -> Iterator[Place]:
        numbers = lines if self.source.numbered else repeat(None)
        rows = [self.rows_before + row + 1 for row in self.batch.rows_at(lines)]
        places = map(Place, repeat(self.source.name), numbers, rows)
        origins = self.batch.origins
        if not origins:
            return places
        pairs = zip(lines, places, strict=True)
        return (origins.get(line, place) for line, place in pairs)


@frozen
class _Stored:
    """What became of a batch."""

    inserted: int
    updated: int
    unchanged: int
    keys: KeySet
    refusals: Sequence[Refusal]


class _ExcessError(Exception):
    """More rows are rejected than may be; the first that is one too many begins at `line`."""

    def __init__(self, line: int) -> None:
        self.line = line


class _Lane:
    """The way of one dataset's records."""

    def __init__(self, job: Job, run: _Run) -> None:
        self._job, self._run = job, run
        self._dataset = job.dataset
        self._ledger = run.ledgers[job.dataset.name]
        self._writer = run.writers[job.target.name]
        self._rank = run.ranks[job.dataset.name]
        self._to_come = KeySet()
        self._lookups: dict[str, Lookup] = {}
        self._stack = AsyncExitStack()
        self._read = self._rejected = 0
        self._pending = 0  # records read whose end has not been told
        self._telling: asyncio.Future[None] | None = None  # of the rejections so far
        self._told: dict[Group, dict[object, Reason]] = {}  # by reference, why those of a key are refused
        self._is_hurried = False
        self._waits_to_begin = False  # as has been told
        self._problem: LoaderError | None = None  # what keeps the dataset from being finished

    async def run(self) -> None:
        began = monotonic()
        status: Status = "interrupted"
        try:
            async with self._stack:
                try:
                    await self._load()
                    if not self._run.check:  # which may find out in the end that what it has read was in change
                        self._ledger.close(finished=True)  # that the database is closed is nothing to wait for
                except asyncio.CancelledError:
                    asyncio.get_running_loop().call_later(PATIENCE, self._hurry)
                    raise
                finally:
                    await self._all_told()
            status = "complete"
        except LoaderError as error:
            self._problem = error
            status = "stopped" if isinstance(error, UpstreamError) else "failed"
        except Exception as error:
            status = "failed"
            sources = ", ".join(source.name for source in self._job.sources)
            self._problem = of_resources(error, f"{sources} cannot be loaded into {self._job.target.name}")
            if not self._problem:
                raise
        finally:
            if not self._ledger.closed:
                self._ledger.close(finished=status == "complete")
            self._tell(Closed(self._dataset.name, status, self._problem, monotonic() - began))

    async def _load(self) -> None:
        rowsets = await self._open_sources()
        opening = self._job.target.open(self._dataset, self._run.check)
        async with self._writer:
            table = await self._stack.enter_async_context(opening)
        self._ledger.open(table.had_records)
        if table.had_records and self._dataset.name in self._dataset.references.values():
            await self._look_ahead()
        async with aclosing(self._portions(rowsets)) as portions:
            async for portion in portions:
                await self._carry(portion, table)
        if not self._problem and self._run.max_rejects and self._run.max_rejects.exceeded(self._rejected, self._read):
            self._problem = self._too_many_rejects()
        if self._problem:
            raise self._problem

    async def _open_sources(self) -> list[Rowset]:
        for source in self._job.sources:
            await source.verify()
        rowsets = await self._rowsets(self._stack)
        formats = {source.format for source in self._job.sources}
        columns = dict.fromkeys(chain.from_iterable(rowset.columns for rowset in rowsets))
        size = sum(rowset.size for rowset in rowsets)
        self._tell(Opened(self._dataset.name, frozenset(formats), tuple(columns), size))
        return rowsets

    async def _rowsets(self, stack: AsyncExitStack) -> list[Rowset]:
        return [
            await stack.enter_async_context(source.open(self._dataset, self._run.ignore_extra))
            for source in self._job.sources
        ]

    async def _look_ahead(self) -> None:
        """Note the keys of all rows: one that an earlier run stored is there for others only behind its own row.

        So a record that refers to a later row is refused again when that row is stored already.
        """
        for source in self._job.sources:
            if not source.rereadable:
                raise SourceError(
                    f"{source.name} can be read only once, and {self._dataset.name} refer to each other, some of which "
                    f"are stored already: load them from a file"
                )
        async with AsyncExitStack() as stack:
            portions = await stack.enter_async_context(aclosing(self._portions(await self._rowsets(stack))))
            async for portion in portions:
                self._to_come |= portion.parsed.keys
                self._to_come |= KeySet(self._dataset.key_group.of_drafts(portion.batch.drafts))

    async def _portions(self, rowsets: Sequence[Rowset]) -> AsyncGenerator[_Portion, None]:
        """The sources, cut and parsed, in the order of the rows."""
        begins = 0
        for source, rowset in zip(self._job.sources, rowsets, strict=True):
            rows_before = 0
            async with aclosing(self._parsed(source, rowset)) as blocks:
                async for block, content in blocks:
                    yield _Portion(source, rowset.reader, block, content, rows_before, begins + block.end)
                    rows_before += len(content.batch)
            begins += rowset.size

    async def _parsed(self, source: Source, rowset: Rowset) -> AsyncGenerator[tuple[Block, Parsed], None]:
        """The blocks of a source, each with what is in it; some are parsed ahead, while others are committed."""
        begun: asyncio.Queue[tuple[Block, asyncio.Future[Parsed]] | Exception | None] = asyncio.Queue(BLOCKS_AHEAD)
        ahead: set[asyncio.Future[Parsed]] = set()

        def end(parsing: asyncio.Future[Parsed]) -> None:
            ahead.discard(parsing)
            self._run.turns.give_back()
            if not parsing.cancelled():
                parsing.exception()  # it is raised when it is this block's turn, or nobody wants to know

        async def begin() -> None:
            try:
                await self._let_upstream_begin()
                async for block in rowset.blocks:
                    await self._run.turns.take(self._rank)
                    self._tell_of_beginning()
                    known = [self._run.ledgers[name].known for name in self._dataset.references.values()]
                    parsing = asyncio.wrap_future(
                        self._run.executor.submit(parsed, self._dataset, rowset.reader, block, known)
                    )
                    ahead.add(parsing)
                    parsing.add_done_callback(end)
                    await begun.put((block, parsing))
                await begun.put(None)
            except Exception as error:
                await begun.put(error)
            finally:
                self._tell_of_beginning()

        beginning = asyncio.create_task(begin())
        try:
            while item := await begun.get():
                if isinstance(item, Exception):
                    raise item
                block, parsing = item
                yield block, await parsing
        except BrokenExecutor as error:
            raise ParsingError(
                f"{source.name}: a process that parses was ended from outside, perhaps for want of memory: "
                "run again, with fewer --jobs or none (0)"
            ) from error
        finally:
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
            for parsing in ahead:
                parsing.cancel()

    async def _let_upstream_begin(self) -> None:
        """Wait until the datasets that this one refers to have begun, so that what it waits for is parsed first.

        That is done only where all sources are files: whoever writes to a pipe may want to be rid of some rows before
        he writes others.
        """
        for name in self._dataset.references.values() if self._run.in_files else ():
            ledger = self._run.ledgers[name]
            if name != self._dataset.name and not ledger.begun:
                self._waits_to_begin = True
                self._tell(Waits(self._dataset.name, name))
                while not ledger.begun:
                    await ledger.later_than(ledger.version)

    def _tell_of_beginning(self) -> None:
        """Tell that the wait for others to begin is over, if it has not been told: now it is this one's turn."""
        if self._waits_to_begin:
            self._waits_to_begin = False
            self._tell(Waits(self._dataset.name, None))

    async def _carry(self, portion: _Portion, table: Table) -> None:
        """Take a batch to its end: committed, as far as it can be, and what is left told as untried."""

        def hurry() -> None:
            self._hurry()
            table.hurry()

        self._pending = len(portion.batch)
        self._read += len(portion.batch)
        self._tell(Read(self._dataset.name, len(portion.batch), portion.position))
        try:
            if not self._problem:
                settled, absent = await self._settled(portion.parsed)
                async with self._writer:
                    await to_its_end(self._commit(portion, settled, absent, table), hurry)
        except LoaderError as error:
            self._problem = error
        finally:
            if self._pending:
                self._tell(Untried(self._dataset.name, self._pending))

    async def _settled(self, parsed: Parsed) -> tuple[Parsed, dict[Group, Absent]]:
        """Wait until each reference is stored or known to be absent; leave out what waits for a dataset that failed."""
        absent: dict[Group, Absent] = {}
        for at, (group, name) in enumerate(self._dataset.reference_groups.items()):
            is_own = name == self._dataset.name
            find_missing = self._missing_before if is_own else self._missing
            missing = set(await find_missing(name, parsed.refers[at]))
            upstream = self._run.ledgers[name]
            if missing and not is_own and not upstream.finished:
                self._problem = UpstreamError(
                    f"{self._dataset.name} refers to {name}, which was not finished: mend that and run again"
                )
                first = group.first_line(parsed.batch, missing)
                parsed = Parsed.of(self._dataset, parsed.batch.before(first))
            elif missing:
                singular = self._run.jobs[name].dataset.singular
                causes = {key: upstream.causes.get(key) for key in missing}
                told = self._told.setdefault(group, {})
                if len(told) > _MOST_TOLD:
                    told.clear()
                absent[group] = Absent(singular, causes, is_own, upstream.room if is_own else 0, told)
        return parsed, absent

    async def _missing_before(self, name: str, keys: KeySet) -> KeySet:
        """Those of the keys of the own dataset that are not there before this batch."""
        await self._all_told()
        missing = keys - self._ledger.keys
        to_come = missing & self._to_come
        return to_come | await self._not_stored_earlier(name, missing - to_come)

    async def _missing(self, name: str, keys: KeySet) -> KeySet:
        """Those of the keys that are not there, once all that can be known of them is known."""
        ledger = self._run.ledgers[name]
        looked_up = waits = False
        keys = keys - ledger.found
        try:
            while missing := keys - ledger.keys:
                if not looked_up and (ledger.closed or ledger.had_records) and ledger.had_records is not False:
                    keys = await self._not_stored_earlier(name, missing)
                    ledger.found |= missing - keys
                    looked_up = True
                elif ledger.closed:
                    return missing
                else:
                    if not waits:
                        waits = True
                        self._tell(Waits(self._dataset.name, name))
                    await ledger.later_than(ledger.version)
            return missing
        finally:
            if waits:
                self._tell(Waits(self._dataset.name, None))

    async def _not_stored_earlier(self, name: str, keys: KeySet) -> KeySet:
        if not keys:
            return keys
        try:
            if name not in self._lookups:
                job = self._run.jobs[name]
                opening = job.target.lookup(job.dataset, self._run.check)
                self._lookups[name] = await self._stack.enter_async_context(opening)
            return KeySet(await self._lookups[name].missing(keys))
        except TargetError:
            if self._run.ledgers[name].finished or not self._run.ledgers[name].closed:
                raise
            return keys  # its own lane has failed, and told why

    async def _commit(self, portion: _Portion, parsed: Parsed, absent: dict[Group, Absent], table: Table) -> None:
        """Read, decide, write: one transaction; then tell what it did."""
        limit, excess = self._run.max_rejects, None
        try:
            stored = await self._stored(
                portion, parsed, absent, table, limit.records - self._rejected if limit else inf
            )
        except _ExcessError as error:
            excess = error
            parsed = Parsed.of(self._dataset, parsed.batch.before(excess.line + 1))
            stored = await self._stored(portion, parsed, absent, table, inf)
        self._ledger.had_records = table.had_records
        self._ledger.add(stored.keys)
        self._pending -= len(parsed.batch)
        self._rejected += len(stored.refusals)
        self._tell(Committed(self._dataset.name, stored.inserted, stored.updated, stored.unchanged))
        known = [refusal for refusal in stored.refusals if refusal.key is not None] if self._ledger.room else []
        for refusal, place in zip(known, portion.places([refusal.line for refusal in known]), strict=True):
            self._ledger.reject(Cause(self._dataset.name, refusal.key, place, refusal.reasons[0]))
        if stored.refusals:
            await self._all_told()  # so that no more than one batch waits to be told of
            self._telling = asyncio.ensure_future(self._tell_of(stored.refusals, portion))
        if excess:
            self._problem = self._too_many_rejects()

    async def _tell_of(self, refusals: Sequence[Refusal], portion: _Portion) -> None:
        """Tell of rejections; meanwhile the database is at work on the next batch."""
        rejections, untold = portion.rejections(refusals), len(refusals)
        while not self._is_hurried and (some := tuple(islice(rejections, _TOLD_AT_ONCE))):
            self._tell(Rejected(self._dataset.name, some))
            untold -= len(some)
            await asyncio.sleep(0)
        if untold:
            self._tell(Untried(self._dataset.name, untold))

    async def _all_told(self) -> None:
        if self._telling:
            await to_its_end(self._telling, self._hurry)

    def _hurry(self) -> None:
        """Tell of no more rejections: a load that is cancelled does not wait for them."""
        self._is_hurried = True

    async def _stored(
        self, portion: _Portion, parsed: Parsed, absent: Mapping[Group, Absent], table: Table, most: float
    ) -> _Stored:
        """Store what is free of a batch, then what is found to be sound of the rest.

        Raises _ExcessError, and nothing is stored, if more than `most` are rejected.
        """
        dataset, batch, committed = self._dataset, parsed.batch, self._ledger.keys
        records, verdict = batch.records, Verdict()
        async with table.transaction():
            differing = await table.differing(records) if table.had_records else None
            doubted = suspects(dataset, parsed, absent)
            if differing is None:
                positions, free = without(range(len(records)), sorted(doubted)), records.without(sorted(doubted))
            else:
                positions = [at for at in differing if at not in doubted]
                free = records.only(positions)
            held = await table.insert_free(free)
            doubted.update(positions[at] for at in held)
            some = batch.only(sorted(doubted))
            if len(some):
                stored = await table.find(claims(dataset, some, None if table.had_records else committed))
                verdict = judge(dataset, batch, some, stored, absent, committed, portion.place, self._run.update)
                if len(verdict.refusals) > most:
                    raise _ExcessError(verdict.refusals[int(most)].line)
                await table.update(Records.of(verdict.updates))
                await table.insert(Records.of(verdict.inserts))
        inserted = len(free) - len(held)
        return _Stored(
            inserted + len(verdict.inserts),
            len(verdict.updates),
            len(records) - inserted - len(doubted) + verdict.unchanged,
            parsed.keys - KeySet(dataset.key_group.of_all(some.records)) | KeySet(verdict.keys),
            verdict.refusals,
        )

    def _too_many_rejects(self) -> RejectLimitError:
        return RejectLimitError(
            f"{self._rejected} {self._dataset.name} were rejected, more than max-rejects {self._run.max_rejects}: "
            f"mend them, or allow for more, and run again"
        )

    def _tell(self, event: Event) -> None:
        self._run.tell(event)
