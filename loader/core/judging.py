"""What becomes of each record: stored, already there, or refused, in the order of the file.

A record that shares no claim with any other and whose references are all there is free: it is stored without further
ado. Only the suspects are gone through one by one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from operator import attrgetter

from attrs import Factory, define, frozen

from loader.core.claims import Parsed, among
from loader.core.dataset import Dataset
from loader.core.fields import Group
from loader.core.keys import KeySet
from loader.core.records import Batch, Cause, Place, Reason, Record
from loader.core.values import shortened, shown


@frozen
class Absent:
    """Keys that a reference names in vain, each with the rejection that is the cause, if one is known.

    Those of the own dataset, `among_rows`, may yet be those of rows before, whose rejections are causes as long as
    there is `room` for more. Of the others, `told` are the reasons that were given before, which are given again.
    """

    singular: str
    keys: Mapping[object, Cause | None]
    among_rows: bool = False
    room: int = 0
    told: dict[object, Reason] = Factory(dict)


@define  # which is made in a third of the time that a frozen one takes
class Refusal:
    """The verdict on a row that is rejected; `key` is None if it could not be understood."""

    line: int
    key: object
    reasons: tuple[Reason, ...]


@define
class Verdict:
    """What is to be written of the suspects; `keys` are those of them that are stored once that is done."""

    inserts: list[Record] = Factory(list)
    updates: list[Record] = Factory(list)
    unchanged: int = 0
    keys: set[object] = Factory(set)
    refusals: list[Refusal] = Factory(list)


def suspects(dataset: Dataset, parsed: Parsed, absent: Mapping[Group, Absent]) -> set[int]:
    """The positions of the records that are not free, as far as that can be known without the database.

    They share a claim with another row, or lack a reference. `absent` has what references name in vain.
    """
    records = parsed.batch.records
    found = {*parsed.contested}
    for group, unsure in zip(dataset.reference_groups, parsed.unsure, strict=True):
        if missing := absent.get(group):
            values = group.of_all(records)
            if unsure is None:
                found.update(among(values, set(missing.keys)))
            else:
                found.update(at for at in unsure if values[at] in missing.keys)
    return found


def claims(dataset: Dataset, rows: Batch, keys: KeySet | None = None) -> Mapping[Group, list[object]]:
    """What the rows of a batch want alone, as far as they were understood.

    `keys` are all that are stored, if they are known: no others are looked for.
    """
    wanted = {group: [*group.present(rows.records), *group.of_drafts(rows.drafts)] for group in dataset.claim_groups}
    if keys is not None:
        wanted[dataset.key_group] = list(KeySet(wanted[dataset.key_group]) & keys)
    return wanted


def judge(
    dataset: Dataset,
    batch: Batch,
    doubted: Batch,
    stored: Iterable[Record],
    absent: Mapping[Group, Absent],
    committed: KeySet,
    place: Callable[[int], Place],
    update: bool = False,
) -> Verdict:
    """Judge those rows of a batch that are `doubted`: its drafts, and all records that are not free.

    The others of `batch` are there for references to rows before.

    `stored` are the records that hold what these claim, `absent` has what references name in vain, and `committed` are
    the keys that this run has stored or found unchanged so far: the first in the file wins. `place` tells where the row
    of a line stands. With `update`, a record of an earlier run gives way to one of its key.

    A row that is refused for another reason is held only against the rows before it, not against what an earlier run
    stored; so a second run, which finds the rows behind it stored as well, gives the same reasons as the first.
    """
    verdict = Verdict()
    held = _Held(dataset, stored, committed)
    rows = _rows(dataset, doubted, absent)
    own = {group: each for group, each in absent.items() if each.among_rows}
    earlier = _Earlier(dataset, batch, held, rows, place, max((each.room for each in own.values()), default=0))
    for row in rows:
        holder = held.records.get(row.key)
        is_stored = holder is not None and row.record == holder
        reasons = row.reasons
        for group, each in own.items():
            if not is_stored and (value := group.of(row.values)) in each.keys:
                reasons += earlier.reasons(group, each, value, row.line)
        if is_stored and not reasons:
            verdict.unchanged += 1
            held.ours.add(row.key)
            continue
        if holder is not None or held.unique:
            replaces = update and holder is not None and not held.in_this_run(row.key)
            contests = list(_contests(dataset, row, held, may_replace=replaces))
            if reasons or any(held.in_this_run(contest.holder) for contest in contests):
                contests = [contest for contest in contests if held.in_this_run(contest.holder)]
            reasons = (*reasons, *contests)
        if reasons or row.record is None:
            refusal = Refusal(row.line, row.key, reasons)
            verdict.refusals.append(refusal)
            if own:
                earlier.refuse(refusal)
        else:
            held.give(row.record, instead_of=holder)
            (verdict.inserts if holder is None else verdict.updates).append(row.record)
    verdict.keys = held.ours
    return verdict


@define
class _Row:
    """A row that is gone through, with the reasons against it so far; `record` is None for a draft."""

    line: int
    key: object
    values: Record | Mapping[int, object]
    record: Record | None
    reasons: tuple[Reason, ...]


def _rows(dataset: Dataset, doubted: Batch, absent: Mapping[Group, Absent]) -> list[_Row]:
    """Those rows, in the order of the file; what references to other datasets name in vain is among their reasons."""
    records = doubted.records
    others = {group: missing for group, missing in absent.items() if not missing.among_rows}
    dangling = {group: _dangling(group, missing, doubted) for group, missing in others.items()}
    found = zip(*(map(why.get, group.of_all(records)) for group, why in dangling.items()), strict=True)
    reasons = (tuple(filter(None, each)) for each in found) if dangling else repeat(())
    rows = [*map(_Row, doubted.lines, dataset.key_group.of_all(records), records, records, reasons)]
    for draft in doubted.drafts:
        key = dataset.key_group.of(draft.values)
        more = filter(None, (why.get(group.of(draft.values)) for group, why in dangling.items()))
        rows.append(_Row(draft.line, key, draft.values, None, (*draft.reasons, *more)))
    return sorted(rows, key=attrgetter("line"))


def _dangling(group: Group, absent: Absent, rows: Batch) -> Mapping[object, Reason]:
    """The reasons against rows whose reference names an absent key of another dataset, by that.

    Each tells the key as it stands in the first such row: 1.0 and 1 are the same.
    """
    told = absent.told
    for key in chain(group.of_all(rows.records), group.of_drafts(rows.drafts)):
        if key in absent.keys and key not in told:
            told[key] = _dangles(group, absent, key, absent.keys[key])
    return {key: told[key] for key in absent.keys if key in told}


def _dangles(group: Group, absent: Absent, value: object, cause: Cause | None, where: str = "") -> Reason:
    because = f": {cause.place} was rejected ({cause.reason})" if cause else ""
    message = f"no {absent.singular} {named(value)}{where}{because}"
    return Reason("foreign-key", group.name, shortened(message), value, cause=cause)


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
        rows: Sequence[_Row],
        place: Callable[[int], Place],
        room: int,
    ) -> None:
        self._dataset, self._held, self._place, self._room = dataset, held, place, room
        self._refused: dict[object, Refusal] = {}
        self._lines: dict[object, int] = {}  # of the records that are accepted without further ado
        if dataset.name in dataset.references.values():
            doubted = {row.line for row in rows}
            keyed = zip(dataset.key_group.of_all(batch.records), batch.lines, strict=True)
            self._lines = {key: line for key, line in keyed if line not in doubted}

    def refuse(self, refusal: Refusal) -> None:
        if refusal.key is not None and len(self._refused) < self._room:
            self._refused.setdefault(refusal.key, refusal)

    def reasons(self, group: Group, absent: Absent, key: object, line: int) -> tuple[Reason, ...]:
        """Why a row may not refer to a key of the own dataset that was absent before the batch; nothing if it may."""
        if key in self._held.ours or self._lines.get(key, line) < line:
            return ()
        cause, refusal = absent.keys[key], self._refused.get(key)
        if cause is None and refusal is not None:
            cause = Cause(self._dataset.name, key, self._place(refusal.line), refusal.reasons[0])
        return (_dangles(group, absent, key, cause, " in an earlier row"),)


def _contests(dataset: Dataset, row: _Row, held: _Held, may_replace: bool) -> Iterator[Reason]:
    """The claims of a row that another record holds."""
    holder = held.records.get(row.key)
    if holder is not None and not may_replace:
        message = f"{named(row.key)} is stored already{_differences(dataset, row, holder)}"
        yield Reason("primary-key", dataset.key_group.name, message, row.key, holder=row.key)
    for group, keys in held.unique.items():
        value = group.of(row.values)
        other = keys.get(group.fold(value))
        if other is not None and other != row.key:
            message = f"{named(value)} is {dataset.singular} {named(other)}'s"
            yield Reason("unique-error", group.name, message, value, holder=other)


def _differences(dataset: Dataset, row: _Row, holder: Record) -> str:
    values = row.values.items() if isinstance(row.values, Mapping) else enumerate(row.values)
    others = [dataset.fields[at].column for at, value in values if value != holder[at]]
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
