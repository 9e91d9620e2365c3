"""The verification of what is stored: all databases are looked through at the same time, and nothing is written."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from time import monotonic

from attrs import field, frozen

from loader.core.claims import referred
from loader.core.dataset import in_reference_order
from loader.core.errors import LoaderError, TargetError, UpstreamError, UsageError
from loader.core.events import Closed, Committed, Observer, Opened, Read, Rejected, Status
from loader.core.fields import Group
from loader.core.judging import Absent, named
from loader.core.records import Batch, Place, Reason, Record, Rejection
from loader.core.report import Report
from loader.core.restoring import by_names, faults, restored
from loader.core.values import shortened
from loader.pipeline import Job, Telling, new_report, of_resources
from loader.targets import Lookup, Target


async def verify(jobs: Iterable[Job], *, names: Collection[str] = (), observe: Observer | None = None) -> Report:
    """Look through the targets of all jobs, or of the datasets that are named, and return what is faulty in them.

    A database has to be undamaged. Each record in it has to be one that a load would have stored: of the right types,
    allowed by the validators and the hook of its model, alone with its key and unique values, and what it refers to has
    to be stored. Sound records are counted as unchanged, others as rejected, with every reason. `observe` is told each
    event as it happens; what it raises is raised when all is done.

    Raises UsageError, before anything is opened, if the datasets cannot go together. What goes wrong with a database is
    told in the report.
    """
    jobs = list(jobs)
    in_reference_order(job.dataset for job in jobs)
    by_name = {job.dataset.name: job for job in jobs}
    if unknown := [name for name in names if name not in by_name]:
        raise UsageError(f"there is no dataset {unknown[0]!r}; there are {', '.join(by_name)}")
    chosen = [job for name, job in by_name.items() if name in names or not names]
    report = new_report(chosen, verify=True)
    tell, proofs = Telling(report, observe), _Proofs()
    async with asyncio.TaskGroup() as walks:
        for job in chosen:
            walks.create_task(_Walk(job, by_name, proofs, tell).run(), name=job.dataset.name)
    if tell.error:
        raise tell.error
    return report


@frozen
class _Proofs:
    """The proofs that databases are undamaged: one for each, which several datasets may wait for."""

    _begun: dict[str, "asyncio.Task[None]"] = field(factory=dict, init=False)

    async def of(self, target: Target) -> None:
        if target.name not in self._begun:
            self._begun[target.name] = asyncio.create_task(target.verify())
        await self._begun[target.name]


class _Walk:
    """The way through one dataset's records."""

    def __init__(self, job: Job, jobs: Mapping[str, Job], proofs: _Proofs, tell: Observer) -> None:
        self._target, self._dataset = job.target, by_names(job.dataset)
        self._jobs, self._proofs, self._tell = jobs, proofs, tell

    async def run(self) -> None:
        began = monotonic()
        status: Status = "interrupted"
        problem: LoaderError | None = None
        try:
            async with AsyncExitStack() as stack:
                await self._look_through(stack)
            status = "complete"
        except LoaderError as error:
            problem, status = error, "stopped" if isinstance(error, UpstreamError) else "failed"
        except Exception as error:
            status, problem = "failed", of_resources(error, f"{self._target.name} cannot be looked through")
            if not problem:
                raise
        finally:
            self._tell(Closed(self._dataset.name, status, problem, monotonic() - began))

    async def _look_through(self, stack: AsyncExitStack) -> None:
        dataset, before = self._dataset, 0
        await self._proofs.of(self._target)
        upstream = {name: await self._upstream(name, stack) for name in dict.fromkeys(dataset.references.values())}
        stored = await stack.enter_async_context(self._target.read(dataset))
        self._tell(Opened(dataset.name, frozenset(), dataset.names, await stored.count()))
        async with aclosing(stored.portions()) as portions:
            async for records, contests in portions:
                batch = restored(dataset, records, before)
                found = faults(dataset, batch, await self._absent(batch, upstream), contests)
                self._tell(Read(dataset.name, len(records), before + len(records)))
                self._tell(Committed(dataset.name, 0, 0, len(records) - len(found)))
                if found:
                    rejections = [self._rejection(line, records[line - before - 1], found[line]) for line in found]
                    self._tell(Rejected(dataset.name, rejections))
                before += len(records)

    def _rejection(self, line: int, record: Record, reasons: Sequence[Reason]) -> Rejection:
        key = shortened(named(self._dataset.key_group.of(record)))
        values = dict(zip(self._dataset.names, record, strict=True))
        return Rejection(Place(self._target.name, None, line, key), values, tuple(reasons))

    async def _upstream(self, name: str, stack: AsyncExitStack) -> Lookup:
        job = self._jobs[name]
        try:
            await self._proofs.of(job.target)
            return await stack.enter_async_context(job.target.read(job.dataset))
        except TargetError as error:
            raise UpstreamError(f"{self._dataset.name} cannot be judged without {name}: {error}") from error

    async def _absent(self, batch: Batch, upstream: Mapping[str, Lookup]) -> dict[Group, Absent]:
        """The keys that references name in vain."""
        absent = {}
        for group, name in self._dataset.reference_groups.items():
            if missing := await upstream[name].missing(referred(group, batch)):
                absent[group] = Absent(self._jobs[name].dataset.singular, dict.fromkeys(missing))
        return absent
