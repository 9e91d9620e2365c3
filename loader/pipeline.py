"""The load: a lane for each dataset carries its records from the sources to the target, all lanes at the same time."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, aclosing
from itertools import chain
from time import monotonic
from typing import Any, Literal, get_args

from attrs import frozen

from loader.core.dataset import Dataset, in_reference_order
from loader.core.errors import LoaderError, RejectLimitError, TargetError, UpstreamError, UsageError
from loader.core.events import Closed, Committed, Event, Observer, Opened, Read, Rejected, Status, Untried, Waits
from loader.core.judging import Absent, Refusal, claims, judge
from loader.core.limits import RejectLimit
from loader.core.parsing import parse
from loader.core.records import Batch, Block, Cause, Place, Reader, Rejection
from loader.core.report import Report, Tally
from loader.executors import Here
from loader.ledger import Ledger
from loader.sources import Rowset, Source
from loader.targets import Lookup, Table, Target, to_its_end

_DONE = object()

OnConflict = Literal["reject", "update"]

BLOCKS_AHEAD = 4
"""How many blocks are parsed before it is their turn."""


@frozen
class Job:
    """A dataset to load, from sources read in their order, into a target.

    Without sources it is not loaded; its target is where the references of other datasets are looked up.
    """

    dataset: Dataset
    sources: Sequence[Source]
    target: Target


async def load(
    jobs: Iterable[Job],
    *,
    observe: Observer | None = None,
    check: bool = False,
    on_conflict: OnConflict = "reject",
    max_rejects: RejectLimit | None = None,
    ignore_extra: bool = False,
    executor: Executor | None = None,
) -> Report:
    """Load all jobs at the same time, and return what became of every record.

    `observe` is told each event as it happens; what it raises is raised when the load is done. With `check` nothing is
    written, and the verdicts are the same. With `on_conflict="update"` a record replaces one of its key that an earlier
    run stored. A dataset fails that has more rejects than `max_rejects`. `ignore_extra` leaves out columns that a
    dataset does not have. `executor` is where blocks are parsed; by default, in this thread.

    Raises UsageError, before anything is opened, if the datasets or options cannot go together. What goes wrong with
    a source or a target is told in the report. When cancelled, each lane commits or rolls back its batch, and closes.
    """
    jobs = list(jobs)
    if on_conflict not in get_args(OnConflict):
        raise UsageError(f"on_conflict is one of {', '.join(get_args(OnConflict))}, not {on_conflict!r}")
    in_reference_order(job.dataset for job in jobs)
    loaded = [job for job in jobs if job.sources]
    report = new_report(loaded, check, max_rejects)
    tell = _Telling(report, observe)
    shared = _Run(
        jobs={job.dataset.name: job for job in jobs},
        ledgers=_new_ledgers(jobs),
        check=check,
        update=on_conflict == "update",
        max_rejects=max_rejects,
        ignore_extra=ignore_extra,
        executor=executor or Here(),
        tell=tell,
    )
    lanes = [asyncio.create_task(_Lane(job, shared).run(), name=job.dataset.name) for job in loaded]
    try:
        await asyncio.gather(*lanes)
    finally:
        for lane in lanes:
            lane.cancel()
        await to_its_end(asyncio.gather(*lanes, return_exceptions=True))
    if tell.error:
        raise tell.error
    return report


def run(jobs: Iterable[Job], **options: Any) -> Report:
    """Do what `load` does, for code without an event loop; it takes the same options."""
    return asyncio.run(load(jobs, **options))


def new_report(jobs: Iterable[Job], check: bool = False, max_rejects: RejectLimit | None = None) -> Report:
    """The report of a load before it begins; an observer that folds the events as they come."""
    tallies = (Tally(job.dataset.name, tuple(each.name for each in job.sources), job.target.name) for job in jobs)
    return Report.of(tallies, check, allowed=max_rejects is not None)


class _Telling:
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
    """What the lanes of a load share: the jobs and ledgers by dataset, the options, and who is told."""

    jobs: Mapping[str, Job]
    ledgers: Mapping[str, Ledger]
    check: bool
    update: bool
    max_rejects: RejectLimit | None
    ignore_extra: bool
    executor: Executor
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
    batch: Batch
    rows_before: int
    position: int


class _Lane:
    """The way of one dataset's records."""

    def __init__(self, job: Job, run: _Run) -> None:
        self._job, self._run = job, run
        self._dataset = job.dataset
        self._ledger = run.ledgers[job.dataset.name]
        self._lookups: dict[str, Lookup] = {}
        self._stack = AsyncExitStack()
        self._read = self._rejected = 0
        self._pending = 0  # records read whose end has not been told
        self._problem: LoaderError | None = None  # what keeps the dataset from being finished

    async def run(self) -> None:
        began = monotonic()
        status: Status = "interrupted"
        try:
            async with self._stack:
                await self._load()
            status = "complete"
        except LoaderError as error:
            self._problem = error
            status = "stopped" if isinstance(error, UpstreamError) else "failed"
        except Exception:
            status = "failed"
            raise
        finally:
            self._ledger.close(finished=status == "complete")
            self._tell(Closed(self._dataset.name, status, self._problem, monotonic() - began))

    async def _load(self) -> None:
        rowsets = await self._open_sources()
        opening = self._job.target.open(self._dataset, self._run.check)
        table = await self._stack.enter_async_context(opening)
        self._ledger.open(table.had_records)
        async with aclosing(self._ahead(self._portions(rowsets))) as portions:
            async for portion in portions:
                await self._carry(portion, table)
        if not self._problem and self._run.max_rejects and self._run.max_rejects.exceeded(self._rejected, self._read):
            self._problem = self._too_many_rejects()
        if self._problem:
            raise self._problem

    async def _open_sources(self) -> list[Rowset]:
        for source in self._job.sources:
            steps = source.verify()
            while await asyncio.to_thread(next, steps, _DONE) is not _DONE:
                pass
        rowsets = [
            self._stack.enter_context(source.open(self._dataset, self._run.ignore_extra))
            for source in self._job.sources
        ]
        formats = {source.format for source in self._job.sources}
        columns = dict.fromkeys(chain.from_iterable(rowset.columns for rowset in rowsets))
        size = sum(rowset.size for rowset in rowsets)
        self._tell(Opened(self._dataset.name, frozenset(formats), tuple(columns), size))
        return rowsets

    async def _portions(self, rowsets: Sequence[Rowset]) -> AsyncGenerator[_Portion, None]:
        """The sources, cut and parsed, in the order of the rows."""
        begins = 0
        for source, rowset in zip(self._job.sources, rowsets, strict=True):
            rows_before = 0
            while block := await asyncio.to_thread(next, rowset.blocks, None):
                parsing = self._run.executor.submit(parse, self._dataset, rowset.reader, block)
                batch = await asyncio.wrap_future(parsing)
                yield _Portion(source, rowset.reader, block, batch, rows_before, begins + block.end)
                rows_before += len(batch)
            begins += rowset.size

    async def _ahead(self, portions: AsyncGenerator[_Portion, None]) -> AsyncGenerator[_Portion, None]:
        """The same, some ahead: they are parsed while others are settled and committed."""
        parsed: asyncio.Queue[_Portion | Exception | None] = asyncio.Queue(BLOCKS_AHEAD)

        async def fill() -> None:
            try:
                async with aclosing(portions):
                    async for portion in portions:
                        await parsed.put(portion)
                await parsed.put(None)
            except Exception as error:
                await parsed.put(error)

        filling = asyncio.create_task(fill())
        try:
            while portion := await parsed.get():
                if isinstance(portion, Exception):
                    raise portion
                yield portion
        finally:
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)

    async def _carry(self, portion: _Portion, table: Table) -> None:
        """Take a batch to its end: committed, as far as it can be, and what is left told as untried."""
        self._pending = len(portion.batch)
        self._read += len(portion.batch)
        self._tell(Read(self._dataset.name, len(portion.batch), portion.position))
        try:
            if not self._problem:
                batch, absent = await self._settled(portion.batch)
                await to_its_end(self._commit(portion, batch, absent, table))
        except LoaderError as error:
            self._problem = error
        finally:
            if self._pending:
                self._tell(Untried(self._dataset.name, self._pending))

    async def _settled(self, batch: Batch) -> tuple[Batch, dict[int, Absent]]:
        """Wait until each reference is stored or known to be absent; leave out what waits for a dataset that failed."""
        absent: dict[int, Absent] = {}
        for at, name in self._dataset.references_at.items():
            missing = await self._missing(name, batch.column(at))
            upstream = self._run.ledgers[name]
            if missing and not upstream.finished:
                self._problem = UpstreamError(
                    f"{self._dataset.name} refers to {name}, which was not finished: mend that and run again"
                )
                batch = batch.before(batch.first_line(at, missing))
            elif missing:
                singular = self._run.jobs[name].dataset.singular
                absent[at] = Absent(singular, {key: upstream.causes.get(key) for key in missing})
        return batch, absent

    async def _missing(self, name: str, keys: Collection[object]) -> set[object]:
        """Those of the keys that are not there, once all that can be known of them is known."""
        ledger = self._run.ledgers[name]
        looked_up = waits = False
        try:
            while missing := set(ledger.keys.missing(keys)):
                if not looked_up and (ledger.closed or ledger.had_records) and ledger.had_records is not False:
                    keys = missing - await self._stored_earlier(name, missing)
                    looked_up = True
                elif ledger.closed:
                    return missing
                else:
                    if not waits:
                        waits = True
                        self._tell(Waits(self._dataset.name, name))
                    await ledger.later_than(ledger.version)
            return set()
        finally:
            if waits:
                self._tell(Waits(self._dataset.name, None))

    async def _stored_earlier(self, name: str, keys: set[object]) -> set[object]:
        try:
            if name not in self._lookups:
                job = self._run.jobs[name]
                opening = job.target.lookup(job.dataset, self._run.check)
                self._lookups[name] = await self._stack.enter_async_context(opening)
            return await self._lookups[name].stored(keys)
        except TargetError:
            if self._run.ledgers[name].finished or not self._run.ledgers[name].closed:
                raise
            return set()  # its own lane has failed, and told why

    async def _commit(self, portion: _Portion, batch: Batch, absent: dict[int, Absent], table: Table) -> None:
        """Read, decide, write: one transaction; then tell what it did."""
        dataset, ledger = self._dataset, self._ledger
        async with table.transaction():
            wanted = claims(dataset, batch)
            if not table.had_records:
                wanted[dataset.key_at] = set(ledger.keys.held(wanted[dataset.key_at]))
            stored = await table.find(wanted)
            verdict = judge(dataset, batch, stored, absent, ledger.keys, self._run.update)
            if excess := self._excess(verdict.refusals):
                batch = batch.before(excess.line + 1)
                verdict = judge(dataset, batch, stored, absent, ledger.keys, self._run.update)
            await table.update(verdict.updates)
            await table.insert(verdict.inserts)
        ledger.had_records = table.had_records
        ledger.add(verdict.keys)
        self._pending -= len(batch)
        self._tell(Committed(dataset.name, len(verdict.inserts), len(verdict.updates), verdict.unchanged))
        for refusal, rejection in zip(verdict.refusals, _rejections(portion, verdict.refusals), strict=True):
            self._rejected += 1
            if refusal.key is not None:
                ledger.reject(Cause(dataset.name, refusal.key, rejection.place, rejection.reasons[0]))
            self._tell(Rejected(dataset.name, rejection))
        if excess:
            self._problem = self._too_many_rejects()

    def _excess(self, refusals: Sequence[Refusal]) -> Refusal | None:
        """The first rejection that is one too many, however many records follow."""
        limit = self._run.max_rejects
        if limit is None or self._rejected + len(refusals) <= limit.records:
            return None
        return refusals[int(limit.records) - self._rejected]

    def _too_many_rejects(self) -> RejectLimitError:
        return RejectLimitError(
            f"{self._rejected} {self._dataset.name} were rejected, more than max-rejects {self._run.max_rejects}: "
            f"mend them, or allow for more, and run again"
        )

    def _tell(self, event: Event) -> None:
        self._run.tell(event)


def _rejections(portion: _Portion, refusals: Sequence[Refusal]) -> Iterator[Rejection]:
    """The refused rows of a portion, as they stand in their source."""
    batch, block, source = portion.batch, portion.block, portion.source
    lines = block.data.split(b"\n") if refusals else []
    for refusal in refusals:
        end = batch.line_after(refusal.line)
        text = b"\n".join(lines[refusal.line - block.line : end and end - block.line])
        row = portion.rows_before + batch.row_at(refusal.line) + 1
        place = Place(source.name, refusal.line if source.numbered else None, row)
        if origin := batch.origins.get(refusal.line):
            place = Place(*origin)
        yield Rejection(place, portion.reader.values(text), refusal.reasons)
