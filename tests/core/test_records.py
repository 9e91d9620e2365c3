"""How places and reasons are written, and how the rows of a batch are found by their lines."""

import pickle
from array import array
from collections.abc import Iterable
from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.core.records import Batch, Cause, Draft, Place, Reason, Records, only, without


def test_a_place_is_written_by_line_or_by_row() -> None:
    """A place is file and line; where a format has no lines, file and row."""
    assert str(Place("users.csv", 8, 7)) == "users.csv:8"
    assert str(Place("users.json", None, 7)) == "users.json#7"


def test_a_reason_is_written_with_its_field() -> None:
    """A reason begins with its code, and names the field if there is one."""
    assert str(Reason("type-error", "id", "not an integer: 'x'")) == "type-error: id not an integer: 'x'"
    assert str(Reason("row-error", None, "is not UTF-8")) == "row-error: is not UTF-8"


def test_a_cause_is_told_in_short() -> None:
    """What a cause is about may be long, and may have causes itself: neither is kept."""
    first = Cause("a", 1, Place("a.csv", 2, 1), Reason("type-error", "id", "not an integer", "x" * 1000))
    second = Cause("b", 2, Place("b.csv", 2, 1), Reason("foreign-key", "a", "no a 1", 1, cause=first))
    assert (first.reason, second.reason) == (
        Reason("type-error", "id", "not an integer"),
        Reason("foreign-key", "a", "no a 1"),
    )


Rows = list[tuple[int, bool, int | None]]


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    """Rows by line, in file order: whether each is a record, and the value of its only field."""
    lines = sorted(draw(st.sets(st.integers(2, 30), max_size=12)))
    return [(line, draw(st.booleans()), draw(st.integers(0, 3) | st.none())) for line in lines]


def batch_of(some: Iterable[tuple[int, bool, int | None]]) -> Batch:
    some = list(some)
    return Batch(
        Records.of((value,) for _, is_record, value in some if is_record),
        [line for line, is_record, _ in some if is_record],
        [Draft(line, (), {} if value is None else {0: value}) for line, is_record, value in some if not is_record],
    )


@given(rows(), st.integers(0, 32))
def test_rows_are_found_by_line(some: Rows, line: int) -> None:
    """Records and drafts count alike: what stands before a line, how many those are, and which line comes next."""
    batch = batch_of(some)
    lines = [at for at, _, _ in some]
    assert len(batch) == len(some)
    before, expected = batch.before(line), batch_of(row for row in some if row[0] < line)
    assert list(before.records) == list(expected.records)
    assert (before.lines, before.drafts) == (expected.lines, expected.drafts)
    assert batch.rows_at(lines[::2]) == [*range(len(lines))][::2]
    assert list(batch.spans(lines[::2])) == list(zip_longest(lines, lines[1:]))[::2]


def test_a_batch_of_nothing() -> None:
    """An empty batch has no rows."""
    assert (len(Batch()), Batch().rows_at([])) == (0, [])


def test_a_part_keeps_the_origins() -> None:
    """The part of a batch still knows where its rows stood at first."""
    batch = Batch(Records.of([(1,)]), [2], origins={2: Place("users.csv", 9, 8)})
    assert batch.before(3).origins == batch.only([0]).origins == {2: Place("users.csv", 9, 8)}


@given(st.lists(st.tuples(st.integers(), st.text())), st.data())
def test_records_are_a_sequence(rows: list[tuple[int, str]], data: st.DataObject) -> None:
    """Kept as columns, records are counted, taken, left out and written down as rows are."""
    records = Records.of(rows)
    assert (list(records), len(records)) == (rows, len(rows))
    assert [records[at] for at in range(len(rows))] == rows
    start = data.draw(st.integers(0, len(rows)))
    assert list(records[start:]) == rows[start:]
    assert records.flat() == [value for row in rows for value in row]
    positions = sorted(data.draw(st.sets(st.integers(0, len(rows) - 1))) if rows else [])
    others = [row for at, row in enumerate(rows) if at not in positions]
    assert list(records.without(positions)) == others
    assert list(records.only(positions)) == [rows[at] for at in positions]


@given(st.integers(0, 20), st.sets(st.integers(0, 19)))
def test_a_column_of_any_kind_can_be_left_out_of(length: int, positions: set[int]) -> None:
    """Lists, tuples, ranges and arrays keep the values at the other positions; nothing is changed in place."""
    some = sorted(at for at in positions if at < length)
    for column in (range(length), list(range(length)), tuple(range(length)), array("q", range(length))):
        assert list(without(column, some)) == [at for at in range(length) if at not in positions]
        assert len(column) == length


@given(st.integers(0, 20), st.lists(st.sets(st.integers(0, 19)), max_size=3))
def test_a_range_with_gaps_is_a_sequence(length: int, leaving: list[set[int]]) -> None:
    """What is left out of a range, time after time, is not there any more, whichever way the rest is looked at."""
    left, expected = without(range(5, 5 + length), ()), list(range(5, 5 + length))
    for positions in leaving:
        some = sorted(at for at in positions if at < len(expected))
        left, expected = without(left, some), [each for at, each in enumerate(expected) if at not in some]
        assert (list(left), len(left)) == (expected, len(expected))
        assert [left[at] for at in range(-len(expected), len(expected))] == expected * 2
        assert only(left, range(0, len(expected), 2)) == expected[::2]
        assert (list(left[1:3]), list(left[-1:]), list(left[:1])) == (expected[1:3], expected[-1:], expected[:1])
    with pytest.raises(IndexError):
        left[len(expected)]


COLUMNS = st.one_of(
    st.lists(st.text("ab\n\r\u2028", max_size=3), min_size=2, max_size=2),
    st.lists(st.text("ab", max_size=2) | st.none() | st.integers(), min_size=2, max_size=2),
    st.just(array("q", [1, -1])),
)


@given(st.lists(COLUMNS, min_size=1, max_size=3))
def test_records_arrive_as_they_were_sent(columns: list[list[object]]) -> None:
    """Pickled and unpickled, each column is what it was, whatever ends of lines are in its texts."""
    assert pickle.loads(pickle.dumps(Records(columns))) == Records(columns)
