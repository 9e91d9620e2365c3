"""What is told of a load while it runs: facts, each after it happened."""

from collections.abc import Callable, Sequence
from typing import Literal

from attrs import frozen

from loader.core.errors import LoaderError
from loader.core.records import Rejection

Status = Literal["complete", "failed", "stopped", "interrupted"]
"""How the load of a dataset ended; `stopped` means that a dataset it refers to was not finished."""


@frozen
class Opened:
    """The sources of a dataset can be read: the formats and columns that they have, and their size in bytes.

    Of a table that is verified, the size is how many records it has.
    """

    dataset: str
    formats: frozenset[str]
    columns: tuple[str, ...]
    size: int


@frozen
class Read:
    """So many records more were taken from a source; `position` is how many bytes of the sources lie behind them."""

    dataset: str
    records: int
    position: int


@frozen
class Waits:
    """A dataset waits for records of another; or no longer waits, if `upstream` is None."""

    dataset: str
    upstream: str | None


@frozen
class Committed:
    """A transaction is on disk (with `--check`: would be; with `--verify`: is found to be there, and sound)."""

    dataset: str
    inserted: int
    updated: int
    unchanged: int


@frozen
class Rejected:
    """Some records were rejected, which are told in the order of the source."""

    dataset: str
    rejections: Sequence[Rejection]


@frozen
class Untried:
    """So many records were read that nothing can be said of, because the dataset cannot be finished."""

    dataset: str
    records: int


@frozen
class Closed:
    """Nothing more will happen to a dataset; `problem` is what kept it from being finished, if it was not."""

    dataset: str
    status: Status
    problem: LoaderError | None
    seconds: float


Event = Opened | Read | Waits | Committed | Rejected | Untried | Closed
Observer = Callable[[Event], None]
