"""Where parsing runs, and what is parsed next: the same end, and no process left behind, however it ends."""

import asyncio
import csv
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import Factory, evolve, field, frozen

import loader
from loader import Dataset, FileSource, Job, Report, cli, load, pipeline
from loader.cli import main
from loader.core.events import Event, Waits
from loader.core.records import Block
from loader.datasets import ORDERS, PRODUCTS, USERS
from loader.executors import Here, Turns, _end_together, processes
from loader.sources import Rowset
from tests.benchmarks.generate import generate
from tests.test_cli import command, environment, result, rows, settle_in, stored, timeless, wait_until


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    generate(tmp_path / "big", 30_000, 5_000, 40_000, faults=0.01, seed=1, form="csv")
    return tmp_path / "big"


def children(pid: int) -> set[int]:
    """The processes that a process has begun."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return {int(each) for each in listed.stdout.split()}


def alive(pids: set[int]) -> set[int]:
    found = set()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            found.add(pid)
    return found


def test_a_call_is_broken_off_and_none_begins_after_it() -> None:
    """A signal that comes amid one must not wait for those of others, which stand in a queue already."""
    here = Here()
    with pytest.raises(asyncio.CancelledError):
        here.submit(here.break_off)
    with pytest.raises(asyncio.CancelledError):
        here.submit(divmod, 7, 2)
    idle = Here()
    idle.break_off()
    with pytest.raises(asyncio.CancelledError):
        idle.submit(divmod, 7, 2)


@pytest.mark.parametrize("executor", [Here, lambda: processes(2)], ids=["here", "processes"])
def test_an_executor_gives_results_and_errors(executor: Any) -> None:
    """A call's result comes back, and so does what it raises."""
    with executor() as made:
        assert isinstance(made, Executor)
        assert made.submit(divmod, 7, 2).result() == (3, 1)
        with pytest.raises(ZeroDivisionError):
            made.submit(divmod, 7, 0).result()


def test_the_call_that_matters_most_is_next() -> None:
    """While all places are taken, those wait that came; the lowest rank is served first, and among equals the first."""

    async def main() -> list[str]:
        turns, served = Turns(places=1), []

        async def call(name: str, rank: int) -> None:
            await turns.take(rank)
            served.append(name)
            await asyncio.sleep(0)
            turns.give_back()

        async with asyncio.TaskGroup() as group:
            for name, rank in (("any", 5), ("orders", 2), ("more orders", 2), ("users", 0), ("products", 1)):
                group.create_task(call(name, rank))
        return served

    assert asyncio.run(main()) == ["any", "users", "products", "orders", "more orders"]


@pytest.mark.parametrize("is_served", [False, True])
def test_who_is_cancelled_takes_no_place(is_served: bool) -> None:
    """A call that is given up while it waits, or just when it is its turn, leaves its place to the next."""

    async def main() -> None:
        turns = Turns(places=1)
        await turns.take(0)
        given_up, other = asyncio.create_task(turns.take(1)), asyncio.create_task(turns.take(2))
        await asyncio.sleep(0)
        if is_served:
            turns.give_back()
        given_up.cancel()
        if not is_served:
            turns.give_back()
        await asyncio.wait_for(other, 5)
        turns.give_back()
        await asyncio.wait_for(turns.take(0), 5)

    asyncio.run(main())


def _die_within_the_result() -> None:
    """Send the beginning of a result through the pipe of the pool, as it would do it itself, and be killed."""
    pipe = sys._getframe(1).f_locals["result_queue"]._writer
    os.write(pipe.fileno(), struct.pack("!i", 1_000) + b"the first of a thousand bytes")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("number", [1, 2])
def test_a_process_that_is_killed_within_its_result_is_noticed(number: int) -> None:
    """Though the beginning of the result has come, the rest is not waited for; nor is another process."""
    with processes(number) as made, pytest.raises(BrokenExecutor):
        made.submit(_die_within_the_result).result(10)


@pytest.mark.skipif(sys.platform != "linux", reason="where processes are begun one by one, the pool needs it")
def test_the_pool_does_not_hold_open_what_its_processes_write_to() -> None:
    """It is closed once they have it: not when one was killed, when the pool may be about to close it as well."""
    with processes(1) as made:
        assert made._result_queue._writer.closed  # type: ignore[attr-defined]
        assert made.submit(max, 1, 2).result(10) == 2


@pytest.mark.parametrize("is_seen", [False, True], ids=["", "seen by the pool first"])
@pytest.mark.parametrize("is_killed", [False, True], ids=["in order", "killed"])
def test_only_a_process_that_was_killed_ends_the_others(is_killed: bool, is_seen: bool) -> None:
    """Where processes end in order, the pool is left to end by itself: it closes its own pipe, and not twice."""
    context = multiprocessing.get_context("fork")
    ended, other = (
        context.Process(target=time.sleep, args=(60 * is_killed,)),
        context.Process(target=time.sleep, args=(60,)),
    )
    reader, writer = context.Pipe(duplex=False)
    for process in (ended, other):
        process.start()
    if is_killed:
        ended.kill()
    if is_seen:
        ended.join()
    pool = SimpleNamespace(_processes={1: ended, 2: other}, _result_queue=SimpleNamespace(_writer=writer))
    _end_together(pool)
    assert writer.closed == is_killed
    other.join(5 * is_killed)
    assert other.is_alive() != is_killed
    other.kill()
    for process in (ended, other):
        process.join(5)
    reader.close()
    writer.close()


def test_processes_change_nothing(big: Path) -> None:
    """With any number of processes databases, rejects and result are the same."""
    ends = []
    for jobs in ("0", "1", "3"):
        arguments = ["-qq", "-d", str(big), "--into", jobs, "--rejects", f"{jobs}/rejects", "--export", f"{jobs}.json"]
        assert main([*arguments, "--jobs", jobs]) == 1
        document = timeless(result(f"{jobs}.json"))
        for dataset in document["datasets"]:
            del dataset["target"], dataset["rejects"]
        kept = [rows(name, jobs) for name in ("users", "products", "orders")]
        ends.append((document, kept, {path.name: path.read_bytes() for path in Path(jobs, "rejects").iterdir()}))
    assert ends[0] == ends[1] == ends[2]


@frozen
class _LateSource(FileSource):
    """A file, or what passes for a pipe, whose blocks come after a wait; `begun` is set when the first does."""

    wait: Callable[[], Awaitable[Any]] = field(kw_only=True)
    is_file: bool = field(kw_only=True)
    begun: asyncio.Event = Factory(asyncio.Event)

    @property
    def rereadable(self) -> bool:
        return self.is_file

    @asynccontextmanager
    async def open(self, dataset: Dataset, ignore_extra: bool) -> AsyncIterator[Rowset]:
        async with FileSource.open(self, dataset, ignore_extra) as rowset:

            async def late() -> AsyncIterator[Block]:
                await self.wait()
                async for block in rowset.blocks:
                    self.begun.set()
                    yield block

            yield evolve(rowset, blocks=late())


@pytest.mark.parametrize("in_no_file", [None, "users", "products", "orders"])
def test_what_others_wait_for_is_parsed_first(in_no_file: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders wait until users and products have begun; but where one is in no file, its rows may wait for others.

    The wait is over when it is their turn to be parsed.
    """
    parsed: list[str] = []
    told: list[Event] = []
    waited_for: list[list[str | None]] = []  # by orders up to now: when their turn is to come, and when it is there
    products: Any = "data/products.csv"
    if in_no_file == "products":  # in rows that can be read again, as those of a file can
        products = loader.rows([*csv.DictReader(Path(products).read_text().splitlines())])

    def note() -> None:
        waited_for.append([event.upstream for event in told if isinstance(event, Waits)])

    class Noting(Here):
        def submit(self, call: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
            parsed.append(args[0].name)
            if args[0] is ORDERS:
                note()
            return super().submit(call, *args, **kwargs)

    class NotingTurns(Turns):
        async def take(self, rank: int) -> None:
            if rank == 2:
                note()
            await super().take(rank)

    monkeypatch.setattr(pipeline, "Turns", NotingTurns)

    async def steps() -> Report:
        at_once, later = partial(asyncio.sleep, 0), partial(asyncio.sleep, 0.05)
        orders = _LateSource(Path("data/orders.csv"), "csv", wait=at_once, is_file=in_no_file != "orders")
        late = orders.begun.wait if in_no_file else later
        users = _LateSource(Path("data/users.csv"), "csv", wait=late, is_file=in_no_file != "users")
        jobs = [
            Job(ORDERS, orders, "orders.db"),
            Job(USERS, users, "users.db"),
            Job(PRODUCTS, products, "products.db"),
        ]
        async with asyncio.timeout(10):
            return await load(jobs, executor=Noting(), observe=told.append)

    assert asyncio.run(steps()).totals.inserted == 22
    waits = [event.upstream for event in told if isinstance(event, Waits)]
    if in_no_file:
        assert parsed.index("orders") < parsed.index("users")
    else:
        assert parsed[-1] == "orders"
        assert waited_for == [["users"], ["users", None]]
    assert {*waits[1::2]} == {None}


def test_the_wait_of_orders_that_have_no_rows_is_over_as_well() -> None:
    """They have no turn that could tell it."""
    Path("data/orders.csv").write_text("id,user_id,product_id,quantity\n")
    told: list[Event] = []

    async def steps() -> Report:
        users = _LateSource(Path("data/users.csv"), "csv", wait=partial(asyncio.sleep, 0.05), is_file=True)
        jobs = [
            Job(ORDERS, "data/orders.csv", "orders.db"),
            Job(USERS, users, "users.db"),
            Job(PRODUCTS, "data/products.csv", "products.db"),
        ]
        return await load(jobs, observe=told.append)

    assert asyncio.run(steps()).tallies["orders"].status == "complete"
    assert [event.upstream for event in told if isinstance(event, Waits)] == ["users", None]


def test_small_files_begin_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded in no time is parsed here; big files are not: of JSON there is enough to do for every core."""
    begun: list[int] = []

    def begin(number: int) -> Executor:
        begun.append(number)
        return Here()

    monkeypatch.setattr(cli, "processes", begin)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    main(["-qq"])
    assert begun == []
    monkeypatch.setattr(cli, "_SIZE_THAT_PAYS", 100)
    main(["-qq"])
    assert begun == [3]
    main(["-qq", "--jobs", "2"])
    assert begun == [3, 2]
    generate(Path("json"), 30, 10, 60, faults=0.0, seed=1, form="ndjson")
    main(["-qq", "--data", "json", "--into", "json"])
    assert begun == [3, 2, 4]


def test_a_process_that_is_killed_fails_the_load(big: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that the system ends is told in a line; what is committed stays, and running again finishes."""
    child = subprocess.Popen(
        command("-q", "-d", str(big), "--jobs", "1"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until(lambda: children(child.pid))
    for each in children(child.pid):
        os.kill(each, signal.SIGKILL)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 3
    assert b"a process that parses was ended from outside" in err
    assert b"Traceback" not in err
    assert main(["-qq", "-d", str(big)]) == 1
    assert result()["totals"]["untried"] == 0
    assert all(stored())


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGINT, signal.SIGINT)])
def test_no_process_is_left_behind(big: Path, signals: tuple[int, ...]) -> None:
    """Interrupted once or twice, the processes end with the load; a second time may come at its very end."""
    _ends_without_children(big, signals, 130, *([-signal.SIGINT] if len(signals) > 1 else []))


def test_processes_end_with_a_load_that_is_killed(big: Path) -> None:
    """Also where the load has no time to end them."""
    _ends_without_children(big, (signal.SIGKILL,), -signal.SIGKILL)


def _ends_without_children(big: Path, signals: tuple[int, ...], *codes: int) -> None:
    child = subprocess.Popen(
        command("-q", "-d", str(big), "--jobs", "2"),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_until(lambda: len(children(child.pid)) == 2)
    workers = children(child.pid)
    for each in signals:
        os.kill(child.pid, each)
        time.sleep(0.02)
    _, err = child.communicate(timeout=60)
    assert child.returncode in codes
    assert len(signals) > 1 or b"Traceback" not in err  # a second one may also hit what Python does at its end
    wait_until(lambda: not alive(workers), 10)
