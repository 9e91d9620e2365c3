"""The fold of a run's events, and what it means for the run."""

from collections.abc import Sequence
from typing import Any

import pytest

from loader.core.errors import OutputError, SourceError, UpstreamError
from loader.core.events import Closed, Committed, Event, Opened, Read, Rejected, Status, Untried, Waits
from loader.core.records import Place, Reason, Rejection
from loader.core.report import ENDS, KEPT_REJECTIONS, Counts, Report, Tally, Why

PROBLEM = SourceError("users.csv is empty")


def rejected(line: int, *reasons: tuple[Any, str | None]) -> Rejected:
    found = tuple(Reason(code, name, "is wrong") for code, name in reasons)
    return Rejected("users", [Rejection(Place("users.csv", line, line - 1), {}, found)])


def told(*events: Event) -> Tally:
    report = Report.of([Tally("users", ("users.csv",), "users.db")])
    for event in events:
        report(event)
    return report.tallies["users"]


def test_events_add_up() -> None:
    """Counts are the sums of what was told; each event changes only its own dataset."""
    report = Report.of([Tally("users", ("users.csv",), "users.db"), Tally("orders", ("orders.csv",), "orders.db")])
    for event in (
        Opened("users", frozenset({"csv"}), ("id",), 1_000),
        Read("users", 10, 400),
        Committed("users", 3, 2, 1),
        Read("users", 5, 900),
        Committed("users", 4, 0, 0),
        rejected(4, ("type-error", "id")),
        Untried("users", 4),
        Read("orders", 2, 7),
        Committed("orders", 2, 0, 0),
        Closed("users", "failed", PROBLEM, 1.5),
    ):
        report(event)
    users = report.tallies["users"]
    assert users.counts == Counts(15, 7, 2, 1, 1, 4)
    assert users.counts.read == sum(getattr(users.counts, end) for end in ENDS)
    assert (users.size, users.position) == (1_000, 900)
    assert (users.status, users.problem, users.seconds) == ("failed", PROBLEM, 1.5)
    assert report.totals == Counts(17, 9, 2, 1, 1, 4)
    assert report.tallies["orders"].status is None


def test_a_dataset_waits_and_goes_on() -> None:
    """What a dataset waits for is known as long as it waits."""
    assert told(Waits("users", "groups")).waits_for == "groups"
    assert told(Waits("users", "groups"), Waits("users", None)).waits_for is None


def test_reasons_are_counted_by_code_and_field() -> None:
    """Each reason of each row counts, with the place of the first; a code's number is the sum over its fields."""
    tally = told(
        rejected(4, ("type-error", "id"), ("constraint-error", "name")),
        rejected(5, ("type-error", "age"), ("type-error", "id")),
        rejected(6, ("row-error", None)),
    )
    assert tally.whys[("type-error", "id")] == Why(2, Place("users.csv", 4, 3))
    assert tally.whys[("type-error", "age")] == Why(1, Place("users.csv", 5, 4))
    assert tally.reasons == {"constraint-error": 1, "row-error": 1, "type-error": 3}
    assert list(tally.reasons) == sorted(tally.reasons)
    assert tally.counts.rejected == 3


def test_only_the_first_rejections_are_kept() -> None:
    """A thousand rejections are kept, all are counted, and how many were left out is known."""
    each = [rejected(line, ("type-error", "id")).rejections[0] for line in range(2, KEPT_REJECTIONS + 7)]
    tally = told(Rejected("users", each[:1]), Rejected("users", each[1:700]), Rejected("users", each[700:]))
    assert (len(tally.rejections), tally.counts.rejected, tally.rejections_omitted) == (1_000, 1_005, 5)
    assert tally.rejections[-1].place.line == 1_001
    assert tally.reasons == {"type-error": 1_005}


@pytest.mark.parametrize(
    ("ends", "rejects", "allowed", "status", "exit_code"),
    [
        ((), 0, False, "complete", 0),
        (("complete", "complete"), 0, False, "complete", 0),
        (("complete", "complete"), 1, False, "rejects", 1),
        (("complete", "complete"), 1, True, "rejects", 0),
        (("failed", "stopped"), 1, True, "failed", 3),
        (("complete", "failed"), 0, False, "failed", 3),
        (("complete", "stopped"), 0, False, "failed", 3),
        (("failed", "interrupted"), 1, True, "interrupted", 130),
        (("complete", None), 0, True, "interrupted", 130),
    ],
)
def test_the_status_of_a_run(
    ends: Sequence[Status | None], rejects: int, allowed: bool, status: str, exit_code: int
) -> None:
    """The worst end of a dataset is the run's; rejects matter only if all are complete, and no limit allows them."""
    tallies = [Tally(str(at), (), "", Counts(rejected=rejects), end) for at, end in enumerate(ends)]
    report = Report.of(tallies, allowed=allowed)
    assert (report.status, report.exit_code) == (status, exit_code)


def test_a_result_that_cannot_be_written_fails_the_run() -> None:
    """All records are stored, yet without its result the run has failed."""
    report = Report.of([Tally("users", (), "", status="complete")])
    report.outputs.append(OutputError("result.json cannot be written"))
    assert (report.status, report.exit_code) == ("failed", 3)


def test_a_report_knows_when_it_began() -> None:
    """A run has a start in UTC and a duration that does not run backward; whether it was a check is kept."""
    report = Report.of([], check=True)
    first = report.seconds
    assert report.started.tzinfo is not None
    assert 0 <= first <= report.seconds
    assert report.check


def test_a_problem_has_a_title_and_a_detail() -> None:
    """What a dataset failed for can be told as RFC 9457 has it."""
    assert (PROBLEM.title, PROBLEM.detail) == ("source cannot be used", "users.csv is empty")
    assert UpstreamError("x").title != PROBLEM.title


def test_the_reasons_of_any_number_of_fields_take_little_memory() -> None:
    """Names that rows make up are counted together once there are a hundred; the counts by code stay exact."""
    tally = Tally("users", (), "users.db")
    for at in range(1_000):
        reason = Reason("extra-cell", f"made_up_{at}", "is not a field")
        tally.fold(Rejected("users", [Rejection(Place("u.ndjson", at + 1, at + 1), {}, (reason,))]))
    assert len(tally.whys) == 101
    assert tally.whys["extra-cell", None].count == 900
    assert tally.reasons == {"extra-cell": 1_000}
