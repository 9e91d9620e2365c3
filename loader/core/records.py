"""What flows from a source to a target: blocks of bytes, batches of records, and the rows that were refused."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Literal, NamedTuple, Protocol, Self, overload

from attrs import define, field, frozen

MAX_ROW = 2**20
"""How many bytes a row may have."""

MAX_REJECT = 4 * MAX_ROW
"""How many bytes a row of a rejects file may have, in which another one is quoted."""

Span = tuple[int, int | None]
"""The first line of a row, and that of the next row of its block, if there is one."""

Code = Literal[
    "row-error",
    "missing-cell",
    "extra-cell",
    "type-error",
    "constraint-error",
    "primary-key",
    "unique-error",
    "foreign-key",
]
"""The kinds of reason, named as in the Frictionless standard."""


@frozen
class Block:
    """A run of whole rows cut from a source: `line` is where it starts, `end` how many bytes were read so far.

    `made` says that they are instances of the model, which has had its say.
    """

    data: bytes
    line: int
    end: int
    made: bool = False


class Place(NamedTuple):
    """Where a row stands: `line` is that of its first line, None where the format has none; `row` counts from 1.

    Of a row that came back from a rejects file, `row` is None where only its line is known. A row of a table is known
    by its `key`, and they are counted in the order of that.
    """

    source: str
    line: int | None
    row: int | None
    key: str | None = None

    def __str__(self) -> str:
        if self.key is not None:
            return f"{self.source}#{self.key}"
        if self.line is not None:
            return f"{self.source}:{self.line}"
        return self.source if self.row is None else f"{self.source}#{self.row}"


def _in_short(reason: "Reason") -> "Reason":
    return Reason(reason.code, reason.field, reason.message, holder=reason.holder)


@frozen
class Cause:
    """The upstream record whose rejection left a reference with nothing to refer to.

    The value that the reason is about, which may be long, and its own cause are left out.
    """

    dataset: str
    key: object
    place: Place
    reason: "Reason" = field(converter=_in_short)


@frozen
class Reason:
    """One exact cause of a rejection.

    `field` is None if the whole row is meant. `value` is what stood there, `holder` the key of the record that has a
    contested value, `cause` the upstream record that was rejected.
    """

    code: Code
    field: str | None
    message: str
    value: object = None
    holder: object = None
    cause: Cause | None = None

    def __reduce__(self) -> tuple[Any, ...]:  # quicker than the state of an instance
        return Reason, (self.code, self.field, self.message, self.value, self.holder, self.cause)

    def __str__(self) -> str:
        return f"{self.code}: {self.field} {self.message}" if self.field else f"{self.code}: {self.message}"


@define(eq=False)
class PlainLine(Mapping[str, object]):
    """The cells by column of a line of CSV without quotes, which are told apart when they are looked at."""

    columns: tuple[str, ...]
    delimiter: str
    text: str

    @cached_property
    def _cells(self) -> Mapping[str, object]:
        return dict(zip(self.columns, self.text.split(self.delimiter), strict=True))

    def __getitem__(self, column: str) -> object:
        return self._cells[column]

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


@frozen
class Rejection:
    """A refused row with all its reasons, and its cells by column, as they stood in the source.

    A row that does not fit the columns has its whole text in `values["_raw"]`.
    """

    place: Place
    cells: Mapping[str, object] = field(alias="values")
    reasons: tuple[Reason, ...]

    @property
    def values(self) -> dict[str, object]:
        """The cells in a dictionary of its own; those of a plain line of CSV are told apart only now."""
        return dict(self.cells)


@frozen
class Draft:
    """A row that its model refused: the reasons so far, and by field index the values that could be understood."""

    line: int
    reasons: tuple[Reason, ...]
    values: Mapping[int, object]

    def __reduce__(self) -> tuple[Any, ...]:  # quicker than the state of an instance
        return Draft, (self.line, self.reasons, self.values)


@frozen
class Gapped(Sequence[int]):
    """A range but for some of its members, whose positions in it are `gaps`."""

    whole: range
    gaps: Sequence[int]

    def __len__(self) -> int:
        return len(self.whole) - len(self.gaps)

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...
    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        return self.whole[self._position(at if at >= 0 else at + len(self))]

    def __iter__(self) -> Iterator[int]:
        ends = zip([-1, *self.gaps], [*self.gaps, None], strict=True)
        return chain.from_iterable(self.whole[before + 1 : end] for before, end in ends)

    def without(self, positions: Collection[int]) -> "Gapped":
        """The same but for more, which stand at some positions."""
        return Gapped(self.whole, sorted([*self.gaps, *map(self._position, positions)]))

    def only(self, positions: Iterable[int]) -> list[int]:
        """The members at some positions."""
        before, whole = self._members_before, self.whole
        return [whole[at + bisect_right(before, at)] for at in positions]

    def _position(self, at: int) -> int:
        """Where in the range a member stands."""
        return at + bisect_right(self._members_before, at)

    @cached_property
    def _members_before(self) -> list[int]:
        """How many members stand before each gap."""
        return [gap - number for number, gap in enumerate(self.gaps)]


def without(column: Sequence[Any], positions: Collection[int]) -> Sequence[Any]:
    """A column but for the values at some positions, which are in order."""
    if not positions:
        return column
    if isinstance(column, range | Gapped):
        return (column if isinstance(column, Gapped) else Gapped(column, ())).without(positions)
    whole: Any = list(column) if isinstance(column, tuple) else column
    left, start = whole[:0], 0
    for at in positions:
        left += whole[start:at]
        start = at + 1
    left += whole[start:]
    return left  # type: ignore[no-any-return]


def only(column: Sequence[Any], positions: Iterable[int]) -> list[Any]:
    """The values of a column at some positions."""
    return column.only(positions) if isinstance(column, Gapped) else [column[at] for at in positions]


def _joined(column: Sequence[Any]) -> Sequence[Any]:
    """A column of texts of one line each, as these lines; any other as it is."""
    if not column or not isinstance(column[0], str):
        return column
    try:
        text = "\n".join(column)
    except TypeError:  # some are None
        return column
    return text if text.count("\n") == len(column) - 1 else column


def _divided(type_: type["Records"], columns: Sequence[Sequence[Any]]) -> "Records":
    return type_([column.split("\n") if isinstance(column, str) else column for column in columns])


Record = tuple[object, ...]
"""What the database keeps of an instance of the model, in the order of the fields."""


@frozen
class Records(Sequence[Record]):
    """Records, kept as their columns: so they are parsed, sent, compared and written many at a time."""

    columns: Sequence[Sequence[Any]] = ()

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        return cls(list(zip(*records, strict=True)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a column of text as one text, where that is no other's."""
        return _divided, (type(self), [_joined(column) for column in self.columns])

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> "Records": ...
    def __getitem__(self, at: int | slice) -> "Record | Records":
        if isinstance(at, slice):
            return Records([column[at] for column in self.columns])
        return tuple(column[at] for column in self.columns)

    def __iter__(self) -> Iterator[Record]:
        return zip(*self.columns, strict=True)

    def only(self, positions: Collection[int]) -> "Records":
        """Those at some positions, in the order of these."""
        return Records([only(column, positions) for column in self.columns])

    def without(self, positions: Collection[int]) -> "Records":
        """All but those at some positions, which are in order."""
        return Records([without(column, positions) for column in self.columns]) if positions else self

    def flat(self) -> list[Any]:
        """The values of the first record, of the second, and so on: the parameters of a statement for all."""
        width = len(self.columns)
        values = [None] * (len(self) * width)
        for at, column in enumerate(self.columns):
            values[at::width] = column
        return values


@frozen
class Batch:
    """What parsing made of a block: records and drafts; both with lines, in file order.

    `origins` tells where a row stood at first, by line, if it comes from a rejects file.
    """

    records: Records = field(factory=Records)
    lines: Sequence[int] = ()
    drafts: Sequence[Draft] = ()
    origins: Mapping[int, Place] = field(factory=dict)

    def __len__(self) -> int:
        return len(self.records) + len(self.drafts)

    def before(self, line: int) -> "Batch":
        """The rows that stand before a line."""
        return Batch(
            self.records[: bisect_left(self.lines, line)],
            self.lines[: bisect_left(self.lines, line)],
            self.drafts[: bisect_left(self._draft_lines, line)],
            self.origins,
        )

    def only(self, positions: Collection[int]) -> "Batch":
        """The drafts, and the records at some positions, which are in order."""
        return Batch(self.records.only(positions), only(self.lines, positions), self.drafts, self.origins)

    def rows_at(self, lines: Iterable[int]) -> list[int]:
        """How many rows stand before each of those that begin at some lines."""
        starts = self._starts
        if isinstance(starts, range):
            return [line - starts.start for line in lines]
        return [bisect_left(starts, line) for line in lines]

    def spans(self, lines: Sequence[int]) -> Iterator[Span]:
        """The lines of the rows that begin at some lines."""
        starts = self._starts
        if isinstance(starts, range):
            return zip(lines, [line + 1 if line < starts[-1] else None for line in lines], strict=True)
        rows = [bisect_left(starts, line) + 1 for line in lines]
        return zip(lines, [starts[row] if row < len(starts) else None for row in rows], strict=True)

    @cached_property
    def _starts(self) -> Sequence[int]:
        if not self.drafts:
            return self.lines
        first = min(chain(self.lines[:1], self._draft_lines[:1]))
        last = max(chain(self.lines[-1:], self._draft_lines[-1:]))
        if last - first + 1 == len(self):
            return range(first, last + 1)
        return sorted(chain(self.lines, self._draft_lines))

    @cached_property
    def _draft_lines(self) -> list[int]:
        return [draft.line for draft in self.drafts]


@frozen
class Misfit:
    """A row that does not fit its columns or cannot be read; `cells` holds by field name what could be told apart."""

    line: int
    cells: Mapping[str, object]
    reasons: tuple[Reason, ...]


@frozen
class Rows:
    """A block split into rows: those that fit, as columns in the order of the fields, and the misfits.

    A column of cells that are text may be an array of the integers that they are.
    """

    columns: Sequence[Sequence[object]]
    lines: Sequence[int]
    misfits: Sequence[Misfit] = ()
    origins: Mapping[int, Place] = field(factory=dict)

    @classmethod
    def of(
        cls,
        cells: Iterable[Sequence[object]],
        lines: Sequence[int],
        misfits: Sequence[Misfit] = (),
        origins: Mapping[int, Place] | None = None,
    ) -> Self:
        """Rows that are given one by one."""
        return cls(list(zip(*cells, strict=True)), lines, misfits, origins or {})

    def cells(self, at: int) -> list[object]:
        """The cells of a row, as they stood there."""
        return [str(column[at]) if isinstance(column, array) else column[at] for column in self.columns]


class Reader(Protocol):
    """How the bytes of a format are split into rows: pure and picklable, so that it runs in any executor."""

    def rows(self, block: Block) -> Rows:
        """The rows of a block; never raises for what stands in it."""

    def values(self, block: Block, spans: Iterable[Span]) -> Iterator[Mapping[str, object]]:
        """The cells of some rows of a block by column, as they stand there; what does not fit is kept as `_raw`."""
