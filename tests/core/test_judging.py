"""What becomes of each record of a batch, against what is stored and what this run has committed."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.core.claims import Parsed, referred
from loader.core.dataset import Dataset
from loader.core.fields import Group
from loader.core.judging import Absent, Refusal, Verdict, claims, judge, suspects
from loader.core.keys import KeySet
from loader.core.records import Batch, Cause, Draft, Place, Reason, Record, Records
from loader.datasets.orders import ORDERS
from loader.datasets.users import USERS

REFERENCES = {group.name: group for group in ORDERS.reference_groups}
BAD = Reason("constraint-error", "name", "must not be blank")
ALICE, BOB, CAROL = (1, "Alice", "alice@x"), (2, "Bob", "bob@x"), (3, "Carol", "carol@x")


def keys(*some: object) -> KeySet:
    return KeySet(some)


def place(line: int) -> Place:
    return Place("things.csv", line, line - 1)


def batch(*rows: Sequence[object] | Mapping[int, object]) -> Batch:
    """Rows from line 2 on: a tuple is a record, a mapping what was understood of a row that its model refused."""
    numbered = list(enumerate(rows, 2))
    return Batch(
        Records.of(tuple(row) for _, row in numbered if not isinstance(row, Mapping)),
        [line for line, row in numbered if not isinstance(row, Mapping)],
        [Draft(line, (BAD,), row) for line, row in numbered if isinstance(row, Mapping)],
    )


def verdict_on(
    dataset: Dataset,
    rows: Batch,
    stored: Iterable[Record] = (),
    absent: Mapping[Group, Absent] = {},
    committed: KeySet | None = None,
    had_records: bool = False,
    update: bool = False,
) -> Verdict:
    """The verdict where a table holds these records, with those that are stored without further ado."""
    table, parsed, committed = list(stored), Parsed.of(dataset, rows), committed or keys()
    differing = [at for at, record in enumerate(rows.records) if record not in table] if had_records else None
    doubted = suspects(dataset, parsed, absent)
    free = [at for at in (range(len(rows.records)) if differing is None else differing) if at not in doubted]
    held = {at for at in free if holders(dataset, claims(dataset, Batch(rows.records[at : at + 1])), table)}
    doubted |= held
    some = rows.only(sorted(doubted))
    wanted = claims(dataset, some, None if had_records else committed)
    verdict = judge(dataset, rows, some, holders(dataset, wanted, table), absent, committed, place, update)
    verdict.unchanged += len(rows.records) - len(free) + len(held) - len(doubted)
    stored_at_once = [rows.records[at] for at in free if at not in held]
    verdict.inserts = sorted([*verdict.inserts, *stored_at_once], key=list(rows.records).index)
    verdict.keys |= {dataset.key_group.of(rows.records[at]) for at in range(len(rows.records)) if at not in doubted}
    return verdict


def holders(dataset: Dataset, wanted: Mapping[Group, Sequence[Any]], table: Sequence[Record]) -> list[Record]:
    """The records of a table that hold one of these values."""
    folded = {group: set(map(group.fold, values)) for group, values in wanted.items()}
    return [one for one in table if any(group.fold(group.of(one)) in values for group, values in folded.items())]


def judged(rows: Batch, *stored: Any, committed: Sequence[object] = (), update: bool = False) -> Verdict:
    return verdict_on(USERS, rows, stored, committed=keys(*committed), had_records=bool(stored), update=update)


def told(verdict: Verdict) -> list[tuple[int, list[str]]]:
    """The reasons of each refusal, by line."""
    return [(refusal.line, [str(reason) for reason in refusal.reasons]) for refusal in verdict.refusals]


def test_records_that_share_a_claim_with_another_row_are_contested() -> None:
    """They want what another record or a draft wants."""
    rows = batch(
        (1, "A", "A@x"), {0: 2, 1: "B"}, {2: "C@X"}, (3, "A", "a@X"), (4, "D", "d@x"), (5, "E", "c@x"), (2, "F", "f@x")
    )
    assert Parsed.of(USERS, rows).contested == [0, 1, 3, 4]
    assert set(Parsed.of(USERS, rows).keys) == {1, 2, 3, 4, 5}
    assert Parsed.of(USERS, batch(ALICE, (1, "Bob", "bob@x"), CAROL)).contested == [0, 1]
    assert Parsed.of(USERS, batch(ALICE, BOB)).contested == []


FEW = st.integers(0, 9)
AN_ORDER = st.one_of(st.tuples(FEW, FEW, FEW, FEW), st.dictionaries(FEW.map(lambda at: at % 4), FEW))


@given(st.lists(AN_ORDER), st.sets(FEW), st.sets(FEW), st.sets(FEW))
def test_what_is_known_beforehand_leaves_the_same_suspects(
    rows: list[Any], users: set[int], products: set[int], unknown: set[int]
) -> None:
    """Told of keys that are there, parsing leaves less to be looked at, and nothing is seen otherwise."""
    there, orders = [KeySet(users), KeySet(products)], batch(*rows)
    plain = Parsed.of(ORDERS, orders)
    absent = {
        group: Absent("thing", dict.fromkeys(refers - keys))
        for group, refers, keys in zip(ORDERS.reference_groups, plain.refers, there, strict=True)
    }
    known = [keys - KeySet(unknown) for keys in there]
    parsed = Parsed.of(ORDERS, orders, known)
    assert suspects(ORDERS, parsed, absent) == suspects(ORDERS, plain, absent)
    assert [set(each) for each in parsed.refers] == [
        set(refers - some) for refers, some in zip(plain.refers, known, strict=True)
    ]
    for at, group in enumerate(ORDERS.reference_groups):
        lacking = [row for row, key in enumerate(group.of_all(orders.records)) if key in parsed.refers[at]]
        assert parsed.unsure[at] == (lacking if known[at] else None)


def test_records_that_nobody_contests_are_inserted() -> None:
    """Records that share no claim are stored in the order of the file, and their keys are told."""
    verdict = judged(batch(ALICE, BOB))
    assert (list(verdict.inserts), set(verdict.keys), verdict.refusals) == ([ALICE, BOB], {1, 2}, [])


def test_first_in_file_wins_a_key() -> None:
    """Of two records of a key the first is stored; the other is told which record has it, and what differs."""
    verdict = judged(batch(ALICE, (1, "Alicia", "a2@x"), (1, "Alice", "a3@x")))
    assert list(verdict.inserts) == [ALICE]
    assert told(verdict) == [
        (3, ["primary-key: id 1 is stored already, with another name and email"]),
        (4, ["primary-key: id 1 is stored already, with another email"]),
    ]
    assert [refusal.reasons[0].holder for refusal in verdict.refusals] == [1, 1]


def test_first_in_file_wins_a_unique_value() -> None:
    """A second record of an e-mail address, in whatever case, is told whose it is; names may repeat."""
    verdict = judged(batch(ALICE, (8, "Alice", "ALICE@X"), (9, "Alice", "other@x")))
    assert (list(verdict.inserts), told(verdict)) == (
        [ALICE, (9, "Alice", "other@x")],
        [(3, ["unique-error: email 'ALICE@X' is user 1's"])],
    )
    assert verdict.refusals == [Refusal(3, 8, verdict.refusals[0].reasons)]
    assert verdict.refusals[0].reasons[0].holder == 1


def test_a_rejected_row_claims_nothing() -> None:
    """What a refused row wanted is free for the next that wants it, whatever it was refused for."""
    verdict = judged(batch({0: 1, 2: "alice@x"}, ALICE, (1, "Dan", "dan@x"), (4, "Dan", "dan@x")))
    assert list(verdict.inserts) == [ALICE, (4, "Dan", "dan@x")]
    assert [(refusal.line, refusal.key) for refusal in verdict.refusals] == [(2, 1), (4, 1)]


def test_every_reason_of_a_row_is_told() -> None:
    """A row that its model refuses still has its claims looked at, each of them; an unknown key is None."""
    verdict = judged(batch(ALICE, BOB, {0: 1, 2: "BOB@x"}, {2: "alice@x"}))
    assert told(verdict) == [
        (
            4,
            [
                str(BAD),
                "primary-key: id 1 is stored already, with another email",
                "unique-error: email 'BOB@x' is user 2's",
            ],
        ),
        (5, [str(BAD), "unique-error: email 'alice@x' is user 1's"]),
    ]
    assert [refusal.key for refusal in verdict.refusals] == [1, None]


def test_what_is_stored_and_equal_is_unchanged() -> None:
    """A record that an earlier run stored, or an earlier row of this, is no news; its key is told all the same."""
    verdict = judged(batch(ALICE, BOB, BOB), ALICE)
    assert (list(verdict.inserts), verdict.unchanged, verdict.refusals) == ([BOB], 2, [])
    assert set(verdict.keys) == {1, 2}


def test_what_is_stored_and_differs_is_refused() -> None:
    """An earlier run's record keeps its key and its values."""
    verdict = judged(batch((1, "Alice", "new@x"), (4, "Dan", "Bob@x")), ALICE, BOB)
    assert not verdict.inserts
    assert told(verdict) == [
        (2, ["primary-key: id 1 is stored already, with another email"]),
        (3, ["unique-error: email 'Bob@x' is user 2's"]),
    ]


def test_case_is_no_reason_to_take_two_records_for_one() -> None:
    """The same address in another case is the same claim, but not the same record."""
    assert told(judged(batch((1, "Alice", "ALICE@x")), ALICE)) == [
        (2, ["primary-key: id 1 is stored already, with another email"])
    ]


def test_a_refused_row_has_the_same_reasons_in_a_second_run() -> None:
    """A row that is refused in any case is not held against a row behind it, which an earlier run has stored."""
    rows = batch({0: 1, 2: "alice@x"}, ALICE)
    first, second = judged(rows), judged(rows, ALICE)
    assert told(first) == told(second) == [(2, [str(BAD)])]
    assert (list(first.inserts), second.unchanged) == ([ALICE], 1)


@pytest.mark.parametrize(
    ("rows", "updates", "refused"),
    [
        ([(1, "Alicia", "alice@x")], [(1, "Alicia", "alice@x")], []),
        ([(1, "Alice", "new@x"), (4, "Dan", "alice@x")], [(1, "Alice", "new@x")], []),
        ([(1, "Alicia", "bob@x")], [], [2]),
        ([(1, "Al", "alice@x"), (1, "Ali", "alice@x")], [(1, "Al", "alice@x")], [3]),
        ([ALICE, (1, "Al", "alice@x")], [], [3]),
        ([(2, "Bob", "new@x"), (1, "Alice", "bob@x")], [(2, "Bob", "new@x"), (1, "Alice", "bob@x")], []),
    ],
    ids=["new value", "gives up its claim", "not another's claim", "once a run", "unchanged is final", "in file order"],
)
def test_with_update_a_record_of_an_earlier_run_gives_way(
    rows: Sequence[Any], updates: list[Any], refused: list[int]
) -> None:
    """The first row of a key replaces what an earlier run stored, and frees what that claimed."""
    verdict = judged(batch(*rows), ALICE, BOB, update=True)
    assert (verdict.updates, [refusal.line for refusal in verdict.refusals]) == (updates, refused)
    assert {record[0] for record in updates} <= set(verdict.keys)


def test_with_update_what_this_run_committed_stays() -> None:
    """A record that an earlier batch of the run stored does not give way to a later row."""
    verdict = judged(batch((1, "Alicia", "alice@x")), ALICE, committed=[1], update=True)
    assert (verdict.updates, told(verdict)) == ([], [(2, ["primary-key: id 1 is stored already, with another name"])])


def test_a_missing_reference_tells_its_cause() -> None:
    """A reference to what is not there says which record upstream was rejected, where and why, if one was."""
    cause = Cause("products", 7, Place("products.csv", 8, 7), Reason("unique-error", "name", "'Laptop' is product 1's"))
    absent = {REFERENCES["user_id"]: Absent("user", {9: None}), REFERENCES["product_id"]: Absent("product", {7: cause})}
    rows = batch((1, 1, 1, 1), (2, 9, 7, 1), {0: 3, 1: 9, 2: 1})
    verdict = verdict_on(ORDERS, rows, absent=absent)
    assert list(verdict.inserts) == [(1, 1, 1, 1)]
    assert told(verdict) == [
        (
            3,
            [
                "foreign-key: user_id no user 9",
                "foreign-key: product_id no product 7: products.csv:8 was rejected "
                "(unique-error: name 'Laptop' is product 1's)",
            ],
        ),
        (4, [str(BAD), "foreign-key: user_id no user 9"]),
    ]
    assert [reason.cause for reason in verdict.refusals[0].reasons] == [None, cause]


def test_a_missing_key_is_told_as_it_stands_in_the_row() -> None:
    """Also where a set of keys, in which 1.0 and 1 are the same, has kept it otherwise."""
    model = attrs.make_class("Note", {"id": attrs.field(type=int), "price": attrs.field(type=float)})
    notes = Dataset("notes", model, "id", references={"price": "prices"})
    [price] = notes.reference_groups
    absent = {price: Absent("price", dict.fromkeys(KeySet([1.0, 2.5])))}
    verdict = verdict_on(notes, batch((1, 1.0), (2, 2.5), {0: 3, 1: 1.0}), absent=absent)
    assert [str(refusal.reasons[-1]) for refusal in verdict.refusals] == [
        f"foreign-key: price no price {key}" for key in ("1.0", "2.5", "1.0")
    ]


def test_what_was_missing_before_and_is_there_now_is_no_reason() -> None:
    """Reasons that were given before are given again only for what is missing still."""
    users, products = REFERENCES["user_id"], REFERENCES["product_id"]
    earlier = Absent("user", {7: None})
    verdict_on(ORDERS, batch((1, 7, 1, 1)), absent={users: earlier})
    absent = {users: attrs.evolve(earlier, keys={8: None}), products: Absent("product", {9: None})}
    verdict = verdict_on(ORDERS, batch((2, 7, 9, 1), (3, 8, 1, 1)), absent=absent)
    assert told(verdict) == [(2, ["foreign-key: product_id no product 9"]), (3, ["foreign-key: user_id no user 8"])]


def test_a_reference_and_a_claim_can_both_be_wrong() -> None:
    """A row whose reference is missing is also told that an earlier row has its key."""
    absent = {REFERENCES["user_id"]: Absent("user", {9: None})}
    rows = batch((1, 1, 1, 1), (1, 9, 1, 1))
    verdict = verdict_on(ORDERS, rows, absent=absent)
    assert [[reason.code for reason in refusal.reasons] for refusal in verdict.refusals] == [
        ["foreign-key", "primary-key"]
    ]


MAYBE_INT: Any = int | None
TREE = Dataset(
    "tree",
    attrs.make_class("Node", {"id": attrs.field(type=int), "up": attrs.field(type=MAYBE_INT)}),
    "id",
    references={"up": "tree"},
)
[UP] = TREE.reference_groups


@pytest.mark.parametrize(
    ("rows", "inserted", "dangling"),
    [
        ([(1, None), (2, 1)], [1, 2], {}),
        ([(2, 1), (1, None)], [1], {2: None}),
        ([(1, 1), (2, 1)], [], {2: None, 3: 1}),
        ([(1, None), (2, 1), (3, 2), (4, 3)], [1, 2, 3, 4], {}),
        ([(1, 7), (2, 1), (3, 2)], [], {2: None, 3: 1, 4: 2}),
        ([{0: 1}, (1, None), (2, 1)], [1, 2], {}),
        ([(2, 1), {0: 1}, (3, 1)], [], {2: None, 4: 1}),
    ],
)
def test_a_reference_to_the_own_dataset_is_to_an_earlier_row(
    rows: list[Any], inserted: list[int], dangling: dict[int, int | None]
) -> None:
    """Only rows before it that are accepted count; the first one of that key that was refused is the cause."""
    given_ = batch(*rows)
    absent = {UP: Absent("node", dict.fromkeys(referred(UP, given_)), among_rows=True, room=9)}
    verdict = verdict_on(TREE, given_, absent=absent)
    assert [key for key, _ in verdict.inserts] == inserted
    found = {
        refusal.line: reason.cause and reason.cause.key
        for refusal in verdict.refusals
        for reason in refusal.reasons
        if reason.code == "foreign-key"
    }
    assert found == dangling


def test_what_is_stored_is_unchanged_though_its_reference_is_not_there_before() -> None:
    """In a second run a record is known by its key, also where no row before it is what it refers to."""
    absent = {UP: Absent("node", {1: None}, among_rows=True, room=9)}
    verdict = verdict_on(TREE, batch((2, 1), (3, None)), [(2, 1)], absent, had_records=True)
    assert (verdict.unchanged, list(verdict.inserts), verdict.refusals) == (1, [(3, None)], [])


def test_causes_among_the_rows_are_kept_as_long_as_there_is_room() -> None:
    """So memory stays flat: later rejections are still told, without their causes."""
    absent = {UP: Absent("node", {7: None, 1: None, 2: None}, among_rows=True, room=1)}
    rows = batch((1, 7), (2, 7), (3, 1), (4, 2))
    verdict = verdict_on(TREE, rows, absent=absent)
    causes = [refusal.reasons[0].cause for refusal in verdict.refusals]
    assert [cause and cause.place.line for cause in causes] == [None, None, 2, None]


PAIRS = Dataset(
    "pairs",
    attrs.make_class(
        "Pair", {"id": attrs.field(type=int), "a": attrs.field(type=MAYBE_INT), "b": attrs.field(type=str)}
    ),
    "id",
    unique=("a", "b"),
    nocase=("b",),
)


@given(
    st.lists(st.tuples(st.integers(1, 300) | st.integers(), st.none() | st.integers(1, 3), st.text("aB", max_size=9))),
    st.lists(st.dictionaries(st.sampled_from([0]), st.integers(1, 300))),
    st.integers(0, 200),
)
def test_contested_is_whoever_shares_a_claim_and_nobody_else(
    rows: list[Record], drafts: list[Mapping[int, object]], more: int
) -> None:
    """In a batch of any length, wherever the rows stand: those that one by one are found to share a value."""
    alone: list[Record] = [(1000 + at, at, "c") for at in range(more)]
    parsed = Parsed.of(PAIRS, batch(*alone, *rows, *drafts, *rows[:1]))
    wanted: list[tuple[Group, object]] = []
    for row in [*parsed.batch.records, *drafts]:
        wanted += [(group, group.fold(group.of(row))) for group in PAIRS.claim_groups]
    found = [
        at
        for at, row in enumerate(parsed.batch.records)
        for values in [[group.fold(group.of(row)) for group in PAIRS.claim_groups]]
        if any(
            value is not None and wanted.count((group, value)) > 1
            for group, value in zip(PAIRS.claim_groups, values, strict=True)
        )
    ]
    assert parsed.contested == found


def test_no_value_is_no_claim() -> None:
    """Any number of records may have no value where it is unique, as in SQL."""
    rows = batch((1, None, "x"), (2, None, "y"), {0: 3})
    assert Parsed.of(PAIRS, rows).contested == []
    verdict = verdict_on(PAIRS, rows)
    assert (len(verdict.inserts), len(verdict.refusals)) == (2, 1)


PAIR = st.tuples(st.integers(1, 4), st.integers(1, 4) | st.none(), st.sampled_from(["x", "X", "y", "z"]))
ROW = PAIR | st.dictionaries(st.integers(0, 2), st.none()).flatmap(
    lambda left_out: PAIR.map(lambda pair: {at: value for at, value in enumerate(pair) if at not in left_out})
)


class Store:
    """A table in memory, and the run that fills it."""

    def __init__(self, rows: Sequence[Any] = ()) -> None:
        self.records = {row[0]: row for row in rows}
        self.run_again()

    def take(self, rows: Batch, update: bool) -> Verdict:
        verdict = verdict_on(
            PAIRS, rows, self.records.values(), committed=self.committed, had_records=self.had_records, update=update
        )
        self.records |= {record[0]: record for record in (*verdict.updates, *verdict.inserts)}
        self.committed |= KeySet(verdict.keys)
        return verdict

    def run_again(self) -> None:
        """Begin a run over what earlier ones stored."""
        self.committed, self.had_records = keys(), bool(self.records)

    def sound(self) -> bool:
        columns = ([r[1] for r in self.records.values() if r[1]], [r[2].lower() for r in self.records.values()])
        return all(len(set(column)) == len(column) for column in columns)


@given(st.lists(ROW, max_size=8), st.lists(PAIR, max_size=3), st.lists(st.integers(0, 8)), st.booleans())
def test_batches_do_not_matter(rows: list[Any], before: list[Any], cuts: list[int], update: bool) -> None:
    """However the rows are cut into batches, the same are stored and refused for the same reasons."""
    whole, pieces = Store(), Store()
    for store in (whole, pieces):
        for record in before:
            store.take(batch(record), update=False)
        store.run_again()
    all_rows = batch(*rows)
    verdict = whole.take(all_rows, update)
    lines = [2, *sorted(2 + cut for cut in cuts), 2 + len(rows)]
    verdicts = [pieces.take(batch_between(all_rows, start, end), update) for start, end in pairwise(lines)]
    assert pieces.records == whole.records
    assert [told_ for each in verdicts for told_ in told(each)] == told(verdict)
    assert sum(each.unchanged for each in verdicts) == verdict.unchanged
    ends = len(verdict.inserts) + len(verdict.updates) + verdict.unchanged + len(verdict.refusals)
    assert ends == len(rows)
    assert whole.sound()
    assert set(verdict.keys) <= set(whole.records)


def batch_between(rows: Batch, start: int, end: int) -> Batch:
    before, until = rows.before(start), rows.before(end)
    return Batch(
        until.records[len(before.records) :], until.lines[len(before.lines) :], until.drafts[len(before.drafts) :]
    )


def verdicts_of_two_runs(rows: list[Any], before: list[Any]) -> tuple[Verdict, Verdict]:
    """The verdicts on a file that is loaded twice over a table that held records before."""
    store = Store()
    for record in before:
        store.take(batch(record), update=False)
    store.run_again()
    first = store.take(batch(*rows), update=False)
    stored = dict(store.records)
    store.run_again()
    second = store.take(batch(*rows), update=False)
    assert store.records == stored
    assert (list(second.inserts), second.unchanged) == ([], len(first.inserts) + first.unchanged)
    return first, second


@given(st.lists(ROW, max_size=8))
def test_a_second_run_changes_nothing(rows: list[Any]) -> None:
    """What a run stored is unchanged in the next, and the same rows are refused for the same reasons."""
    first, second = verdicts_of_two_runs(rows, [])
    assert told(second) == told(first)


@given(st.lists(ROW, max_size=8), st.lists(PAIR, max_size=3))
def test_a_second_run_refuses_the_same_rows_whatever_was_there_before(rows: list[Any], before: list[Any]) -> None:
    """Over older records, the second run refuses the same rows, and may name more holders of what they claim."""
    first, second = verdicts_of_two_runs(rows, before)
    assert [line for line, _ in told(second)] == [line for line, _ in told(first)]
    for (_, again), (_, reasons) in zip(told(second), told(first), strict=True):
        assert set(again) >= set(reasons)


def test_a_batch_that_is_stored_as_a_whole_is_unchanged() -> None:
    """Loaded again, all records are there; if one of them is not, or is another, the others still are."""
    rows = batch(ALICE, BOB)
    verdict = judged(rows, CAROL, BOB, ALICE)
    assert (list(verdict.inserts), verdict.unchanged, set(verdict.keys)) == ([], 2, {1, 2})
    verdict = judged(rows, CAROL, BOB, (1, "Alicia", "alice@x"))
    assert (list(verdict.inserts), verdict.unchanged, len(verdict.refusals)) == ([], 1, 1)
