"""What the rows of a batch want alone and what they refer to, worked out where they are parsed."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence, Set
from itertools import repeat
from typing import Self

from attrs import frozen

from loader.core.dataset import Dataset
from loader.core.fields import Group
from loader.core.keys import KeySet
from loader.core.parsing import parse
from loader.core.records import Batch, Block, Reader

_PART = 64


@frozen
class Parsed:
    """A batch, the keys of its records, and what its rows claim and refer to.

    `refers` are by reference, in the order of these, the keys that rows refer to and that were not known to be there,
    and `unsure` the positions of the records that do so; None if they all may. `contested` are the positions of the
    records that share a claim with another row.
    """

    batch: Batch
    keys: KeySet
    refers: tuple[KeySet, ...]
    unsure: tuple[Sequence[int] | None, ...]
    contested: Sequence[int]

    @classmethod
    def of(cls, dataset: Dataset, batch: Batch, known: Sequence[KeySet] = ()) -> Self:
        keys = KeySet(dataset.key_group.of_all(batch.records))
        groups = dataset.reference_groups
        looked_up = [_unknown(group, batch, there) for group, there in zip(groups, known or repeat(None), strict=False)]
        refers, unsure = zip(*looked_up, strict=True) if looked_up else ((), ())
        return cls(batch, keys, refers, unsure, contested(dataset, batch, keys))


def parsed(dataset: Dataset, reader: Reader, block: Block, known: Sequence[KeySet] = ()) -> Parsed:
    """All that can be said of a block by itself; pure and picklable, as `parse` is.

    `known` are by reference keys that are there: the more of them, the less is left to be looked at by who asks.
    """
    return Parsed.of(dataset, parse(dataset, reader, block), known)


def referred(group: Group, batch: Batch) -> KeySet:
    """The keys that the records of a batch refer to and, as far as they were understood, its drafts."""
    keys = KeySet(group.present(batch.records))
    return keys | KeySet(group.of_drafts(batch.drafts)) if batch.drafts else keys


def _unknown(group: Group, batch: Batch, there: KeySet | None) -> tuple[KeySet, list[int] | None]:
    """The keys referred to that are not among those known to be there, and which records do so; None if nothing is."""
    if not there:
        return referred(group, batch), None
    values = group.of_all(batch.records)
    unsure = there.lacking(values)
    return KeySet([*(values[at] for at in unsure), *group.of_drafts(batch.drafts)]) - there, unsure


def contested(dataset: Dataset, batch: Batch, keys: KeySet) -> list[int]:
    """The positions of the records that share a claim with another row of the batch, in order; `keys` are theirs."""
    found: set[int] = set()
    for group in dataset.claim_groups:
        values = group.folded(group.of_all(batch.records))
        different: Collection[object] = keys
        suspects: set[object] = set()
        if group is not dataset.key_group or len(keys) < len(values):
            different, suspects = _perhaps_twice(values)
        shared = {each for each in group.folded(group.of_drafts(batch.drafts)) if each in different}
        places = list(among(values, suspects | shared))
        count = Counter([*shared, *(values[at] for at in places)])
        found.update(at for at in places if count[values[at]] > 1)
    return sorted(found)


def among(values: Sequence[object], some: Set[object]) -> Iterator[int]:
    """The positions of those values that are among some others; these are few, so that most parts have none."""
    for start in range(0, len(values), _PART) if some else ():
        part = values[start : start + _PART]
        if not some.isdisjoint(part):
            yield from (at for at, value in enumerate(part, start) if value in some)


def _perhaps_twice(values: Sequence[object]) -> tuple[set[object], set[object]]:
    """The different values, None among them, and those that may stand there more than once, None not among them.

    All values of a part are suspect if they add fewer to those before than there are.
    """
    seen: set[object] = {None}
    suspects: set[object] = set()
    for start in range(0, len(values), _PART):
        part = values[start : start + _PART]
        before = len(seen)
        seen.update(part)
        if (added := len(seen) - before) < len(part) and added < len(part) - part.count(None):
            suspects.update(part)
    return seen, suspects - {None}
