"""What the rows of a batch want alone and what they refer to, worked out where they are parsed."""

from attrs import frozen

from loader.core.dataset import Dataset
from loader.core.fields import Group
from loader.core.keys import KeySet
from loader.core.parsing import parse
from loader.core.records import Batch, Block, Reader


@frozen
class Claimed:
    """The values of a group that the records of a batch want alone, and those that its drafts would want; folded.

    `are_repeated` says that two records want the same.
    """

    records: KeySet
    drafts: KeySet
    are_repeated: bool

    @property
    def all(self) -> KeySet:
        """What records and drafts want."""
        return self.records | self.drafts if self.drafts else self.records


@frozen
class Parsed:
    """A batch with its claims, and the keys that it refers to, in the order of the dataset's groups and references."""

    batch: Batch
    claimed: tuple[Claimed, ...]
    refers: tuple[KeySet, ...]


def parsed(dataset: Dataset, reader: Reader, block: Block) -> Parsed:
    """All that can be said of a block by itself; pure and picklable, as `parse` is."""
    batch = parse(dataset, reader, block)
    return Parsed(
        batch,
        tuple(claimed(group, batch) for group in dataset.claim_groups),
        tuple(KeySet(group.of_batch(batch)) for group in dataset.reference_groups),
    )


def claimed(group: Group, batch: Batch) -> Claimed:
    """What the rows of a batch want alone of a group."""
    values = group.folded(_present(list(group.of_all(batch.records))))
    records = KeySet(values)
    drafts = group.folded(_present([group.of(draft.values) for draft in batch.drafts]))
    return Claimed(records, KeySet(drafts), are_repeated=len(records) < len(values))


def _present(values: list[object]) -> list[object]:
    return [value for value in values if value is not None] if None in values else values
