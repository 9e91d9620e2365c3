"""The laws of a load, on generated files with every kind of fault, at every block size, with pauses at every await."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from loader import RejectLimit
from loader.core.errors import SourceError, TargetError
from tests.laws import (
    NAMES,
    SAMPLE,
    BreakingSource,
    Content,
    Draft,
    Files,
    Pool,
    Schedule,
    Setting,
    Trial,
    attempt,
    carry_out,
    check_all,
    check_conservation,
    check_every_reason,
    check_first_wins,
    check_no_dangling,
    check_serial,
    contents,
    expected,
    seeds,
    settings_,
    told,
    traces,
    verdicts,
    write,
)

law = settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""No shrinking: that takes minutes where each example is a load."""

earlier = st.one_of(st.none(), contents(5))
"""What an earlier run loaded, if there was one."""


@contextmanager
def place(content: Content, before: Content | None = None) -> Iterator[tuple[Path, Files]]:
    """A directory with the files of a load, and in `db` the databases that an earlier run left."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "db").mkdir()
        if before:
            carry_out(write(directory / "earlier", before), directory / "db", Setting(late=False))
        yield directory, write(directory / "files", content)


def copied(databases: Path, name: str) -> Path:
    """The databases once more, in a directory beside them."""
    return Path(shutil.copytree(databases, databases.with_name(name)))


def taken(trial: Trial, name: str) -> int:
    """How many records of a dataset came to their end."""
    counts = trial.report.tallies[name].counts
    return counts.read - counts.untried


@law
@given(contents(), earlier, settings_, settings_, st.booleans())
def test_a_concurrent_load_equals_a_serial_one(
    content: Content, before: Content | None, one: Setting, other: Setting, update: bool
) -> None:
    """Whatever the block size and the interleaving, databases and report are those of the plain serial loop."""
    on_conflict = "update" if update else "reject"
    with place(content, before) as (directory, files):
        second = copied(directory / "db", "db2")
        trial = carry_out(files, directory / "db", one, on_conflict=on_conflict)
        again = carry_out(files, second, other, on_conflict=on_conflict)
        check_all(trial, expected(trial, update=update))
        check_all(again, expected(again, update=update))
        assert told(trial.report) == told(again.report)


@law
@given(contents(most=14), settings_)
def test_the_first_in_the_file_wins(content: Content, setting: Setting) -> None:
    """Of the rows that claim a value the first valid one has it in the end, and a rejected one never has anything."""
    with place(content) as (directory, files):
        trial = carry_out(files, directory / "db", setting)
        check_first_wins(trial)
        for name, outcome in expected(trial).items():
            assert trial.after[name] == outcome.records


@st.composite
def crossed(draw: st.DrawFn) -> Content:
    """Sound users and products in any order, and orders that refer forward and backward to them and to nothing."""
    random = Random(draw(seeds))
    users = [Draft((str(key), f"User {key}", f"u{key}@x.io")) for key in range(1, 9)]
    products = [Draft((str(key), f"Product {key}", "1")) for key in range(1, 9)]
    random.shuffle(users)
    random.shuffle(products)
    orders = [Draft((str(key), str(random.randint(1, 9)), str(random.randint(1, 9)), "1")) for key in range(1, 20)]
    return Content(
        {"users": users, "products": products, "orders": orders}, dict.fromkeys(NAMES, draw(st.sampled_from(["csv"])))
    )


@law
@given(crossed(), st.sampled_from([1, 40]), seeds)
def test_no_reference_ever_dangles(content: Content, block_size: int, seed: int) -> None:
    """At no step of any target and at no event is an order committed whose user or product is not."""
    with place(content) as (directory, files):
        trial = carry_out(files, directory / "db", Setting(block_size, seed))
        check_no_dangling(trial)
        check_serial(trial, expected(trial))


@law
@given(contents(), earlier, settings_, settings_)
def test_a_second_run_changes_nothing(content: Content, before: Content | None, one: Setting, other: Setting) -> None:
    """What is stored is unchanged, and the same rows are rejected, word for word if the databases were new."""
    with place(content, before) as (directory, files):
        first = carry_out(files, directory / "db", one)
        second = carry_out(files, directory / "db", other)
        assert second.after == first.after
        for name, tally in second.report.tallies.items():
            counts, rejections = first.report.tallies[name].counts, first.report.tallies[name].rejections
            assert tally.counts.inserted == 0
            assert tally.counts.unchanged == counts.inserted + counts.unchanged
            assert [one.place for one in tally.rejections] == [one.place for one in rejections]
            if before is None:
                assert tally.rejections == rejections
        check_all(second, expected(second))


def test_a_second_run_over_records_of_an_earlier_load_rejects_the_same_rows(tmp_path: Path) -> None:
    """A row that only an older record keeps out is rejected again, and rows behind it, stored by now, are named too."""
    older = Content({"users": [Draft(("1", "Old", "old@x.io"))]}, {"users": "csv"})
    newer = Content({"users": [Draft(("1", "Ann", "a@x.io")), Draft(("2", "Ben", "a@x.io"))]}, {"users": "csv"})
    carry_out(write(tmp_path / "older", older), tmp_path)
    files = write(tmp_path / "newer", newer)
    first, second = carry_out(files, tmp_path), carry_out(files, tmp_path)
    [before], [after] = first.report.tallies["users"].rejections, second.report.tallies["users"].rejections
    assert (before.place, before.values) == (after.place, after.values)
    assert set(before.reasons) < set(after.reasons)


@law
@given(contents(), earlier, settings_)
def test_every_record_is_accounted_for(content: Content, before: Content | None, setting: Setting) -> None:
    """The five ends add up to what was read, the tables grow by what was inserted, and the events say the same."""
    with place(content, before) as (directory, files):
        trial = carry_out(files, directory / "db", setting)
        check_conservation(trial)
        for name, tally in trial.report.tallies.items():
            assert tally.counts.read == len(files.rows[name])


@st.composite
def faulty(draw: st.DrawFn) -> Content:
    """Files in which every second cell is at fault."""
    rows = {
        name: draw(
            st.lists(
                st.builds(Draft, st.tuples(*(st.sampled_from(sound + bad) for sound, bad, _ in _pools(name)))),
                max_size=10,
            )
        )
        for name in NAMES
    }
    return Content(
        rows, draw(st.fixed_dictionaries({name: st.sampled_from(["csv", "json", "ndjson"]) for name in NAMES}))
    )


def _pools(name: str) -> list[Pool]:
    return [pool for (dataset, _), pool in SAMPLE.pools.items() if dataset == name]


@law
@given(faulty(), settings_)
def test_a_rejection_bears_every_reason(content: Content, setting: Setting) -> None:
    """All faults of a row are told, with who holds what it wants and which rejection upstream is to blame."""
    with place(content) as (directory, files):
        trial = carry_out(files, directory / "db", setting)
        check_every_reason(trial, expected(trial))


@law
@given(contents(), earlier, settings_, st.booleans(), st.one_of(st.none(), st.integers(0, 3)))
def test_a_check_is_a_load_that_leaves_no_trace(
    content: Content, before: Content | None, setting: Setting, update: bool, limit: int | None
) -> None:
    """A check tells what the load tells, and leaves the databases and their directory as they were."""
    options: dict[str, Any] = {
        "on_conflict": "update" if update else "reject",
        "max_rejects": limit if limit is None else RejectLimit(limit),
    }
    with place(content, before) as (directory, files):
        seen = traces(directory / "db")
        checked = carry_out(files, directory / "db", setting, check=True, **options)
        assert traces(directory / "db") == seen
        loaded = carry_out(files, directory / "db", setting, **options)
        assert told(checked.report) == told(loaded.report)
        check_conservation(checked)


@law
@given(contents(), earlier, settings_)
def test_references_are_looked_up_in_what_is_there(content: Content, before: Content | None, setting: Setting) -> None:
    """Orders alone are held against the users and products that an earlier run stored."""
    with place(content, before) as (directory, files):
        trial = carry_out(files.without("users", "products"), directory / "db", setting)
        assert [*trial.report.tallies] == ["orders"]
        check_all(trial, expected(trial))


def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path) -> None:
    """The rows behind it are loaded, at every block size."""
    rows = [Draft(("1", "Ann", "a@x.io")), Draft(("2", "", ""), "unreadable"), Draft(("3", "Cid", "c@x.io"))]
    for style in range(20):
        files = write(tmp_path / f"files{style}", Content({"users": rows}, {"users": "csv"}, style))
        for size in (1, 30, 2**18):
            trial = carry_out(files, tmp_path / f"db{style}-{size}", Setting(size))
            check_all(trial, expected(trial))


# What happens when a dataset cannot be finished.


@law
@given(contents(), earlier, settings_, settings_, st.integers(0, 4))
def test_a_reject_limit_ends_at_the_same_row(
    content: Content, before: Content | None, one: Setting, other: Setting, limit: int
) -> None:
    """A dataset fails at the row that is one reject too many, and what waits for it is untried, at any block size."""
    with place(content, before) as (directory, files):
        second = copied(directory / "db", "db2")
        trial = carry_out(files, directory / "db", one, max_rejects=RejectLimit(limit))
        again = carry_out(files, second, other, max_rejects=RejectLimit(limit))
        check_all(trial, expected(trial, max_rejects=limit))
        check_all(again, expected(again, max_rejects=limit))
        assert told(trial.report) == told(again.report)


@law
@given(contents(), settings_, st.sampled_from([0, 10, 33.3, 50, 100]))
def test_a_share_of_rejects_is_judged_at_the_end(content: Content, setting: Setting, percent: float) -> None:
    """With a limit in percent all records of a dataset are tried before it fails."""
    with place(content) as (directory, files):
        trial = carry_out(files, directory / "db", setting, max_rejects=RejectLimit(percent, percent=True))
        check_all(trial, expected(trial, max_percent=percent))


def _check_cut_short(trial: Trial, names: Mapping[str, int]) -> None:
    """What must be so when datasets failed after so many records: that of a serial loop that fails there as well."""
    rows = {name: given[: trial.report.tallies[name].counts.read] for name, given in trial.files.rows.items()}
    cut = Trial(
        Files(trial.files.paths, rows, trial.files.models), trial.before, trial.after, trial.report, trial.witness
    )
    check_all(cut, expected(cut, fails_after=names))


def check_finished(trial: Trial, files: Files, databases: Path, setting: Setting) -> None:
    """Running again finishes what a trial left, as if it had never been left."""
    whole = expected(trial)
    rest = carry_out(files, databases, setting)
    check_all(rest, expected(rest))
    for name, tally in rest.report.tallies.items():
        assert rest.after[name] == whole[name].records
        assert tally.counts.inserted == whole[name].inserted - trial.report.tallies[name].counts.inserted
        if not any(trial.before.values()):
            assert verdicts(tally) == whole[name].rejections


@law
@given(
    contents(), earlier, settings_, st.sampled_from(NAMES), st.sampled_from(["empty", "header", "missing", "utf-16"])
)
def test_a_source_that_cannot_be_used_stops_its_dataset(
    content: Content, before: Content | None, setting: Setting, name: str, damage: str
) -> None:
    """Nothing of it is written, what refers to it in vain is untried, and the rest is loaded."""
    with place(content, before) as (directory, files):
        path = files.paths[name][0]
        sound = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            csv = path.suffix == ".csv"
            header = b"id,nonsense\n1,2\n" if csv else b"" if path.suffix == ".ndjson" else b'{"id": 1}\n'
            path.write_bytes({"empty": b"", "header": header, "utf-16": "[]".encode("utf-16")}[damage])
        trial = carry_out(files, directory / "db", setting)
        assert isinstance(trial.report.tallies[name].problem, SourceError)
        assert trial.after[name] == trial.before[name]
        assert trial.report.exit_code == 3
        _check_cut_short(trial, {name: 0})
        path.write_bytes(sound)
        check_finished(trial, files, directory / "db", Setting())


@law
@given(contents(), earlier, settings_, st.sampled_from(NAMES), st.integers(0, 6))
def test_a_source_that_breaks_off_keeps_what_was_committed(
    content: Content, before: Content | None, setting: Setting, name: str, blocks: int
) -> None:
    """What was read before is loaded, the dataset fails, and running again finishes it."""
    with place(content, before) as (directory, files):
        jobs = setting.jobs(files, directory / "db")
        at = NAMES.index(name)
        file = jobs[at].sources[-1]
        error = SourceError("the disk is gone")
        jobs[at] = type(jobs[at])(
            jobs[at].dataset,
            (*jobs[at].sources[:-1], BreakingSource(file, blocks, error)),  # type: ignore[arg-type]
            jobs[at].target,
        )
        trial = carry_out(files, directory / "db", setting, jobs)
        _check_cut_short(trial, {name: taken(trial, name)})
        check_finished(trial, files, directory / "db", Setting())


@law
@given(contents(), earlier, settings_, st.sampled_from(NAMES), st.integers(1, 40))
def test_a_database_that_fails_keeps_what_was_committed(
    content: Content, before: Content | None, setting: Setting, name: str, step: int
) -> None:
    """Whichever call fails, a batch is committed or rolled back, all is accounted for, and running again finishes."""
    error = TargetError("the disk is full")

    with place(content, before) as (directory, files):
        jobs = setting.jobs(files, directory / "db")
        setting.schedule.fail_at(name, step, error)
        trial = carry_out(files, directory / "db", setting, jobs)
        failed = [name for name, tally in trial.report.tallies.items() if tally.problem is error]
        _check_cut_short(trial, {name: taken(trial, name) for name in failed})
        check_finished(trial, files, directory / "db", Setting())


@law
@given(contents(), earlier, settings_, st.integers(1, 120))
def test_a_load_that_is_cancelled_says_what_it_did(
    content: Content, before: Content | None, setting: Setting, moment: int
) -> None:
    """At whichever moment: the counts told are those of the databases, nothing dangles, and running again finishes."""
    with place(content, before) as (directory, files):
        trial = asyncio.run(attempt(files, directory / "db", setting, cancel=(moment,)))
        check_no_dangling(trial)
        check_conservation(trial)
        if trial.interrupted:
            assert trial.report.status in ("interrupted", "complete", "rejects")
        else:
            check_all(trial, expected(trial))
        check_finished(trial, files, directory / "db", Setting())


class CancelledInCommit(Schedule):
    """The load is cancelled while users are committed, and the news of the COMMIT takes its time."""

    async def linger(self, name: str) -> None:
        if name == "users":
            self.cancel()
            await asyncio.sleep(0.05)


def test_a_commit_in_flight_is_counted_when_the_load_is_cancelled(tmp_path: Path) -> None:
    """Also if another lane, with nothing in flight, ends sooner."""
    rows = {"users": [Draft(("1", "Ann", "a@x.io"))], "orders": [Draft(("1", "1", "1", "1"))]}
    files = write(tmp_path / "files", Content(rows, dict.fromkeys(rows, "csv")))
    setting = Setting()
    setting.schedule = CancelledInCommit()
    trial = carry_out(files, tmp_path, setting)
    assert trial.interrupted
    assert trial.report.tallies["users"].counts.inserted == len(trial.after["users"]) == 1
    check_conservation(trial)
