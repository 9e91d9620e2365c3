"""What the rows of a batch want alone and what they refer to, worked out where they are parsed."""

from typing import Self

from attrs import frozen

from loader.core.dataset import Dataset
from loader.core.fields import Group
from loader.core.keys import KeySet
from loader.core.parsing import parse
from loader.core.records import Batch, Block, Reader


@frozen
class Claimed:
    """What the drafts of a batch would want alone of a group, folded; and whether two of its records want the same."""

    drafts: KeySet
    are_repeated: bool


@frozen
class Parsed:
    """A batch, the keys of its records, and the keys that its rows refer to, in the order of the references.

    `claimed` has what is contested within the batch, by group; it is None if nothing is known to be, and not worth the
    work as long as the database sees no conflict.
    """

    batch: Batch
    keys: KeySet
    refers: tuple[KeySet, ...]
    claimed: tuple[Claimed, ...] | None

    @classmethod
    def of(cls, dataset: Dataset, batch: Batch) -> Self:
        keys = KeySet(dataset.key_group.of_all(batch.records))
        return cls(
            batch,
            keys,
            tuple(referred(group, batch) for group in dataset.reference_groups),
            claimed(dataset, batch) if batch.drafts or len(keys) < len(batch.records) else None,
        )


def parsed(dataset: Dataset, reader: Reader, block: Block) -> Parsed:
    """All that can be said of a block by itself; pure and picklable, as `parse` is."""
    return Parsed.of(dataset, parse(dataset, reader, block))


def referred(group: Group, batch: Batch) -> KeySet:
    """The keys that the records of a batch refer to and, as far as they were understood, its drafts."""
    keys = KeySet(group.present(batch.records))
    return keys | KeySet(group.of_drafts(batch.drafts)) if batch.drafts else keys


def claimed(dataset: Dataset, batch: Batch) -> tuple[Claimed, ...]:
    """What is contested within a batch, by group."""
    found = []
    for group in dataset.claim_groups:
        values = group.folded(group.present(batch.records))
        drafts = KeySet(group.folded(group.of_drafts(batch.drafts)))
        found.append(Claimed(drafts, are_repeated=len(set(values)) < len(values)))
    return tuple(found)
