"""What becomes of each record: stored, already there, or refused, in the order of the file.

A record that shares no claim with any other and whose references are all there is stored without further ado; only the
rest, the contested, are gone through one by one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, count
from operator import itemgetter

from attrs import Factory, define, frozen

from loader.core.dataset import Dataset
from loader.core.keys import KeySet
from loader.core.records import Batch, Cause, Reason
from loader.core.values import fold, shown

Record = tuple[object, ...]


@frozen
class Absent:
    """Keys that a reference names in vain, each with the rejection that is the cause, if one is known."""

    singular: str
    keys: Mapping[object, Cause | None]


@frozen
class Refusal:
    """The verdict on a row that is rejected; `key` is None if it could not be understood."""

    line: int
    key: object
    reasons: tuple[Reason, ...]


@define
class Verdict:
    """What is to be written; `keys` are those of all records of the batch that are stored once that is done."""

    inserts: Sequence[Record] = ()
    updates: list[Record] = Factory(list)
    unchanged: int = 0
    keys: list[object] = Factory(list)
    refusals: list[Refusal] = Factory(list)


def claims(dataset: Dataset, batch: Batch) -> dict[int, set[object]]:
    """By field index, the values that the rows of a batch want alone: their keys and unique values."""
    return {at: set(_folded(dataset, at, batch.column(at))) for at in (dataset.key_at, *dataset.unique_at)}


def judge(
    dataset: Dataset,
    batch: Batch,
    stored: Sequence[Record],
    absent: Mapping[int, Absent],
    committed: KeySet,
    update: bool = False,
) -> Verdict:
    """Judge a batch against the stored records that hold one of its claims.

    `absent` has by field index what references name in vain. `committed` are the keys that this run has stored or found
    unchanged so far: the first in the file wins. With `update`, a record of an earlier run gives way to one of its key.

    A row that is refused for another reason is held only against the rows before it, not against what an earlier run
    stored; so a second run, which finds the rows behind it stored as well, gives the same reasons as the first.
    """
    verdict = Verdict()
    held = _Held(dataset, stored, committed)
    settled: set[int] = set()  # records that are not to be inserted
    for row in _contested(dataset, batch, stored, absent):
        reasons = [*row.reasons, *_dangling(dataset, row, absent)]
        key = row.values.get(dataset.key_at)
        holder = held.records.get(key)
        if row.record is not None and row.record == holder and not reasons:
            verdict.unchanged += 1
            held.ours.add(key)
        else:
            replaces = update and holder is not None and not held.in_this_run(key)
            contests = list(_contests(dataset, row, held, may_replace=replaces))
            if reasons or any(held.in_this_run(contest.holder) for contest in contests):
                contests = [contest for contest in contests if held.in_this_run(contest.holder)]
            reasons += contests
            if reasons or row.record is None:
                verdict.refusals.append(Refusal(row.line, key, tuple(reasons)))
            else:
                held.give(row.record, instead_of=holder)
                if holder is None:
                    continue
                verdict.updates.append(row.record)
        settled.add(row.at)
    verdict.inserts = [one for at, one in enumerate(batch.records) if at not in settled] if settled else batch.records
    verdict.keys = [*map(itemgetter(dataset.key_at), verdict.inserts), *held.ours]
    return verdict


@frozen
class _Row:
    """A contested row: `record` is None and `at` -1 for a draft."""

    line: int
    values: Mapping[int, object]
    reasons: tuple[Reason, ...] = ()
    at: int = -1
    record: Record | None = None


class _Held:
    """Who holds which claim, as far as the contested rows of a batch are concerned, while it is gone through."""

    def __init__(self, dataset: Dataset, stored: Iterable[Record], committed: KeySet) -> None:
        self.records: dict[object, Record] = {}
        self.unique: dict[int, dict[object, object]] = {at: {} for at in dataset.unique_at}
        self.ours: set[object] = set()
        self._dataset, self._committed = dataset, committed
        for record in stored:
            self._put(record)

    def in_this_run(self, key: object) -> bool:
        return key in self.ours or key in self._committed

    def give(self, record: Record, instead_of: Record | None) -> None:
        """A record is accepted, and gets what it claims."""
        if instead_of is not None:
            for at, keys in self.unique.items():
                keys.pop(_fold_one(self._dataset, at, instead_of[at]), None)
        self._put(record)
        self.ours.add(record[self._dataset.key_at])

    def _put(self, record: Record) -> None:
        key = record[self._dataset.key_at]
        self.records[key] = record
        for at, keys in self.unique.items():
            if record[at] is not None:
                keys[_fold_one(self._dataset, at, record[at])] = key


def _contested(dataset: Dataset, batch: Batch, stored: Sequence[Record], absent: Mapping[int, Absent]) -> list[_Row]:
    """The drafts, and the records that share a claim with another row or a stored record or lack a reference."""
    suspects: set[int] = set()
    for at in (dataset.key_at, *dataset.unique_at):
        values = list(_folded(dataset, at, map(itemgetter(at), batch.records)))
        shared = set(_folded(dataset, at, map(itemgetter(at), stored)))
        shared.update(_folded(dataset, at, (draft.values.get(at) for draft in batch.drafts)))
        shared.update(_repeated(values))
        shared.discard(None)
        suspects.update(_among(values, shared))
    for at, missing in absent.items():
        suspects.update(_among(list(map(itemgetter(at), batch.records)), missing.keys))
    rows = [_Row(draft.line, draft.values, draft.reasons) for draft in batch.drafts]
    for at in suspects:
        record = batch.records[at]
        rows.append(_Row(batch.lines[at], dict(enumerate(record)), (), at, record))
    return sorted(rows, key=lambda row: row.line)


def _repeated(values: Sequence[object]) -> Iterator[object]:
    if len(set(values)) < len(values):
        seen: set[object] = set()
        for value in values:
            if value in seen:
                yield value
            seen.add(value)


def _among(values: Sequence[object], some: Iterable[object]) -> Iterator[int]:
    some = set(some)
    if not some.isdisjoint(values):
        yield from compress(count(), map(some.__contains__, values))


def _dangling(dataset: Dataset, row: _Row, absent: Mapping[int, Absent]) -> Iterator[Reason]:
    for at, missing in absent.items():
        value = row.values.get(at)
        if value in missing.keys:
            cause = missing.keys[value]
            message = f"no {missing.singular} {_named(value)}"
            if cause is not None:
                message += f": {cause.place} was rejected ({cause.reason})"
            yield Reason("foreign-key", dataset.names[at], message, value, cause=cause)


def _contests(dataset: Dataset, row: _Row, held: _Held, may_replace: bool) -> Iterator[Reason]:
    """The claims of a row that another record holds."""
    key = row.values.get(dataset.key_at)
    holder = held.records.get(key)
    if holder is not None and not may_replace:
        message = f"{_named(key)} is stored already{_differences(dataset, row, holder)}"
        yield Reason("primary-key", dataset.key, message, key, holder=key)
    for at, keys in held.unique.items():
        value = row.values.get(at)
        other = keys.get(_fold_one(dataset, at, value))
        if other is not None and other != key:
            message = f"{shown(value)} is {dataset.singular} {_named(other)}'s"
            yield Reason("unique-error", dataset.names[at], message, value, holder=other)


def _differences(dataset: Dataset, row: _Row, holder: Record) -> str:
    others = [dataset.names[at] for at, value in row.values.items() if value != holder[at]]
    match others:
        case []:
            return ""
        case [one]:
            return f", with another {one}"
        case [one, two]:
            return f", with another {one} and {two}"
        case _:
            return ", with other values"


def _named(key: object) -> str:
    return shown(key) if isinstance(key, str) else str(key)


def _folded(dataset: Dataset, at: int, values: Iterable[object]) -> Iterable[object]:
    return map(fold, values) if dataset.names[at] in dataset.nocase else values


def _fold_one(dataset: Dataset, at: int, value: object) -> object:
    return fold(value) if dataset.names[at] in dataset.nocase else value
