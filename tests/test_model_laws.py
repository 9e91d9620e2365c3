"""The laws of a load on models that nobody wrote: any fields, keys and references, together or one by one in files."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loader import RejectLimit
from tests.laws import (
    Content,
    Setting,
    attempt,
    carry_out,
    check_all,
    check_conservation,
    check_no_dangling,
    expected,
    is_stored,
    settings_,
    tables,
    told,
    traces,
)
from tests.models import loads
from tests.test_laws import check_finished, copied, law, place

Loads = tuple[Content, Content | None]


@law
@given(loads(), settings_, settings_, st.booleans())
def test_any_load_equals_a_serial_one(case: Loads, one: Setting, other: Setting, update: bool) -> None:
    """Databases, counts, rejections and all their reasons are those of the plain serial loop; nothing ever dangles."""
    on_conflict = "update" if update else "reject"
    with place(*case) as (directory, files):
        second = copied(directory / "db", "db2")
        trial = carry_out(files, directory / "db", one, on_conflict=on_conflict)
        again = carry_out(files, second, other, on_conflict=on_conflict)
        check_all(trial, expected(trial, update=update))
        check_all(again, expected(again, update=update))
        assert told(trial.report) == told(again.report)


@law
@given(loads(), settings_, settings_)
def test_any_second_run_changes_nothing(case: Loads, one: Setting, other: Setting) -> None:
    """What is stored is unchanged, and the same rows are rejected, word for word if the databases were new.

    But a row that was rejected as what it refers to comes later, and whose record a still later row has brought, is
    stored by now.
    """
    with place(*case) as (directory, files):
        first = carry_out(files, directory / "db", one)
        second = carry_out(files, directory / "db", other)
        assert second.after == first.after
        for name, tally in second.report.tallies.items():
            counts, rejections = first.report.tallies[name].counts, first.report.tallies[name].rejections
            assert tally.counts.inserted == 0
            places = {each.place for each in tally.rejections}
            stored_since = [each for each in rejections if each.place not in places]
            for each in stored_since:
                assert all("in an earlier row" in reason.message for reason in each.reasons)
                assert is_stored(first, name, each.place)
            assert tally.counts.unchanged == counts.inserted + counts.unchanged + len(stored_since)
            rejections = [each for each in rejections if each.place in places]
            assert [each.place for each in tally.rejections] == [each.place for each in rejections]
            if case[1] is None:
                assert tally.rejections == rejections
        check_all(second, expected(second))


@law
@given(loads(), settings_, st.booleans(), st.none() | st.integers(0, 3))
def test_any_check_is_a_load_that_leaves_no_trace(
    case: Loads, setting: Setting, update: bool, limit: int | None
) -> None:
    """A check tells what the load tells, and leaves the databases and their directory as they were."""
    options: dict[str, Any] = {
        "on_conflict": "update" if update else "reject",
        "max_rejects": limit if limit is None else RejectLimit(limit),
    }
    with place(*case) as (directory, files):
        seen = traces(directory / "db")
        checked = carry_out(files, directory / "db", setting, check=True, **options)
        assert traces(directory / "db") == seen
        loaded = carry_out(files, directory / "db", setting, **options)
        assert told(checked.report) == told(loaded.report)
        check_conservation(checked)
        check_all(loaded, expected(loaded, update=update, max_rejects=limit))


@law
@given(loads(), settings_, st.integers(1, 120))
def test_any_load_that_is_cancelled_can_be_finished(case: Loads, setting: Setting, moment: int) -> None:
    """At whichever moment: the counts told are those of the databases, nothing dangles, and running again finishes."""
    with place(*case) as (directory, files):
        trial = asyncio.run(attempt(files, directory / "db", setting, cancel=(moment,)))
        check_no_dangling(trial)
        check_conservation(trial)
        check_finished(trial, files, directory / "db", Setting())


@law
@given(loads(), settings_, st.booleans())
def test_any_load_may_be_atomic(case: Loads, setting: Setting, update: bool) -> None:
    """What is kept apart first comes to the same, whatever the types, the keys and the tables are."""
    options: dict[str, Any] = {
        "on_conflict": "update" if update else "reject",
        "max_rejects": RejectLimit(100, percent=True),
    }
    with place(*case) as (directory, files):
        second = copied(directory / "db", "db2")
        atomic = carry_out(files, directory / "db", setting, atomic=True, **options)
        plain = carry_out(files, second, **options)
        check_all(atomic, expected(atomic, update=update, max_percent=100))
        assert told(atomic.report) == told(plain.report)
        assert tables(directory / "db", files.models) == tables(second, files.models)
