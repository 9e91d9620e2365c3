"""What becomes of each record: stored, already there, or refused, in the order of the file.

A record that shares no claim with any other and whose references are all there is stored, or unchanged, without further
ado; only the rest, the contested, are gone through one by one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from attrs import Factory, define, frozen

from loader.core.claims import among
from loader.core.dataset import Dataset
from loader.core.fields import Group
from loader.core.keys import KeySet
from loader.core.records import Batch, Cause, Place, Reason, Record, Records
from loader.core.values import shortened, shown


@frozen
class Absent:
    """Keys that a reference names in vain, each with the rejection that is the cause, if one is known.

    Those of the own dataset, `among_rows`, may yet be those of rows before, whose rejections are causes as long as
    there is `room` for more.
    """

    singular: str
    keys: Mapping[object, Cause | None]
    among_rows: bool = False
    room: int = 0


@frozen
class Refusal:
    """The verdict on a row that is rejected; `key` is None if it could not be understood."""

    line: int
    key: object
    reasons: tuple[Reason, ...]


@define
class Verdict:
    """What is to be written; `keys` are those of all records of the batch that are stored once that is done."""

    inserts: Records = Factory(Records)
    updates: list[Record] = Factory(list)
    unchanged: int = 0
    keys: KeySet = Factory(KeySet)
    refusals: list[Refusal] = Factory(list)


def contenders(
    dataset: Dataset,
    batch: Batch,
    contested: Sequence[int],
    absent: Mapping[Group, Absent],
    committed: KeySet,
    differing: Sequence[int] | None,
) -> Mapping[Group, Sequence[object]]:
    """The values of which it has to be known who holds them, before a batch can be judged (see `judge`)."""
    if differing is None:
        wanted = {group: list(group.present(batch.records)) for group in dataset.claim_groups}
        wanted[dataset.key_group] = list(KeySet(wanted[dataset.key_group]) & committed)
    else:
        some = batch.records.only({*differing, *_suspects(dataset, batch, contested, absent)})
        wanted = {group: list(group.present(some)) for group in dataset.claim_groups}
    for group, values in wanted.items():
        values += group.of_drafts(batch.drafts)
    return wanted


def judge(
    dataset: Dataset,
    batch: Batch,
    contested: Sequence[int],
    stored: Sequence[Record],
    absent: Mapping[Group, Absent],
    committed: KeySet,
    differing: Sequence[int] | None,
    place: Callable[[int], Place],
    update: bool = False,
) -> Verdict:
    """Judge a batch against the stored records that hold what is contended for.

    `contested` are the records that share a claim with another row of it (see `claims`). `absent` has what references
    name in vain. `committed` are the keys that this run has stored or found unchanged so far: the first in the file
    wins. `differing` are the positions of the records that are not stored as they stand; None if no earlier run has
    stored any. `place` tells where the row of a line stands. With `update`, a record of an earlier run gives way to one
    of its key.

    A row that is refused for another reason is held only against the rows before it, not against what an earlier run
    stored; so a second run, which finds the rows behind it stored as well, gives the same reasons as the first.
    """
    verdict = Verdict()
    held = _Held(dataset, stored, committed)
    rows = _contested(dataset, batch, contested, stored, absent)
    earlier = _Earlier(dataset, batch, held, rows, place, max((each.room for each in absent.values()), default=0))
    settled: list[int] = []  # records that are refused, or dealt with already
    for row in rows:
        key = dataset.key_group.of(row.values)
        holder = held.records.get(key)
        is_stored = row.record is not None and row.record == holder
        reasons = [*row.reasons, *_dangling(row, absent, earlier, is_stored)]
        if is_stored and not reasons:
            verdict.unchanged += 1
            held.ours.add(key)
        else:
            replaces = update and holder is not None and not held.in_this_run(key)
            contests = list(_contests(dataset, row, held, may_replace=replaces))
            if reasons or any(held.in_this_run(contest.holder) for contest in contests):
                contests = [contest for contest in contests if held.in_this_run(contest.holder)]
            reasons += contests
            if reasons or row.record is None:
                refusal = Refusal(row.line, key, tuple(reasons))
                verdict.refusals.append(refusal)
                earlier.refuse(refusal)
            else:
                held.give(row.record, instead_of=holder)
                if holder is None:
                    continue
                verdict.updates.append(row.record)
        if row.record is not None:
            settled.append(row.at)
    remaining = batch.records.without(settled)
    verdict.keys = KeySet(dataset.key_group.of_all(remaining)) | KeySet(held.ours)
    verdict.inserts = remaining
    if differing is not None:
        new = set(differing).difference(settled).intersection(range(len(batch.records)))
        verdict.inserts = batch.records.only(sorted(new))
        verdict.unchanged += len(remaining) - len(verdict.inserts)
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
        self.unique: dict[Group, dict[object, object]] = {group: {} for group in dataset.unique_groups}
        self.ours: set[object] = set()
        self._key, self._committed = dataset.key_group, committed
        for record in stored:
            self._put(record)

    def in_this_run(self, key: object) -> bool:
        return key in self.ours or key in self._committed

    def give(self, record: Record, instead_of: Record | None) -> None:
        """A record is accepted, and gets what it claims."""
        if instead_of is not None:
            for group, keys in self.unique.items():
                keys.pop(group.fold(group.of(instead_of)), None)
        self._put(record)
        self.ours.add(self._key.of(record))

    def _put(self, record: Record) -> None:
        key = self._key.of(record)
        self.records[key] = record
        for group, keys in self.unique.items():
            if (value := group.of(record)) is not None:
                keys[group.fold(value)] = key


class _Earlier:
    """Which rows of a batch stand before another: what a reference to the own dataset may refer to."""

    def __init__(
        self,
        dataset: Dataset,
        batch: Batch,
        held: _Held,
        contested: Sequence[_Row],
        place: Callable[[int], Place],
        room: int,
    ) -> None:
        self._dataset, self._held, self._place, self._room = dataset, held, place, room
        self._refused: dict[object, Refusal] = {}
        self._lines: dict[object, int] = {}  # of the records that are accepted without further ado
        if dataset.name in dataset.references.values():
            among = {row.at for row in contested}
            keys = enumerate(dataset.key_group.of_all(batch.records))
            self._lines = {key: batch.lines[at] for at, key in keys if at not in among}

    def refuse(self, refusal: Refusal) -> None:
        if refusal.key is not None and len(self._refused) < self._room:
            self._refused.setdefault(refusal.key, refusal)

    def accepted(self, key: object, line: int) -> bool:
        return key in self._held.ours or self._lines.get(key, line) < line

    def cause(self, key: object) -> Cause | None:
        """The rejection of the first row of a key."""
        refusal = self._refused.get(key)
        return (
            None if refusal is None else Cause(self._dataset.name, key, self._place(refusal.line), refusal.reasons[0])
        )


def _contested(
    dataset: Dataset,
    batch: Batch,
    contested: Sequence[int],
    stored: Sequence[Record],
    absent: Mapping[Group, Absent],
) -> list[_Row]:
    """The drafts, and the records that share a claim with another row or a stored record or lack a reference."""
    rows = [_Row(draft.line, draft.values, draft.reasons) for draft in batch.drafts]
    for at in set(_suspects(dataset, batch, contested, absent, Records.of(stored))):
        record = batch.records[at]
        rows.append(_Row(batch.lines[at], dict(enumerate(record)), (), at, record))
    return sorted(rows, key=lambda row: row.line)


def _suspects(
    dataset: Dataset,
    batch: Batch,
    contested: Sequence[int],
    absent: Mapping[Group, Absent],
    stored: Records = Records(),  # noqa: B008 # it is frozen
) -> Iterator[int]:
    """The positions of the records that share a claim with another row, or one that is stored, or lack a reference."""
    yield from contested
    for group in dataset.claim_groups if stored else ():
        values = group.folded(group.of_all(batch.records))
        yield from among(values, {*group.folded(group.of_all(stored))} - {None})
    for group, missing in absent.items():
        yield from among(group.of_all(batch.records), missing.keys)


def _dangling(row: _Row, absent: Mapping[Group, Absent], earlier: _Earlier, is_stored: bool) -> Iterator[Reason]:
    for group, missing in absent.items():
        value = group.of(row.values)
        is_there = missing.among_rows and (is_stored or earlier.accepted(value, row.line))
        if value in missing.keys and not is_there:
            cause = missing.keys[value]
            message = f"no {missing.singular} {named(value)}"
            if missing.among_rows:
                cause = cause or earlier.cause(value)
                message += " in an earlier row"
            if cause is not None:
                message += f": {cause.place} was rejected ({cause.reason})"
            yield Reason("foreign-key", group.name, shortened(message), value, cause=cause)


def _contests(dataset: Dataset, row: _Row, held: _Held, may_replace: bool) -> Iterator[Reason]:
    """The claims of a row that another record holds."""
    key = dataset.key_group.of(row.values)
    holder = held.records.get(key)
    if holder is not None and not may_replace:
        message = f"{named(key)} is stored already{_differences(dataset, row, holder)}"
        yield Reason("primary-key", dataset.key_group.name, message, key, holder=key)
    for group, keys in held.unique.items():
        value = group.of(row.values)
        other = keys.get(group.fold(value))
        if other is not None and other != key:
            message = f"{named(value)} is {dataset.singular} {named(other)}'s"
            yield Reason("unique-error", group.name, message, value, holder=other)


def _differences(dataset: Dataset, row: _Row, holder: Record) -> str:
    others = [dataset.fields[at].column for at, value in row.values.items() if value != holder[at]]
    match others:
        case []:
            return ""
        case [one]:
            return f", with another {one}"
        case [one, two]:
            return f", with another {one} and {two}"
        case _:
            return ", with other values"


def named(value: object) -> str:
    """A key or another value as a message names it."""
    if isinstance(value, tuple):
        return f"({', '.join(map(named, value))})"
    return shown(value) if isinstance(value, str) else str(value)
